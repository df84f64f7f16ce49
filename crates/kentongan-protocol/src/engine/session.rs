//! The Engine.IO session of the server: one per client, survives the change of transport.
//!
//! Owns what is true of a session between its requests and sockets: which transport carries it, what waits to be
//! sent, whether a GET is parked, when the next ping is due, who may upgrade it, and how it ends. Packets come in
//! decoded, frames go out finished. It must not know sockets, HTTP, clocks, payload encodings or Socket.IO.
//!
//! A driver calls `handle_*` with what happened and then asks, until nothing changes: [`Session::poll_get`] when a
//! GET is open, [`Session::poll_transmit`] when a WebSocket is, [`Session::poll_timeout`] for the next deadline. Any
//! call may end the session, so the driver looks at [`Session::is_closed`] last; a session that was closed has let
//! go of everything that it held, and only still owes an answer to a parked GET.
//!
//! Source: Engine.IO protocol revision 4, and what Node's engine.io 6.6 does where the text is silent.

mod close;
mod heartbeat;
mod outbox;
mod polling;
#[cfg(test)]
mod tests;
mod upgrade;

use std::time::{Duration, Instant};

use thiserror::Error;

use self::close::State;
pub use self::close::{CloseReason, Flush};
use self::heartbeat::{Beat, Heartbeat};
use self::outbox::Outbox;
use self::polling::Polling;
use self::upgrade::Probes;
pub use self::upgrade::{ProbeId, ProbeStep};
use crate::engine::packet::Packet;
use crate::frame::Frame;

/// Times and bounds of a session. One value serves all sessions of a server, so it is lent to each call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// Time from a pong to the next ping.
    pub ping_interval: Duration,
    /// Time that the client has to answer a ping.
    pub ping_timeout: Duration,
    /// Time from the opening of a probing WebSocket to its `5`.
    pub upgrade_timeout: Duration,
    /// Time that a closing session has to hand over what is still buffered.
    pub close_timeout: Duration,
    /// Whether a polling session may move to a WebSocket.
    pub allow_upgrades: bool,
    /// Bytes that may wait for one client. A single frame above it is taken when nothing else waits.
    pub outbox_bytes_max: usize,
    /// Time that a non-empty outbox may make no progress.
    pub outbox_age_max: Duration,
    /// WebSockets that may probe one session at the same time.
    pub probes_max: usize,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(30),
            allow_upgrades: true,
            outbox_bytes_max: 1024 * 1024,
            outbox_age_max: Duration::from_secs(30),
            probes_max: 3,
        }
    }
}

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// HTTP long polling.
    Polling,
    /// One WebSocket.
    WebSocket,
}

impl Transport {
    /// The name on the wire and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// How a frame may be treated when the client cannot take it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Waits, and ends the session rather than being lost.
    Reliable,
    /// Is dropped whole when it could not be written at once.
    Volatile,
}

/// What became of a frame given to [`Session::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// It waits for the transport.
    Queued,
    /// It was volatile and the transport was not writable.
    Dropped,
    /// The client is too slow: the session has closed itself, with everything that waited.
    Overflow,
    /// The session is closing or closed.
    Closed,
}

/// What the driver does with a packet that the session has looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Received {
    /// It is a message for the layer above.
    Message,
    /// It was for the session itself, or is to be ignored.
    Nothing,
    /// The session is closed, by this packet or before it: read no further.
    Closed,
}

/// Why a request on a session is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A GET (or POST) came while another one was open. The session has closed itself.
    #[error("a request of the same kind is already open on this session")]
    Overlap,
    /// A polling request, or another upgrade, on a session that a WebSocket carries.
    #[error("the session is carried by another transport")]
    Mismatch,
    /// The session is closed.
    #[error("the session is closed")]
    Unknown,
    /// The server does not upgrade sessions.
    #[error("upgrades are disabled")]
    UpgradesDisabled,
    /// As many WebSockets as allowed are probing this session.
    #[error("too many WebSockets probe this session")]
    ProbesFull,
}

