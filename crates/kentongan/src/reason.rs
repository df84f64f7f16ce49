//! Why a socket or a session ended: the strings that Socket.IO users know, and a stable code.
//!
//! The texts are API: applications and the Admin UI compare them (protocol description, "disconnect reasons").

use std::fmt;

use kentongan_protocol::engine::session::CloseReason;

/// Why a socket left its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The connection broke: a socket error, an oversized message, an aborted or overlapping poll.
    TransportError,
    /// The peer closed the connection.
    TransportClose,
    /// No pong came in time.
    PingTimeout,
    /// Bytes that are not Engine.IO.
    ParseError,
    /// The server closed the session, because of a protocol violation or on request.
    ForcedClose,
    /// The session's outbox passed its bound: the client reads too slowly. It can come back and recover.
    SlowConsumer,
    /// The server is shutting down.
    ServerShuttingDown,
    /// In Node's list; nothing gives it at present.
    ForcedServerClose,
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// `Socket::disconnect` or `Socket::disconnect_session` was called, or a handler panicked.
    ServerNamespaceDisconnect,
    /// The same client came back on a new connection before the old one was noticed to be dead.
    Superseded,
}

impl DisconnectReason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 11] = [
        Self::TransportError,
        Self::TransportClose,
        Self::PingTimeout,
        Self::ParseError,
        Self::ForcedClose,
        Self::SlowConsumer,
        Self::ServerShuttingDown,
        Self::ForcedServerClose,
        Self::ClientNamespaceDisconnect,
        Self::ServerNamespaceDisconnect,
        Self::Superseded,
    ];

    /// The text that Node's server uses, where it has one.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransportError => "transport error",
            Self::TransportClose => "transport close",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ForcedClose => "forced close",
            Self::SlowConsumer => "slow consumer",
            Self::ServerShuttingDown => "server shutting down",
            Self::ForcedServerClose => "forced server close",
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::Superseded => "superseded",
        }
    }

    /// Whether the session may be recovered after it: the client did not mean to leave and was not sent away.
    #[must_use]
    pub fn is_recoverable(self) -> bool {
        !matches!(
            self,
            Self::ParseError | Self::ClientNamespaceDisconnect | Self::ServerNamespaceDisconnect
        )
    }

    pub(crate) fn index(self) -> usize {
        Self::ALL
            .iter()
            .position(|reason| *reason == self)
            .unwrap_or(0)
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<CloseReason> for DisconnectReason {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::TransportError(_) => Self::TransportError,
            CloseReason::TransportClose => Self::TransportClose,
            CloseReason::PingTimeout => Self::PingTimeout,
            CloseReason::ParseError => Self::ParseError,
            CloseReason::ForcedClose => Self::ForcedClose,
            CloseReason::SlowConsumer => Self::SlowConsumer,
            _ => Self::ForcedClose,
        }
    }
}
