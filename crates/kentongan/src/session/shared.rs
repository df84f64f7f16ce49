//! One session as its HTTP requests, its task and every emitter see it.
//!
//! Owns the lock around the protocol's state machine and the wakers of those who wait for it. Invariant: nobody awaits,
//! encodes or does I/O while holding that lock; wakers are called after it is released. The writing half of the
//! WebSocket has a lock of its own, which is taken first (`flush.rs`).

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use kentongan_protocol::{
    engine::{
        packet::Packet,
        payload,
        session::{
            Class, CloseReason, Flush, ProbeId, ProbeStep, Received, RequestError, Sent,
            Session as Machine, Transport,
        },
    },
    frame::Frame,
};
use parking_lot::Mutex;

use super::{
    drain::Waiting,
    engine::Engine,
    websocket::{WebSocket, writer::WebSocketWriter},
};
use crate::{
    admission::address::Prefix,
    config::Config,
    handshake::Handshake,
    id::Sid,
    metrics::{self, RefusalCode},
};

pub(crate) struct Session {
    pub(crate) id: Sid,
    pub(crate) engine: Arc<Engine>,
    pub(crate) handshake: Handshake,
    /// It has been in a namespace, or is over.
    joined: AtomicBool,
    /// The WebSocket's writing half, while there is one. Its lock is taken before that of `state`.
    pub(super) writer: Mutex<Option<WebSocketWriter>>,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    pub(super) machine: Machine,
    /// Wakes the session's task; absent while the task runs or has been woken already.
    pub(super) task: Option<Waker>,
    /// Boxed: an idle WebSocket session has none of it.
    rare: Option<Box<Rare>>,
    /// The task is gone or behind; polling bodies wait.
    inbox_full: bool,
    /// The kernel took less than we had; the task waits until it takes more.
    pub(super) blocked: bool,
    /// Blocked, and the last to ask the kernel was another task: nobody will be woken when it takes more.
    pub(super) unwatched: bool,
    /// The flusher has this session on its list.
    pub(super) on_list: bool,
    /// The task runs: it writes at the end of its turn.
    running: bool,
}

/// What sessions on polling have, and what others left for the task.
#[derive(Default)]
struct Rare {
    /// Wakes the parked GET.
    get: Option<Waker>,
    /// Wakes a POST that waits for room in the inbox.
    post: Option<Waker>,
    /// What the task has to take in.
    mail: Option<Box<Mail>>,
    /// Those who wait until the outbox is smaller.
    drains: Vec<Waiting>,
}

impl State {
    fn take_get(&mut self) -> Option<Waker> {
        self.rare.as_mut()?.get.take()
    }

    fn take_post(&mut self) -> Option<Waker> {
        self.rare.as_mut()?.post.take()
    }

    fn mail(&mut self) -> &mut Mail {
        self.rare
            .get_or_insert_default()
            .mail
            .get_or_insert_default()
    }

    pub(super) fn drains(&mut self) -> &mut Vec<Waiting> {
        &mut self.rare.get_or_insert_default().drains
    }

    pub(super) fn has_drains(&self) -> bool {
        self.rare
            .as_ref()
            .is_some_and(|rare| !rare.drains.is_empty())
    }

    pub(super) fn take_drains(&mut self) -> Vec<Waiting> {
        self.rare
            .as_mut()
            .map(|rare| std::mem::take(&mut rare.drains))
            .unwrap_or_default()
    }

    fn has_mail(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.mail.is_some())
    }
}

/// What others left for the session's task.
#[derive(Default)]
pub(crate) struct Mail {
    pub(crate) messages: VecDeque<Message>,
    pub(crate) commands: VecDeque<Command>,
    pub(crate) upgraded: Option<WebSocket>,
}

/// A message that came by polling.
pub(crate) enum Message {
    Text(ByteString),
    Binary(Bytes),
}

/// What the task is asked to do.
pub(crate) enum Command {
    /// A socket of this session was ended by the server: forget its namespace and run its disconnect handlers.
    SocketEnded(Sid),
    /// End every socket, then the session.
    DisconnectAll,
    /// The server shuts down.
    Shutdown,
}

