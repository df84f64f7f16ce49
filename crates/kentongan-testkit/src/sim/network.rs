//! The clock, the queue of events, and the network between client and server.
//!
//! Requests travel independently of each other, so they overtake one another; the two directions of a WebSocket are
//! streams and keep their order. A broken request or WebSocket delivers nothing more, except the news of its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Trace;
use super::plan::{Fault, MS, Micros};
use super::random::Random;
use super::wire::Message;

pub(super) type RequestId = usize;
pub(super) type SocketId = usize;

/// What happens at a moment, seen by the one to whom it happens.
#[derive(Debug)]
pub(super) enum Event {
    Server(ServerEvent),
    Client(ClientEvent),
    Fault(Fault),
}

#[derive(Debug)]
pub(super) enum ServerEvent {
    Get(RequestId),
    Post(RequestId, String),
    RequestGone(RequestId),
    SocketOpen(SocketId),
    SocketMessage(SocketId, Message),
    SocketClosed(SocketId),
    /// The body of the POST has been read.
    PostRead(RequestId),
    Timer,
    KernelFree,
    ReadAgain,
    Send(u64),
}

#[derive(Debug)]
pub(super) enum ClientEvent {
    Handshake,
    Response(RequestId, u16, String),
    RequestFailed(RequestId),
    SocketOpen(SocketId),
    SocketBytes(SocketId, Bytes),
    SocketClosed(SocketId),
    Timer,
    Upgrade,
    LoserUpgrades(SocketId),
    Send(u64),
}

#[derive(Debug, Default)]
pub(super) struct Request {
    broken: bool,
    pub(super) answered: bool,
}

#[derive(Debug, Default)]
struct Socket {
    broken: bool,
    /// Arrival of the last thing sent in each direction.
    to_server: Micros,
    to_client: Micros,
}

#[derive(Debug)]
pub(super) struct Network {
    pub(super) now: Micros,
    pub(super) random: Random,
    pub(super) black_hole: bool,
    pub(super) requests: Vec<Request>,
    pub(super) trace: Option<Vec<String>>,
    epoch: Instant,
    delay_max: Micros,
    queue: BTreeMap<(Micros, u64), Event>,
    scheduled: u64,
    sockets: Vec<Socket>,
}

impl Network {
    pub(super) fn new(random: Random, delay_max: Micros, trace: Trace) -> Self {
        Self {
            now: 0,
            random,
            black_hole: false,
            requests: Vec::new(),
            trace: (trace == Trace::On).then(Vec::new),
            // Only differences to it are ever looked at, so that the run does not depend on it.
            epoch: Instant::now(),
            delay_max,
            queue: BTreeMap::new(),
            scheduled: 0,
            sockets: Vec::new(),
        }
    }

    /// The next event that reaches somebody, with the clock set to it.
    pub(super) fn pop(&mut self) -> Option<Event> {
        loop {
            let ((at, _), event) = self.queue.pop_first()?;
            self.now = at;
            if !self.is_lost(&event) {
                self.note(|| format!("{event:?}"));
                return Some(event);
            }
            self.note(|| format!("(lost: {event:?})"));
        }
    }