impl RequestError {
    /// A stable name for logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Overlap => "request_overlap",
            Self::Mismatch => "transport_mismatch",
            Self::Unknown => "session_unknown",
            Self::UpgradesDisabled => "upgrades_disabled",
            Self::ProbesFull => "probes_full",
        }
    }

    /// Code and message of the JSON body that goes with the 400; none when the body is empty.
    pub const fn client(self) -> Option<(u8, &'static str)> {
        match self {
            Self::Overlap => None,
            Self::Unknown => Some((1, "Session ID unknown")),
            Self::Mismatch | Self::UpgradesDisabled | Self::ProbesFull => Some((3, "Bad request")),
        }
    }
}

/// The session. Every idle one costs just this struct; see the size test.
#[derive(Debug)]
pub struct Session {
    state: State,
    heartbeat: Heartbeat,
    outbox: Outbox,
    probes: Probes,
    polling: Polling,
    transport: Transport,
}

impl Session {
    /// A session whose handshake was accepted at `now`. The open packet is the driver's to send.
    pub fn new(transport: Transport, now: Instant) -> Self {
        Self {
            state: State::Open,
            heartbeat: Heartbeat::new(now),
            outbox: Outbox::new(now),
            probes: Probes::default(),
            polling: Polling::default(),
            transport,
        }
    }

    /// Takes one packet that came over `from`. Packets of a probing WebSocket go to
    /// [`Session::handle_probe_packet`] instead, and one that does not decode is a `close(ParseError)`.
    ///
    /// Packet types out of place are ignored as Node ignores them, except `2`: in revision 4 only the server pings.
    /// The config is not needed today; it is lent so that a limit on packets will not change the signature.
    pub fn handle_packet(
        &mut self,
        _config: &SessionConfig,
        now: Instant,
        from: Transport,
        packet: &Packet<'_>,
    ) -> Received {
        match self.state {
            State::Closed { .. } => return Received::Closed,
            State::Closing { reason, .. } if matches!(packet, Packet::Close) => {
                self.finish(reason);
                return Received::Closed;
            }
            State::Closing { .. } => return Received::Nothing,
            State::Open => {}
        }
        if !self.accepts_from(from) {
            return Received::Nothing;
        }
        match packet {
            Packet::Text(_) | Packet::Binary(_) => {
                self.heartbeat.handle_activity(now);
                Received::Message
            }
            Packet::Pong(_) => {
                self.heartbeat.handle_pong(now);
                Received::Nothing
            }
            Packet::Ping(_) => {
                self.finish(CloseReason::TransportError("invalid heartbeat direction"));
                Received::Closed
            }
            Packet::Close => {
                self.finish(CloseReason::TransportClose);
                Received::Closed
            }
            Packet::Open(_) | Packet::Upgrade | Packet::Noop => {
                self.heartbeat.handle_activity(now);
                Received::Nothing
            }
        }
    }

    /// Gives the session a frame to send.
    pub fn send(
        &mut self,
        config: &SessionConfig,
        now: Instant,
        frame: Frame,
        class: Class,
    ) -> Sent {
        if !self.is_open() {
            return Sent::Closed;
        }
        if class == Class::Volatile && !self.is_writable() {
            return Sent::Dropped;
        }
        if !self.has_room(config, frame.len()) {
            self.finish(CloseReason::SlowConsumer);
            return Sent::Overflow;
        }
        self.outbox.push(now, frame);
        Sent::Queued
    }

    /// Whether a reliable frame of `bytes` can be queued, or would end the session as too slow.
    pub fn has_room(&self, config: &SessionConfig, bytes: usize) -> bool {
        self.outbox.has_room(bytes, config.outbox_bytes_max)
    }

    /// The next frame for the WebSocket: a ping first, because the client's patience does not depend on what waits.
    ///
    /// What was handed out still counts against the outbox until [`Session::handle_transmit_progress`] or
    /// [`Session::handle_transmit_done`] says that the kernel has it.
    pub fn poll_transmit(&mut self) -> Option<Frame> {
        if self.is_closed() || self.transport != Transport::WebSocket {
            return None;
        }
        if self.heartbeat.take_ping() {
            return Some(self.outbox.hand_out(heartbeat::ping_frame()));
        }
        self.outbox.pop()
    }

    /// As many calls of [`Session::poll_transmit`] as give `frames_max` frames, ending with the one that makes `bytes_max`
    /// bytes or more. Returns the bytes of all of them.
    pub fn transmit_many(
        &mut self,
        frames_max: usize,
        bytes_max: usize,
        mut take: impl FnMut(Frame),
    ) -> usize {
        if frames_max == 0 || self.is_closed() || self.transport != Transport::WebSocket {
            return 0;
        }
        let (mut left, mut bytes) = (frames_max, 0);
        if self.heartbeat.take_ping() {
            let ping = self.outbox.hand_out(heartbeat::ping_frame());
            bytes += ping.len();
            take(ping);
            left -= 1;
        }
        bytes + self.outbox.pop_many(left, bytes_max, take)
    }