/// How the session stands at the end of a turn of its task.
pub(crate) enum Settled {
    /// It has ended.
    Over(CloseReason),
    /// There is more to do at once.
    Busy,
    /// Nothing to do before the deadline, if there is one.
    Idle(Option<Instant>),
}

/// A polling body is not an Engine.IO payload; its session is closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidPayload;

impl Session {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        handshake: Handshake,
        transport: Transport,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: Sid::random(),
            engine: Arc::clone(engine),
            handshake,
            writer: Mutex::new(None),
            joined: AtomicBool::new(false),
            state: Mutex::new(State {
                machine: Machine::new(transport, now()),
                task: None,
                rare: None,
                inbox_full: false,
                blocked: false,
                unwatched: false,
                on_list: false,
                running: false,
            }),
        })
    }

    // --- admission ---

    /// Middleware of a namespace has let the client in, or the session is over: it is not counted as unauthenticated
    /// any more.
    pub(crate) fn set_joined(&self) {
        if !self.joined.swap(true, Ordering::AcqRel) {
            let prefix = self.handshake.address().map(Prefix::from);
            self.engine.admission.leave(prefix);
        }
    }

    pub(crate) fn is_joined(&self) -> bool {
        self.joined.load(Ordering::Acquire)
    }

    /// The settings for what this client may send now.
    pub(crate) fn config(&self) -> &Config {
        if self.is_joined() {
            &self.engine.config
        } else {
            &self.engine.unauthenticated_config
        }
    }

    // --- application ---

    /// Queues a frame for the client.
    pub(crate) fn send(self: &Arc<Self>, frame: Frame, class: Class) -> Sent {
        let now = TURN.get().unwrap_or_else(now);
        let (sent, to_flush) = self.queue(now, frame, class);
        if to_flush {
            self.engine.flusher.add(self);
        }
        sent
    }

    /// Queues a frame. `true`: the caller has to give this session to the flusher.
    pub(crate) fn queue(&self, now: Instant, frame: Frame, class: Class) -> (Sent, bool) {
        self.queue_if(now, frame, class, usize::MAX)
            .unwrap_or((Sent::Dropped, false))
    }

    /// As [`Self::queue`], unless more than `queued_max` bytes wait already, or the frame would overfill the outbox: then
    /// nothing happens.
    pub(crate) fn queue_if(
        &self,
        now: Instant,
        frame: Frame,
        class: Class,
        queued_max: usize,
    ) -> Option<(Sent, bool)> {
        let (mut to_flush, mut task, mut get) = (false, None, None);
        let sent = {
            let mut state = self.state.lock();
            let queued = state.machine.outbox_bytes();
            if queued > queued_max {
                return None;
            }
            let session = &self.engine.session;
            if queued_max < usize::MAX && !state.machine.has_room(session, frame.len()) {
                return None;
            }
            let was_empty = queued == 0;
            let sent = state.machine.send(&self.engine.session, now, frame, class);
            match (sent, state.machine.transport()) {
                // A task that runs writes at the end of its turn; one that is blocked writes when it can.
                (Sent::Queued, Transport::WebSocket) => {
                    to_flush =
                        state.task.is_some() && !(state.running || state.blocked || state.on_list);
                    state.on_list |= to_flush;
                }
                (Sent::Queued, Transport::Polling) => {
                    get = state.take_get();
                    if get.is_none() && was_empty {
                        // The first frame that waits starts the clock of the outbox: the task must set its timer.
                        task = state.task.take();
                    }
                }
                (Sent::Overflow, _) => (task, get) = (state.task.take(), state.take_get()),
                (Sent::Dropped | Sent::Closed, _) => {}
            }
            sent
        };
        if let Some(task) = task {
            task.wake();
        }
        if let Some(get) = get {
            get.wake();
        }
        match sent {
            Sent::Dropped => metrics::add(&self.engine.metrics.volatile_dropped, 1),
            Sent::Overflow => metrics::add(&self.engine.metrics.slow_consumers, 1),
            Sent::Queued | Sent::Closed => {}
        }
        Some((sent, to_flush))
    }

    pub(crate) fn close(&self, reason: CloseReason, flush: Flush) {
        self.update(|state, now| state.machine.close(now, reason, flush));
    }

    pub(crate) fn command(&self, command: Command) {
        self.update(|state, _| state.mail().commands.push_back(command));
    }

    pub(crate) fn transport(&self) -> Transport {
        self.state.lock().machine.transport()
    }

    // --- polling ---

    /// Parks a GET and returns its body once there is one. Dropped early (the client went away), it ends the session.
    pub(crate) async fn poll_body(&self) -> Result<Bytes, RequestError> {
        self.update(|state, now| state.machine.handle_get(&self.engine.session, now))?;
        let mut parked = ParkedGet {
            session: self,
            answered: false,
        };
        let mut body = BytesMut::new();
        std::future::poll_fn(|cx| self.poll_get(cx, &mut body)).await;
        parked.answered = true;
        metrics::add(&self.engine.metrics.bytes_out, body.len());
        Ok(body.freeze())
    }

    fn poll_get(&self, cx: &mut Context<'_>, body: &mut BytesMut) -> Poll<()> {
        let (task, drained) = {
            let mut state = self.state.lock();
            if !state.machine.poll_get(now(), body) {
                state.rare.get_or_insert_default().get = Some(cx.waker().clone());
                return Poll::Pending;
            }
            // The task looks again: a close may now be complete, deadlines have moved.
            (state.task.take(), state.drained())
        };
        for waker in task.into_iter().chain(drained) {
            waker.wake();
        }
        Poll::Ready(())
    }

    /// Announces a polling body. Must be followed by [`Self::end_post`], whatever happens.
    pub(crate) fn begin_post(&self) -> Result<(), RequestError> {
        self.update(|state, now| state.machine.handle_post(now))
    }

    pub(crate) fn end_post(&self) {
        self.update(|state, _| state.machine.handle_post_end());
    }

    /// Takes in a polling body, packet by packet; stops at the first bad one, which ends the session.
    pub(crate) fn take_payload(&self, body: &[u8]) -> Result<(), InvalidPayload> {
        let engine = &self.engine;
        metrics::add(&engine.metrics.bytes_in, body.len());
        let mut packets = match payload::decode(body, &self.config().limits) {
            Ok(packets) => packets,
            Err(error) => return self.refuse_payload(error.code()),
        };
        self.update(|state, now| {
            for packet in &mut packets {
                let packet = packet.map_err(|error| error.code())?;
                match state
                    .machine
                    .handle_packet(&engine.session, now, Transport::Polling, &packet)
                {
                    Received::Message => state.mail().messages.extend(owned(packet)),
                    Received::Nothing => {}
                    Received::Closed => break,
                }
            }
            Ok(())
        })
        .or_else(|code| self.refuse_payload(code))
    }

    fn refuse_payload(&self, code: &'static str) -> Result<(), InvalidPayload> {
        tracing::debug!(session = %self.id.shown(), code, "polling body refused");
        self.engine.metrics.refused(RefusalCode::EnginePacket);
        self.close(CloseReason::ParseError, Flush::No);
        Err(InvalidPayload)
    }

    /// Returns when the task has taken what came and has room for more: this is what slows a client that sends too fast.
    pub(crate) async fn inbox_room(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.state.lock();
            let waiting = state
                .rare
                .as_ref()
                .and_then(|rare| rare.mail.as_ref())
                .is_some_and(|mail| !mail.messages.is_empty());
            if state.machine.is_closed() || !(state.inbox_full || waiting) {
                return Poll::Ready(());
            }
            state.rare.get_or_insert_default().post = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    // --- upgrade ---

    pub(crate) fn begin_probe(&self) -> Result<ProbeId, RequestError> {
        self.update(|state, now| state.machine.handle_probe_open(&self.engine.session, now))
    }

    pub(crate) fn probe_packet(&self, probe: ProbeId, packet: &Packet<'_>) -> ProbeStep {
        self.update(|state, now| state.machine.handle_probe_packet(now, probe, packet))
    }

    pub(crate) fn end_probe(&self, probe: ProbeId) {
        self.update(|state, now| state.machine.handle_probe_closed(now, probe));
    }

    /// Hands the winning WebSocket to the session's task.
    pub(crate) fn upgraded(&self, websocket: WebSocket) {
        let metrics = &self.engine.metrics;
        metrics::add(&metrics.upgrades, 1);
        metrics::sub(&metrics.polling_open, 1);
        metrics::add(&metrics.websocket_open, 1);
        self.update(|state, _| state.mail().upgraded = Some(websocket));
    }

    // --- the task ---

    /// A turn of the task begins: what others left for it since the last one.
    pub(crate) fn take_mail(&self) -> Option<Box<Mail>> {
        let mut state = self.state.lock();
        state.running = true;
        let rare = state.rare.as_mut()?;
        let (mail, post) = (rare.mail.take(), rare.post.take());
        if rare.get.is_none() && rare.drains.is_empty() {
            state.rare = None;
        }
        drop(state);
        if let Some(waker) = post {
            waker.wake();
        }
        mail
    }

    /// Runs `f` on the state machine, without waking anyone: for the task itself.
    pub(crate) fn machine<R>(&self, f: impl FnOnce(&mut Machine) -> R) -> R {
        f(&mut self.state.lock().machine)
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.state.lock().blocked
    }

    /// Does what is due. A ping, or the end, may have to go out on a parked GET.
    pub(crate) fn handle_timeout(&self, now: Instant) {
        let get = {
            let mut state = self.state.lock();
            state.machine.handle_timeout(&self.engine.session, now);
            state.take_get()
        };
        if let Some(waker) = get {
            waker.wake();
        }
    }

    /// The task has done all it can: whether the session is over, something came in meanwhile, or it may sleep and will
    /// be woken through `cx`. `open`: its end has not been dealt with yet. `can_write`: it has a WebSocket; in an upgrade the
    /// state machine is on it a little earlier than the task.
    pub(crate) fn settle(&self, cx: &Context<'_>, open: bool, can_write: bool) -> Settled {
        let mut state = self.state.lock();
        if open && let Some(reason) = state.machine.reason().filter(|_| state.machine.is_closed()) {
            return Settled::Over(reason);
        }
        let may_write = !state.blocked && !state.on_list && state.machine.has_transmit();
        let unwritten = open && can_write && (may_write || state.unwatched);
        if state.has_mail() || unwritten {
            return Settled::Busy;
        }
        match &mut state.task {
            Some(waker) => waker.clone_from(cx.waker()),
            slot @ None => *slot = Some(cx.waker().clone()),
        }
        state.running = false;
        Settled::Idle(state.machine.poll_timeout(&self.engine.session))
    }

    /// Tells polling bodies whether they have to wait.
    pub(crate) fn set_inbox_full(&self, full: bool) {
        self.update(|state, now| {
            if state.inbox_full != full {
                state.inbox_full = full;
                // While we are the ones who do not read, a missing pong is not the client's fault.
                if full {
                    state.machine.suspend_heartbeat(now)
                } else {
                    state.machine.resume_heartbeat(now)
                }
            }
        });
    }

    /// Wakes everyone who may care: for rare events, where precision is not worth the thought.
    fn update<R>(&self, f: impl FnOnce(&mut State, Instant) -> R) -> R {
        let (result, wakers, drained) = {
            let mut state = self.state.lock();
            let result = f(&mut state, now());
            let wakers = [state.task.take(), state.take_get(), state.take_post()];
            (result, wakers, state.drained())
        };
        for waker in wakers.into_iter().flatten().chain(drained) {
            waker.wake();
        }
        result
    }
}

/// A parked GET; dropped without an answer, its connection broke.
struct ParkedGet<'a> {
    session: &'a Session,
    answered: bool,
}

impl Drop for ParkedGet<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.session
                .update(|state, now| state.machine.handle_get_aborted(now));
        }
    }
}

/// One turn of a session's task, for whose sends the clock is read once.
pub(crate) struct Turn {
    pub(crate) now: Instant,
}

impl Turn {
    pub(crate) fn begin() -> Self {
        let now = now();
        TURN.set(Some(now));
        Self { now }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURN.set(None);
    }
}

thread_local! {
    static TURN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The clock. tokio's, so that tests can hold it still.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn owned(packet: Packet<'_>) -> Option<Message> {
    match packet {
        Packet::Text(text) => Some(Message::Text(ByteString::from(text))),
        Packet::Binary(data) => Some(Message::Binary(Bytes::from(data.into_owned()))),
        _ => None,
    }
}
