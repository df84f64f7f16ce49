//! The namespaces of one session at run time: each has its inbox and at most one handler running.
//!
//! Invariant: events of one socket reach its handlers in the order of the wire, one after the other; a slow one holds up
//! nothing but its own socket, until the inbox is full and the session stops reading. Acks never wait: a handler may be
//! waiting for one.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytestring::ByteString;
use futures_util::future::BoxFuture;
use kentongan_protocol::{
    engine::session::Class,
    socket::{
        args::Args,
        connection::{Connections, Decision, PacketKind},
        decode::Decoder,
        encode,
        packet::Packet,
    },
};
use smallvec::SmallVec;

use super::{
    engine::Application,
    rates::{EventRates, Verdict},
    shared::{Session, now},
};
use crate::{
    error::Refusal,
    handler::{extract, run},
    id::Sid,
    metrics::{self, RefusalCode},
    namespace::connect::{self, Prepared},
    reason::DisconnectReason,
    socket::{Ended, Socket},
};

pub(crate) struct Slots {
    session: Arc<Session>,
    decoder: Decoder,
    connections: Connections,
    slots: SmallVec<[Slot; 1]>,
    waiting_bytes: usize,
    waiting_events: usize,
    /// `None` when the server sets no rates.
    rates: Option<Box<EventRates>>,
}

/// What a client did that ends its session.
pub(crate) struct Violation {
    pub(crate) refusal: RefusalCode,
    pub(crate) code: &'static str,
}

struct Slot {
    ns: ByteString,
    /// `None` until the middleware let the client in.
    socket: Option<Socket>,
    inbox: VecDeque<Job>,
    running: Option<Running>,
    /// Bytes of the CONNECT payload, held until the middleware has decided.
    auth_bytes: u32,
    /// The disconnect handlers have been started: nothing comes after them.
    is_over: bool,
}

/// What a slot has to do next.
enum Job {
    Connect(Option<Args>),
    Event {
        id: Option<u64>,
        name: ByteString,
        args: Args,
    },
    Disconnect(Ended),
}

/// The job that is being done.
enum Running {
    /// Middleware decides.
    Connect(BoxFuture<'static, Arrival>),
    /// Handlers run.
    Handlers(BoxFuture<'static, ()>),
}

/// What middleware decided.
pub(crate) enum Arrival {
    /// It let the client in.
    Prepared(Box<Prepared>),
    /// It said no; the client has been told.
    Refused,
}

impl Running {
    /// `Ready(Some(_))` when middleware has decided.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arrival>> {
        match self {
            Self::Connect(future) => future.as_mut().poll(cx).map(Some),
            Self::Handlers(future) => future.as_mut().poll(cx).map(|()| None),
        }
    }
}

impl Slot {
    /// Whether nothing runs or waits here. Middleware counts as running from the CONNECT on.
    fn is_idle(&self) -> bool {
        self.running.is_none() && self.inbox.is_empty() && !self.is_over
    }
}

impl Slots {
    pub(crate) fn new(session: &Arc<Session>) -> Self {
        let config = &session.engine.config;
        Self {
            session: Arc::clone(session),
            decoder: Decoder::new(config.parser),
            connections: Connections::new(now()),
            slots: SmallVec::new(),
            waiting_bytes: 0,
            waiting_events: 0,
            rates: EventRates::new(session, now()),
        }
    }

    // --- from the wire ---