    /// Whether [`Session::poll_transmit`] would return a frame.
    pub fn has_transmit(&self) -> bool {
        !self.is_closed()
            && self.transport == Transport::WebSocket
            && (self.heartbeat.has_ping() || self.outbox.has_waiting())
    }

    /// The kernel took `bytes` of what [`Session::poll_transmit`] handed out, counted as [`Frame::len`] counts.
    /// A driver that writes another form of a frame (deflated) reports the frame's `len` when its last byte is gone.
    pub fn handle_transmit_progress(&mut self, now: Instant, bytes: usize) {
        self.outbox.handle_progress(now, bytes);
        self.finish_if_flushed();
    }

    /// The kernel took everything that [`Session::poll_transmit`] has handed out.
    pub fn handle_transmit_done(&mut self, now: Instant) {
        self.handle_transmit_progress(now, usize::MAX);
    }

    /// The driver of the WebSocket says whether a write would go through. It matters to volatile frames only.
    pub fn set_writable(&mut self, writable: bool) {
        self.outbox.writable = writable;
    }

    /// The WebSocket that carries the session is gone.
    pub fn handle_websocket_closed(&mut self, _now: Instant, reason: CloseReason) {
        if self.transport == Transport::WebSocket {
            self.finish(reason);
        }
    }

    /// The server stops reading from this client: a pong may lie unread, so its deadline stands still.
    /// Pings go on, because the client counts on them.
    pub fn suspend_heartbeat(&mut self, now: Instant) {
        self.heartbeat.suspend(now);
    }

    /// The server reads again.
    pub fn resume_heartbeat(&mut self, now: Instant) {
        self.heartbeat.resume(now);
    }

    /// Does what is due at `now`: ping, ping timeout, probes that took too long, a slow consumer, a close that does
    /// not finish. Read from the client first when both are possible, so that a pong in the buffer counts.
    pub fn handle_timeout(&mut self, config: &SessionConfig, now: Instant) {
        if self.close_deadline(config).is_some_and(|at| at <= now) {
            self.finish(CloseReason::ForcedClose);
        }
        if self
            .outbox
            .deadline(config.outbox_age_max)
            .is_some_and(|at| at <= now)
        {
            self.finish(CloseReason::SlowConsumer);
        }
        self.probes.expire(now);
        if !self.is_open() {
            return;
        }
        match self.heartbeat.handle_timeout(config, now) {
            Beat::Nothing => {}
            Beat::Ping => self.outbox.handle_ping(now),
            Beat::Expired => self.finish(CloseReason::PingTimeout),
        }
    }

    /// When [`Session::handle_timeout`] is next due. Drivers must not round it up: a session that never polls ends
    /// exactly `ping_interval + ping_timeout` after the handshake, and the protocol's own suite looks.
    pub fn poll_timeout(&self, config: &SessionConfig) -> Option<Instant> {
        if self.is_closed() {
            return None;
        }
        let heartbeat = if self.is_open() {
            self.heartbeat.deadline(config)
        } else {
            None
        };
        [
            heartbeat,
            self.close_deadline(config),
            self.outbox.deadline(config.outbox_age_max),
            self.probes.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What carries the session now.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether a frame would be written at once: the outbox is empty and the WebSocket takes bytes, or a GET is
    /// parked. Volatile frames are dropped otherwise.
    pub fn is_writable(&self) -> bool {
        let transport = match self.transport {
            Transport::WebSocket => self.outbox.writable,
            Transport::Polling => self.polling.get,
        };
        self.is_open() && transport && self.outbox.bytes() == 0
    }

    /// Bytes that wait for the client, or were handed out and not yet taken by the kernel.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Whether packets of `from` belong to the session. A POST that was accepted before the upgrade may still be
    /// read after it: its packets were sent before, and dropping them would lose them silently.
    fn accepts_from(&self, from: Transport) -> bool {
        from == self.transport || (from == Transport::Polling && self.polling.post)
    }
}
