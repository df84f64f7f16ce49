//! How a session ends: the reasons, the closing state, and the one place where it becomes closed.

use std::fmt;
use std::time::Instant;

use super::{Session, SessionConfig, Transport};

/// Why a session ended. The strings are API: Socket.IO hands them to the application as disconnect reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The transport failed or the client broke the rules of the transport; the text says how, for the log.
    TransportError(&'static str),
    /// The client closed the session or its WebSocket.
    TransportClose,
    /// No pong in time.
    PingTimeout,
    /// A packet or payload that does not decode.
    ParseError,
    /// The server closed the session.
    ForcedClose,
    /// The client did not take what was sent to it: too many bytes waited, or for too long.
    SlowConsumer,
}

impl CloseReason {
    /// The reason as Engine.IO names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransportError(_) => "transport error",
            Self::TransportClose => "transport close",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ForcedClose => "forced close",
            Self::SlowConsumer => "slow consumer",
        }
    }

    /// What exactly failed, for the log.
    pub const fn detail(self) -> Option<&'static str> {
        match self {
            Self::TransportError(detail) => Some(detail),
            _ => None,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happens to buffered frames when the server closes a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// They are handed over first, for at most `close_timeout`.
    Yes,
    /// They are dropped.
    No,
}

/// Where a session stands in its life.
#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    Open,
    /// The server closes; buffered frames still go out, nothing new comes in.
    Closing {
        since: Instant,
        reason: CloseReason,
    },
    Closed {
        reason: CloseReason,
    },
}

impl Session {
    /// Closes the session from the server's side. A session that is closing already only listens to `Flush::No`.
    ///
    /// On a WebSocket the driver ends it with a close frame when the session is closed. On polling the parked GET
    /// is answered with `1`, or, with `Flush::Yes`, the next one.
    pub fn close(&mut self, now: Instant, reason: CloseReason, flush: Flush) {
        match (self.state, flush) {
            (State::Closed { .. }, _) | (State::Closing { .. }, Flush::Yes) => {}
            (_, Flush::No) => self.finish(reason),
            (State::Open, Flush::Yes) => {
                self.state = State::Closing { since: now, reason };
                self.heartbeat.stop();
                self.polling.closed_unparked = !self.polling.get;
                self.finish_if_flushed();
            }
        }
    }

    /// Whether the session takes messages in both directions.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Why the session is closed, or closing.
    pub fn reason(&self) -> Option<CloseReason> {
        match self.state {
            State::Open => None,
            State::Closing { reason, .. } | State::Closed { reason } => Some(reason),
        }
    }

    pub(super) fn close_deadline(&self, config: &SessionConfig) -> Option<Instant> {
        match self.state {
            State::Closing { since, .. } => Some(since + config.close_timeout),
            _ => None,
        }
    }

    /// The one way into `Closed`. The first reason stays: what ends a closing session is not news to the
    /// application. A parked GET stays parked, because it is still owed its answer.
    pub(super) fn finish(&mut self, reason: CloseReason) {
        let reason = self.reason().unwrap_or(reason);
        self.state = State::Closed { reason };
        self.heartbeat.stop();
        self.outbox.clear();
        self.probes.clear();
        self.polling.post = false;
    }

    /// Ends a closing session whose WebSocket has taken everything.
    pub(super) fn finish_if_flushed(&mut self) {
        if let State::Closing { reason, .. } = self.state
            && self.transport == Transport::WebSocket
            && self.outbox.bytes() == 0
        {
            self.finish(reason);
        }
    }
}
