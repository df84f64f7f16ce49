//! What nodes say to each other: one enum, modelled on what Socket.IO's cluster adapter carries (protocol notes 13).
//!
//! Heartbeats and the comings and goings of nodes are not here: each adapter has its own way to know its members.

use std::{fmt, time::Duration};

use bytestring::ByteString;
use kentongan_protocol::socket::{args::Args, value::Value};
use serde::{Deserialize, Serialize};

use crate::id::Sid;

/// Name of a node, unique in its cluster: 1 to 64 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "ByteString")]
pub struct NodeId(ByteString);

/// Names a request of one node, so that its replies find back: 1 to 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "ByteString")]
pub struct RequestId(ByteString);

/// The name of a node or request is empty or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a node or request has a name of 1 to 64 bytes")]
pub struct InvalidName;

/// One message between nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterMessage {
    /// Who says it.
    pub from: NodeId,
    /// For whom; `None` is every other node.
    pub to: Option<NodeId>,
    /// The namespace that it is about.
    pub namespace: ByteString,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Body {
    /// Send an event to sockets (Node's type 3).
    Broadcast {
        /// To whom.
        audience: Audience,
        /// Name of the event.
        event: ByteString,
        /// Its arguments.
        #[serde(with = "super::codec::wire_args")]
        args: Args,
        /// How.
        flags: Flags,
        /// Whether the clients are to answer.
        ack: Option<AckRequest>,
    },
    /// Make sockets join rooms (4).
    SocketsJoin {
        /// Who.
        audience: Audience,
        /// Where.
        rooms: Vec<ByteString>,
    },
    /// Make sockets leave rooms (5).
    SocketsLeave {
        /// Who.
        audience: Audience,
        /// Where.
        rooms: Vec<ByteString>,
    },
    /// Send sockets out (6).
    DisconnectSockets {
        /// Who.
        audience: Audience,
        /// From the namespace, or with their whole connection.
        scope: DisconnectScope,
    },
    /// Which sockets are there? (7)
    FetchSockets {
        /// For the reply.
        request: RequestId,
        /// Which are asked for.
        audience: Audience,
    },
    /// A part of the answer to `FetchSockets` (8).
    FetchSocketsReply {
        /// Of which request.
        request: RequestId,
        /// Some of the sockets.
        sockets: Vec<SocketRecord>,
        /// Whether these were the last ones. Socket.IO's own wire has only one part.
        last: bool,
    },
    /// An event for the server's own listeners (9).
    ServerSideEmit {
        /// Set when an answer is wanted.
        request: Option<RequestId>,
        /// Name of the event.
        event: ByteString,
        /// Its arguments.
        #[serde(with = "super::codec::wire_args")]
        args: Args,
    },
    /// The answer to `ServerSideEmit` (10).
    ServerSideReply {
        /// Of which request.
        request: RequestId,
        /// What the listener said.
        answer: Answer,
    },
    /// How many clients of the node were asked (11). Comes before their answers.
    BroadcastAckCount {
        /// Of which request.
        request: RequestId,
        /// How many. `None`: the node did not ask, because it has too many such requests.
        count: Option<u64>,
        /// Who, as far as the message has room for; empty when the wire carries numbers only.
        sockets: Vec<Sid>,
    },
    /// The answer of one client (12).
    BroadcastAck {
        /// Of which request.
        request: RequestId,
        /// Whose.
        socket: Sid,
        /// What it said.
        answer: Answer,
    },
}

/// Sockets of a namespace: all, or those in any of `rooms`, without those in any of `except`. A room is a name or a
/// socket's id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audience {
    /// Rooms whose members are meant; none means everyone.
    pub rooms: Vec<ByteString>,
    /// Rooms whose members are left out.
    pub except: Vec<ByteString>,
}

/// How an event is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    /// Whether it is dropped for those who cannot take it at once.
    pub volatile: bool,
    /// Whether it may be compressed.
    pub compress: bool,
}

/// Clients are to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckRequest {
    /// For the replies.
    pub request: RequestId,
    /// How long they have, in milliseconds.
    pub timeout_ms: u64,
}

/// How far sockets are sent out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DisconnectScope {
    /// Out of the namespace.
    Namespace,
    /// With their whole connection.
    Session,
}

/// A socket as other nodes see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SocketRecord {
    /// Its public id.
    pub id: Sid,
    /// The rooms it is in, without that of its own id.
    pub rooms: Vec<ByteString>,
    /// What `Socket::set_data` was told.
    pub data: Value,
}

/// What a client or a server's listener answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    /// This.
    Given(#[serde(with = "super::codec::wire_args")] Args),
    /// Nothing, and will not.
    Failed(Fault),
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The client left.
    #[error("the socket disconnected before it answered")]
    Disconnected,
    /// The client owes too many acknowledgements already.
    #[error("the socket owes too many acknowledgements")]
    TooManyPending,
    /// Nobody listens for the event.
    #[error("no listener for the event")]
    NoListener,
    /// The listeners answered nothing.
    #[error("the listener did not answer")]
    NoAnswer,
    /// More events wait than may.
    #[error("too many server events are waiting")]
    Busy,
    /// The listener panicked, or its answer cannot be sent.
    #[error("the listener failed")]
    Failed,
}

