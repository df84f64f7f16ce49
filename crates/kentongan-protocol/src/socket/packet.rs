//! A Socket.IO packet as the rest of the server sees it: names and ids are parsed, arguments are not.
//!
//! It must not know in which form (JSON or msgpack) the packet travelled; [`Args`] keeps that to itself.

use bytestring::ByteString;

use super::args::Args;

/// The namespace every client may name by leaving it out.
pub const ROOT_NAMESPACE: &str = "/";

/// A decoded packet (Socket.IO 5, "Packet types"). Binary events and acks are events and acks with attachments.
#[derive(Debug, Clone)]
pub enum Packet {
    /// A client asks for a namespace, or a server grants it.
    Connect {
        /// Namespace, with its leading slash.
        ns: ByteString,
        /// Exactly one argument, an object: the client's credentials or the server's `sid`.
        auth: Option<Args>,
    },
    /// A namespace is left.
    Disconnect {
        /// Namespace.
        ns: ByteString,
    },
    /// An event.
    Event {
        /// Namespace.
        ns: ByteString,
        /// Id under which the sender expects an ack.
        id: Option<u64>,
        /// Event name; the decimal text if the sender used a number; empty if the packet had no payload.
        name: ByteString,
        /// Arguments after the name.
        args: Args,
    },
    /// The answer to an event.
    Ack {
        /// Namespace.
        ns: ByteString,
        /// Id of the event that is answered.
        id: u64,
        /// Arguments of the answer.
        args: Args,
    },
    /// A namespace is refused. Only a server sends this.
    ConnectError {
        /// Namespace.
        ns: ByteString,
        /// Exactly one argument: an object with `message`, or a bare string from old servers.
        data: Args,
    },
}

impl Packet {
    /// The namespace of the packet.
    pub fn namespace(&self) -> &ByteString {
        match self {
            Self::Connect { ns, .. }
            | Self::Disconnect { ns }
            | Self::Event { ns, .. }
            | Self::Ack { ns, .. }
            | Self::ConnectError { ns, .. } => ns,
        }
    }
}

/// The type digit on the wire; 5 and 6 are the binary forms of 2 and 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PacketType {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
}

/// Names that a peer may not use for an event: the libraries emit them to themselves (CVE-2024-38355 and the like).
pub const RESERVED_EVENTS: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// Whether `name` is one of [`RESERVED_EVENTS`].
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED_EVENTS.contains(&name)
}