    pub(super) fn at(&mut self, at: Micros, event: Event) {
        self.scheduled += 1;
        self.queue.insert((at.max(self.now), self.scheduled), event);
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!(
                "{:>12.3} ms  {}",
                self.now as f64 / MS as f64,
                text()
            ));
        }
    }

    pub(super) fn instant(&self) -> Instant {
        self.epoch + Duration::from_micros(self.now)
    }

    pub(super) fn micros(&self, instant: Instant) -> Micros {
        instant.duration_since(self.epoch).as_micros() as Micros
    }

    /// Mostly short, sometimes the longest.
    pub(super) fn delay(&mut self) -> Micros {
        let end = if self.random.chance(10) {
            self.delay_max
        } else {
            self.delay_max / 4
        };
        200 + self.random.below(end)
    }

    pub(super) fn handshake(&mut self) {
        let at = self.now + self.delay();
        self.at(at, Event::Client(ClientEvent::Handshake));
    }

    pub(super) fn get(&mut self) -> RequestId {
        let id = self.request();
        let at = self.now + self.delay();
        self.at(at, Event::Server(ServerEvent::Get(id)));
        id
    }

    pub(super) fn post(&mut self, body: String) -> RequestId {
        let id = self.request();
        let at = self.now + self.delay();
        self.at(at, Event::Server(ServerEvent::Post(id, body)));
        id
    }

    pub(super) fn respond(&mut self, id: RequestId, status: u16, body: String) {
        self.note(|| format!("  response {id}: {status} {body:?}"));
        if let Some(request) = self.requests.get_mut(id) {
            request.answered = true;
        }
        let at = self.now + self.delay();
        self.at(at, Event::Client(ClientEvent::Response(id, status, body)));
    }

    /// The connection of a request breaks. The server may not notice: then its kernel had taken the response.
    pub(super) fn abort(&mut self, id: RequestId, server_notices: bool) {
        let Some(request) = self.requests.get_mut(id).filter(|request| !request.broken) else {
            return;
        };
        request.broken = true;
        let (client, server) = (self.now + self.delay(), self.now + self.delay());
        self.at(client, Event::Client(ClientEvent::RequestFailed(id)));
        if server_notices {
            self.at(server, Event::Server(ServerEvent::RequestGone(id)));
        }
    }

    pub(super) fn open_socket(&mut self) -> SocketId {
        self.sockets.push(Socket::default());
        let id = self.sockets.len() - 1;
        self.stream_to_server(id, ServerEvent::SocketOpen(id));
        id
    }

    pub(super) fn accept_socket(&mut self, id: SocketId) {
        self.stream_to_client(id, ClientEvent::SocketOpen(id));
    }

    pub(super) fn message_to_server(&mut self, id: SocketId, message: Message) {
        self.note(|| format!("  client sends on socket {id}: {message:?}"));
        self.stream_to_server(id, ServerEvent::SocketMessage(id, message));
    }

    pub(super) fn bytes_to_client(&mut self, id: SocketId, bytes: Bytes) {
        self.note(|| format!("  server sends on socket {id}: {bytes:?}"));
        self.stream_to_client(id, ClientEvent::SocketBytes(id, bytes));
    }

    /// An orderly end: it arrives after what was sent before.
    pub(super) fn close_from_server(&mut self, id: SocketId) {
        self.note(|| format!("  server closes socket {id}"));
        self.stream_to_client(id, ClientEvent::SocketClosed(id));
    }

    pub(super) fn close_from_client(&mut self, id: SocketId) {
        self.note(|| format!("  client closes socket {id}"));
        self.stream_to_server(id, ServerEvent::SocketClosed(id));
    }

    /// A reset: what is under way is lost.
    pub(super) fn cut(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(id).filter(|socket| !socket.broken) {
            socket.broken = true;
            self.close_from_server(id);
            self.close_from_client(id);
        }
    }

    pub(super) fn reset_all(&mut self) {
        for id in 0..self.sockets.len() {
            self.cut(id);
        }
        for id in 0..self.requests.len() {
            self.abort(id, true);
        }
    }

    pub(super) fn is_broken(&self, id: RequestId) -> bool {
        self.requests.get(id).is_some_and(|request| request.broken)
    }

    fn request(&mut self) -> RequestId {
        self.requests.push(Request::default());
        self.requests.len() - 1
    }

    fn stream_to_server(&mut self, id: SocketId, event: ServerEvent) {
        let earliest = self.now + self.delay();
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.to_server = earliest.max(socket.to_server);
            let at = socket.to_server;
            self.at(at, Event::Server(event));
        }
    }

    fn stream_to_client(&mut self, id: SocketId, event: ClientEvent) {
        let earliest = self.now + self.delay();
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.to_client = earliest.max(socket.to_client);
            let at = socket.to_client;
            self.at(at, Event::Client(event));
        }
    }

    fn is_lost(&self, event: &Event) -> bool {
        use {ClientEvent as C, ServerEvent as S};
        let request = |id: &RequestId| self.black_hole || self.is_broken(*id);
        let socket = |id: &SocketId| {
            self.black_hole || self.sockets.get(*id).is_none_or(|socket| socket.broken)
        };
        match event {
            Event::Server(S::Get(id) | S::Post(id, _)) | Event::Client(C::Response(id, ..)) => {
                request(id)
            }
            Event::Server(S::SocketOpen(id) | S::SocketMessage(id, _)) => socket(id),
            Event::Client(C::SocketOpen(id) | C::SocketBytes(id, _)) => socket(id),
            Event::Server(S::RequestGone(_) | S::SocketClosed(_)) => self.black_hole,
            Event::Client(C::Handshake | C::RequestFailed(_) | C::SocketClosed(_)) => {
                self.black_hole
            }
            Event::Server(
                S::PostRead(_) | S::Timer | S::KernelFree | S::ReadAgain | S::Send(_),
            ) => false,
            Event::Client(C::Timer | C::Upgrade | C::LoserUpgrades(_) | C::Send(_))
            | Event::Fault(_) => false,
        }
    }
}