impl NodeId {
    /// A name that no other node has: 20 random characters.
    #[must_use]
    pub fn random() -> Self {
        Self(ByteString::from(&*Sid::random().text()))
    }

    /// A name of your own.
    ///
    /// # Errors
    /// [`InvalidName`] unless it has 1 to 64 bytes.
    pub fn new(name: impl Into<ByteString>) -> Result<Self, InvalidName> {
        name.into().try_into()
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RequestId {
    /// A fresh one, which cannot be guessed.
    #[must_use]
    pub fn random() -> Self {
        Self(ByteString::from(&*Sid::random().text()))
    }

    /// One that came from another node.
    ///
    /// # Errors
    /// [`InvalidName`] unless it has 1 to 64 bytes.
    pub fn new(name: impl Into<ByteString>) -> Result<Self, InvalidName> {
        name.into().try_into()
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ClusterMessage {
    /// A message.
    #[must_use]
    pub fn new(from: NodeId, to: Option<NodeId>, namespace: ByteString, body: Body) -> Self {
        Self {
            from,
            to,
            namespace,
            body,
        }
    }

    /// An upper bound of the bytes that the codec makes of it, without encoding it.
    #[must_use]
    pub fn bytes_bound(&self) -> usize {
        let texts = |texts: &[ByteString]| texts.iter().map(|text| text.len() + 5).sum::<usize>();
        let audience = |audience: &Audience| texts(&audience.rooms) + texts(&audience.except);
        // A msgpack bin or str has at most 5 bytes of head; so has each attachment.
        let args = |args: &Args| args.bytes_len() + 5 * (args.attachments() + 2);
        let body = match &self.body {
            Body::Broadcast {
                audience: to,
                event,
                args: data,
                ..
            } => audience(to) + event.len() + args(data),
            Body::SocketsJoin {
                audience: to,
                rooms,
            }
            | Body::SocketsLeave {
                audience: to,
                rooms,
            } => audience(to) + texts(rooms),
            Body::DisconnectSockets { audience: to, .. }
            | Body::FetchSockets { audience: to, .. } => audience(to),
            Body::FetchSocketsReply { sockets, .. } => {
                sockets.iter().map(SocketRecord::bytes_bound).sum::<usize>()
            }
            Body::ServerSideEmit {
                event, args: data, ..
            } => event.len() + args(data),
            Body::ServerSideReply { answer, .. } | Body::BroadcastAck { answer, .. } => {
                match answer {
                    Answer::Given(data) => args(data),
                    Answer::Failed(_) => 0,
                }
            }
            Body::BroadcastAckCount { sockets, .. } => sockets.len() * 22,
        };
        body + self.namespace.len() + ENVELOPE_BYTES
    }

    /// Rooms that it names.
    #[must_use]
    pub fn rooms_len(&self) -> usize {
        let audience = |audience: &Audience| audience.rooms.len() + audience.except.len();
        match &self.body {
            Body::Broadcast { audience: to, .. }
            | Body::DisconnectSockets { audience: to, .. }
            | Body::FetchSockets { audience: to, .. } => audience(to),
            Body::SocketsJoin {
                audience: to,
                rooms,
            }
            | Body::SocketsLeave {
                audience: to,
                rooms,
            } => audience(to) + rooms.len(),
            _ => 0,
        }
    }
}

impl SocketRecord {
    /// An upper bound of the bytes that the codec makes of it.
    pub(crate) fn bytes_bound(&self) -> usize {
        let rooms: usize = self.rooms.iter().map(|room| room.len() + 5).sum();
        64 + rooms + value_bytes(&self.data)
    }
}

/// An upper bound: no scalar takes more than 9 bytes, no head more than 5.
fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => 5 + text.len(),
        Value::Binary(data) => 5 + data.len(),
        Value::Array(elements) => 5 + elements.iter().map(value_bytes).sum::<usize>(),
        Value::Object(entries) => {
            let entry = |(key, value): &(String, Value)| 5 + key.len() + value_bytes(value);
            5 + entries.iter().map(entry).sum::<usize>()
        }
        _ => 9,
    }
}

impl AckRequest {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

impl TryFrom<ByteString> for NodeId {
    type Error = InvalidName;

    fn try_from(name: ByteString) -> Result<Self, InvalidName> {
        checked(name).map(Self)
    }
}

impl TryFrom<ByteString> for RequestId {
    type Error = InvalidName;

    fn try_from(name: ByteString) -> Result<Self, InvalidName> {
        checked(name).map(Self)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn checked(name: ByteString) -> Result<ByteString, InvalidName> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) {
        Ok(name)
    } else {
        Err(InvalidName)
    }
}

const NAME_BYTES_MAX: usize = 64;
/// Node, request and variant names, flags, and the heads of every list.
const ENVELOPE_BYTES: usize = 512;