    // What comes is handled at once, unless something before it still runs: an inbox would cost its memory, or an
    // allocation each time.
    pub(crate) fn take_text(
        &mut self,
        text: &str,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Result<(), Violation> {
        let packet = self
            .decoder
            .handle_text(text, &self.session.config().limits);
        self.take_decoded(packet.map_err(|error| error.code()), now, cx)
    }

    pub(crate) fn take_binary(
        &mut self,
        data: &[u8],
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Result<(), Violation> {
        let packet = self
            .decoder
            .handle_binary(data, &self.session.config().limits);
        self.take_decoded(packet.map_err(|error| error.code()), now, cx)
    }

    fn take_decoded(
        &mut self,
        packet: Result<Option<Packet>, &'static str>,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Result<(), Violation> {
        let packet = packet.map_err(|code| Violation {
            refusal: RefusalCode::SocketPacket,
            code,
        })?;
        self.connections
            .set_attachments_pending(now, self.decoder.is_pending());
        packet.map_or(Ok(()), |packet| self.take_packet(packet, cx))
    }

    fn take_packet(&mut self, packet: Packet, cx: &mut Context<'_>) -> Result<(), Violation> {
        if !self.session.is_joined() {
            self.check_unauthenticated(&packet)?;
        }
        let limits = &self.session.engine.config.limits;
        match self
            .connections
            .handle(kind(&packet), packet.namespace(), limits)
        {
            Decision::Connect => self.take_connect(packet),
            Decision::Refuse => {
                let config = &self.session.engine.config;
                self.session
                    .engine
                    .metrics
                    .refused(RefusalCode::NamespaceUnknown);
                let frame = encode::connect_error(
                    config.parser,
                    packet.namespace(),
                    "Too many namespaces",
                    None,
                );
                let _ = self.session.send(frame, Class::Reliable);
            }
            Decision::Deliver => self.deliver(packet, cx),
            Decision::Disconnect => {
                if let Some(socket) = self.socket_in(packet.namespace()).cloned() {
                    self.end(&socket, DisconnectReason::ClientNamespaceDisconnect);
                }
            }
            Decision::Ignore => {}
            Decision::Violation(code) => {
                return Err(Violation {
                    refusal: RefusalCode::SocketState,
                    code: code.code(),
                });
            }
        }
        Ok(())
    }

    /// Nobody has vouched for this client yet: what is held for it has a bound of its own.
    fn check_unauthenticated(&self, packet: &Packet) -> Result<(), Violation> {
        let connecting: usize = self.slots.iter().map(|slot| slot.auth_bytes as usize).sum();
        let unsent = self.session.machine(|machine| machine.outbox_bytes());
        let held = connecting + auth_bytes(packet) as usize + unsent;
        if held <= self.session.engine.config.unauthenticated.held_bytes_max {
            return Ok(());
        }
        Err(Violation {
            refusal: RefusalCode::UnauthenticatedBytes,
            code: "unauthenticated_bytes",
        })
    }

    fn take_connect(&mut self, packet: Packet) {
        let auth_bytes = auth_bytes(&packet);
        if let Packet::Connect { ns, auth } = packet {
            let mut inbox = VecDeque::with_capacity(1);
            inbox.push_back(Job::Connect(auth));
            self.slots.push(Slot {
                ns,
                socket: None,
                inbox,
                running: None,
                auth_bytes,
                is_over: false,
            });
        }
    }

    fn deliver(&mut self, packet: Packet, cx: &mut Context<'_>) {
        match packet {
            Packet::Event { ns, id, name, args } => {
                metrics::add(&self.session.engine.metrics.events_in, 1);
                if !self.is_within_rates(&ns) {
                    return self.refuse_event(&ns, id, name, args);
                }
                let Some(index) = self.live(&ns) else { return };
                let Some(slot) = self.slots.get_mut(index) else {
                    return;
                };
                if !slot.is_idle() {
                    self.waiting_bytes += args.bytes_len();
                    self.waiting_events += 1;
                    slot.inbox.push_back(Job::Event { id, name, args });
                } else if let Some(socket) = slot.socket.as_ref().filter(|each| each.is_connected())
                {
                    slot.running = run::event(socket, id, name, args).map(Running::Handlers);
                    self.run_slot(index, cx);
                }
            }
            Packet::Ack { ns, id, args } => {
                if let Some(socket) = self.socket_in(&ns) {
                    socket.acked(id, args);
                }
            }
            _ => {}
        }
    }

    fn is_within_rates(&mut self, ns: &ByteString) -> bool {
        if self.rates.is_none() {
            return true;
        }
        let identity = self.socket_in(ns).and_then(Socket::identity);
        let Some(rates) = &mut self.rates else {
            return true;
        };
        let metrics = &self.session.engine.metrics;
        match rates.take(&self.session, now(), ns, identity.as_deref()) {
            Verdict::Pass => return true,
            Verdict::Refuse => {}
            Verdict::RefuseAndPause => metrics::add(&metrics.reads_paused, 1),
        }
        metrics.refused(RefusalCode::RateLimited);
        false
    }

    /// An event above the rate: its acknowledgement says so, and no handler sees it.
    fn refuse_event(&mut self, ns: &ByteString, id: Option<u64>, name: ByteString, args: Args) {
        tracing::debug!(session = %self.session.id.shown(), namespace = %ns, event = %name, "event above the rate");
        if let Some(socket) = self.socket_in(ns) {
            extract::Context::event(socket, id, name, args)
                .ack
                .give_refusal(&Refusal::new("too many events").with_code("rate_limited"));
        }
    }

    /// The slot that is connected, or connecting, to `ns`.
    fn live(&self, ns: &str) -> Option<usize> {
        self.slots.iter().rposition(|slot| slot.ns == *ns)
    }

    fn socket_in(&self, ns: &str) -> Option<&Socket> {
        self.slots.get(self.live(ns)?)?.socket.as_ref()
    }

    // --- from the server ---

    /// A socket was ended by an emitter's call, which has sent the packet for it.
    pub(crate) fn socket_ended(&mut self, id: Sid) {
        let Some(slot) = self
            .slots
            .iter_mut()
            .find(|slot| slot.socket.as_ref().is_some_and(|socket| socket.id() == id))
        else {
            return;
        };
        self.connections
            .disconnect(&slot.ns, &self.session.engine.config.limits);
        if let Some(ended) = slot.socket.as_ref().and_then(Socket::take_ended) {
            slot.inbox.push_back(Job::Disconnect(ended));
        }
    }

    /// The session is over, or about to be: every socket leaves, its handlers still run.
    pub(crate) fn end_all(&mut self, reason: DisconnectReason) {
        let sockets: Vec<Socket> = self
            .slots
            .iter()
            .filter_map(|slot| slot.socket.clone())
            .collect();
        for socket in sockets {
            if reason == DisconnectReason::ServerNamespaceDisconnect && socket.is_connected() {
                socket.send_disconnect();
            }
            self.end(&socket, reason);
        }
        // Middleware that still runs has nobody left to let in.
        self.slots.retain(|slot| slot.socket.is_some());
    }

    fn end(&mut self, socket: &Socket, reason: DisconnectReason) {
        socket.end(reason);
        let ended = socket.take_ended();
        let slot = self.slots.iter_mut().find(|slot| {
            slot.socket
                .as_ref()
                .is_some_and(|each| each.id() == socket.id())
        });
        if let Some((slot, ended)) = slot.zip(ended) {
            slot.inbox.push_back(Job::Disconnect(ended));
        }
    }

    // --- running ---

    /// Runs every slot as far as it goes.
    pub(crate) fn run(&mut self, cx: &mut Context<'_>) {
        let mut index = 0;
        while index < self.slots.len() {
            if self.run_slot(index, cx) {
                index += 1;
            } else {
                let gone = self.slots.remove(index);
                if let (Some(socket), Application::SocketIo(namespaces)) =
                    (gone.socket, &self.session.engine.application)
                {
                    namespaces.clean_up(&socket.0.namespace);
                }
            }
        }
    }

    /// `false`: the slot has nothing left to do, ever.
    fn run_slot(&mut self, index: usize, cx: &mut Context<'_>) -> bool {
        loop {
            let Some(slot) = self.slots.get_mut(index) else {
                return false;
            };
            let Some(running) = &mut slot.running else {
                let Some(job) = slot.inbox.pop_front() else {
                    // Memory of a burst is given back.
                    slot.inbox = VecDeque::new();
                    return slot.socket.is_some() && !slot.is_over;
                };
                if let Job::Event { args, .. } = &job {
                    self.waiting_bytes -= args.bytes_len();
                    self.waiting_events -= 1;
                }
                self.start(index, job);
                continue;
            };
            match catch_unwind(AssertUnwindSafe(|| running.poll(cx))) {
                Ok(Poll::Pending) => return true,
                Ok(Poll::Ready(None)) => slot.running = None,
                Ok(Poll::Ready(Some(arrival))) => {
                    slot.running = None;
                    if !self.arrived(index, arrival) {
                        return false;
                    }
                }
                Err(_) => {
                    slot.running = None;
                    if !self.panicked(index) {
                        return false;
                    }
                }
            }
        }
    }

    fn start(&mut self, index: usize, job: Job) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        slot.is_over = matches!(job, Job::Disconnect(_));
        let is_leaving = matches!(slot.inbox.back(), Some(Job::Disconnect(_)));
        let running = match (job, &slot.socket) {
            (Job::Connect(auth), _) => {
                let Application::SocketIo(namespaces) = &self.session.engine.application else {
                    return;
                };
                let prepare = connect::prepare(
                    Arc::clone(&self.session),
                    Arc::clone(namespaces),
                    slot.ns.clone(),
                    auth,
                );
                Some(Running::Connect(Box::pin(prepare)))
            }
            // The server sent it away: what it sent before it knew is not for our handlers any more.
            (Job::Event { .. }, Some(socket)) if !socket.is_connected() && !is_leaving => None,
            (Job::Event { id, name, args }, Some(socket)) => {
                run::event(socket, id, name, args).map(Running::Handlers)
            }
            (Job::Disconnect(ended), Some(socket)) => {
                run::disconnected(socket, ended).map(Running::Handlers)
            }
            (_, None) => None,
        };
        slot.running = running;
    }

    /// `false`: the slot is done for.
    fn arrived(&mut self, index: usize, arrival: Arrival) -> bool {
        let Some(slot) = self.slots.get_mut(index) else {
            return false;
        };
        match arrival {
            Arrival::Refused => {
                self.connections.refuse(&slot.ns);
                false
            }
            Arrival::Prepared(prepared) => {
                if !self.connections.accept(&slot.ns) {
                    return false;
                }
                slot.auth_bytes = 0;
                // Before the client can hear of it and send what only now is allowed.
                self.session.set_joined();
                match connect::activate(*prepared) {
                    Some((socket, auth, recovery)) => {
                        slot.running =
                            run::connected(&socket, auth, recovery).map(Running::Handlers);
                        slot.socket = Some(socket);
                        true
                    }
                    None => false,
                }
            }
        }
    }

    /// A handler panicked: its socket is in an unknown state, so it is disconnected; the session goes on. `false`: it was
    /// middleware, and the slot is done for.
    fn panicked(&mut self, index: usize) -> bool {
        let Some(slot) = self.slots.get_mut(index) else {
            return false;
        };
        tracing::error!(session = %self.session.id.shown(), namespace = %slot.ns, "a handler panicked; its socket is disconnected");
        metrics::add(&self.session.engine.metrics.handler_panics, 1);
        match slot.socket.clone() {
            Some(socket) => {
                socket.disconnect();
                true
            }
            None => {
                self.connections.refuse(&slot.ns);
                let frame = encode::connect_error(
                    self.session.engine.config.parser,
                    &slot.ns,
                    "Internal error",
                    None,
                );
                let _ = self.session.send(frame, Class::Reliable);
                false
            }
        }
    }

    // --- state ---

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether so much waits that nothing more should be read.
    pub(crate) fn is_full(&self) -> bool {
        let held = &self.session.engine.config.held;
        self.waiting_bytes > held.inbox_bytes_max
            || self.waiting_events >= held.inbox_events_max
            || self.rates.as_ref().is_some_and(|rates| rates.is_paused())
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let connections = self
            .connections
            .poll_timeout(&self.session.engine.connections);
        let paused = self.rates.as_ref().and_then(|rates| rates.deadline());
        [connections, paused].into_iter().flatten().min()
    }

    pub(crate) fn overdue(&mut self, now: Instant) -> Option<&'static str> {
        if let Some(rates) = &mut self.rates {
            rates.handle_timeout(now);
        }
        self.connections
            .handle_timeout(&self.session.engine.connections, now)
            .map(|violation| violation.code())
    }
}

fn auth_bytes(packet: &Packet) -> u32 {
    match packet {
        Packet::Connect {
            auth: Some(auth), ..
        } => u32::try_from(auth.bytes_len()).unwrap_or(u32::MAX),
        _ => 0,
    }
}

fn kind(packet: &Packet) -> PacketKind {
    match packet {
        Packet::Connect { .. } => PacketKind::Connect,
        Packet::Disconnect { .. } => PacketKind::Disconnect,
        Packet::Event { .. } => PacketKind::Event,
        Packet::Ack { .. } => PacketKind::Ack,
        Packet::ConnectError { .. } => PacketKind::ConnectError,
    }
}
