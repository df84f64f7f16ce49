//! What is recorded: one event for each line, from the outside only. It knows neither how events are made nor what they prove.

use serde::{Deserialize, Serialize};

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in nanoseconds of one monotonic clock for the whole run.
    pub t_ns: u64,
    /// Who recorded it: `client-3`, `publisher-1`, `harness`.
    pub proc: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// The field `type` of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum What {
    /// Somebody asks for something.
    Invoke(Invoke),
    /// It was done.
    Ok(Answer),
    /// It was certainly not done.
    Fail(Failure),
    /// Whether it was done is not known ([`Info::Unknown`]), or something that nobody asked for.
    Info(Info),
}

/// A place in a room's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The life of the stream.
    pub epoch: String,
    /// 1, 2, 3 …; 0 is before the first.
    pub offset: u64,
}

/// A message where somebody read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its offset.
    pub offset: u64,
    /// The id in its data.
    pub id: String,
}

/// What a position was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovered {
    /// Everything after it follows. Also for a join without a position.
    Complete,
    /// The oldest after it have left the window.
    Gap,
    /// It says nothing about the present stream.
    Reset,
}

/// What a right permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// To be in the room and to receive.
    Join,
    /// To publish to it.
    Publish,
}

/// Beginnings. `call` is a number that no other invocation of the run has; the completion repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub enum Invoke {
    /// A message is published.
    Publish {
        /// The call.
        call: u64,
        /// The room, with its tenant when tenants may have rooms of equal names.
        room: String,
        /// The id in the data, `process-counter`: another one for each message, the same one for a retry.
        id: String,
        /// The idempotency key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The connection. Messages of one connection have an order; without one they have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conn: Option<u64>,
        /// Who publishes; without one it is the backend, which needs no right.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// Whose message it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<String>,
        /// What the message weighs in the room's window, in bytes.
        #[serde(default)]
        bytes: u64,
    },
    /// A client joins, or returns with a position.
    Join {
        /// The call.
        call: u64,
        /// The client, the same one over all its connections.
        client: u64,
        /// The connection.
        conn: u64,
        /// The room.
        room: String,
        /// What the client has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Position>,
    },
    /// A client leaves.
    Leave {
        /// The call.
        call: u64,
        /// The client.
        client: u64,
        /// The connection.
        conn: u64,
        /// The room.
        room: String,
    },
    /// An event that asks for an acknowledgement, in either direction.
    EmitAck {
        /// The call.
        call: u64,
        /// Unique; the reply has to repeat it.
        id: String,
    },
    /// The history of a room is read.
    History {
        /// The call.
        call: u64,
        /// The room.
        room: String,
        /// From behind this offset on; 0 for the beginning.
        after: u64,
        /// At most so many.
        limit: u64,
    },
    /// At the end: a fresh reader reads all that a room holds.
    FinalRead {
        /// The call.
        call: u64,
        /// The server that is asked.
        node: String,
        /// The room.
        room: String,
    },
    /// A right is given. With a token: when the token is shown.
    Grant {
        /// The call.
        call: u64,
        /// Who.
        user: String,
        /// Where; without one, everywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<String>,
        /// What.
        right: Right,
    },
    /// A right is taken.
    Revoke {
        /// The call.
        call: u64,
        /// Who.
        user: String,
        /// Where; without one, everywhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<String>,
        /// What; without one, everything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        right: Option<Right>,
    },
}

/// Good endings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub enum Answer {
    /// The message is published.
    Publish {
        /// The call.
        call: u64,
        /// Where it stands.
        #[serde(flatten)]
        position: Position,
        /// Whether it was there already.
        #[serde(default)]
        duplicate: bool,
        /// Whether the acknowledgement promises that it survives a crash.
        #[serde(default)]
        durable: bool,
    },
    /// The client is in the room.
    Join {
        /// The call.
        call: u64,
        /// What its position was worth.
        recovered: Recovered,
        /// Where it stands now: the next delivery has the offset behind this. After `complete` that is its own position;
        /// after `gap`, what it had and the number that it missed.
        position: Position,
    },
    /// The client is no longer in the room.
    Leave {
        /// The call.
        call: u64,
    },
    /// The acknowledgement came.
    EmitAck {
        /// The call whose callback was called.
        call: u64,
        /// The id that the reply repeats.
        id: String,
    },
    /// A page of the history.
    History {
        /// The call.
        call: u64,
        /// The life of the stream.
        epoch: String,
        /// What was read.
        items: Vec<Item>,
        /// Whether there is more.
        #[serde(default)]
        more: bool,
    },
    /// All that the room holds.
    FinalRead {
        /// The call.
        call: u64,
        /// The life of the stream.
        epoch: String,
        /// The newest offset, also when its message has left the window.
        top: u64,
        /// Everything that is held.
        items: Vec<Item>,
    },
    /// The right is given.
    Grant {
        /// The call.
        call: u64,
    },
    /// The right is taken.
    Revoke {
        /// The call.
        call: u64,
    },
}

/// A bad ending: refused, or given up before anything was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was asked for, as in the invocation.
    pub f: String,
    /// The call.
    pub call: u64,
    /// Why: the server's code, or `timeout` for an acknowledgement that did not come.
    pub code: String,
}

/// When a fault was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultPhase {
    /// It begins.
    Start,
    /// It is over.
    Stop,
    /// The proof that it happened: an exit code, a counter, a connection that is another one.
    Trace,
}

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerPhase {
    /// It answers.
    Start,
    /// It was ended in good order.
    Stop,
    /// It was ended without a chance to do anything.
    Crash,
}

/// When resources were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourcePhase {
    /// Before the load, with the clients of the end.
    Base,
    /// After it, when all is calm.
    End,
}

/// What nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub enum Info {
    /// Nobody knows how a call ended: the connection was lost, or the deadline passed.
    Unknown {
        /// The call.
        call: u64,
    },
    /// A client has a connection.
    Connect {
        /// The client.
        client: u64,
        /// The connection; a number that no other one has.
        conn: u64,
        /// Who it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// Whose client it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<String>,
    },
    /// A client has lost its connection, or ended it.
    Disconnect {
        /// The client.
        client: u64,
        /// The connection.
        conn: u64,
    },
    /// A message reached a client.
    Deliver {
        /// The client.
        client: u64,
        /// The connection.
        conn: u64,
        /// The room.
        room: String,
        /// Where it stands.
        #[serde(flatten)]
        position: Position,
        /// The id in the data.
        id: String,
    },
    /// Notice: so many messages left the window before the client could have them.
    Gap {
        /// The client.
        client: u64,
        /// The connection.
        conn: u64,
        /// The room.
        room: String,
        /// How many.
        missed: u64,
    },
    /// Notice: the room's stream is another one.
    Reset {
        /// The client.
        client: u64,
        /// The connection.
        conn: u64,
        /// The room.
        room: String,
        /// Where the client stands now.
        position: Position,
    },
    /// Notice: the client is too slow, and gets what it lacks later.
    Behind {
        /// The client.
        client: u64,
        /// The connection.
        conn: u64,
        /// The room.
        room: String,
    },
    /// Notice: it has everything again.
    CaughtUp {
        /// The client.
        client: u64,
        /// The connection.
        conn: u64,
        /// The room.
        room: String,
    },
    /// Notice: the client has lost the right to be in the room.
    Denied {
        /// The client.
        client: u64,
        /// The connection.
        conn: u64,
        /// The room.
        room: String,
    },
    /// Notice: the token of the client has expired; it is in no room any more.
    Expired {
        /// The client.
        client: u64,
        /// The connection.
        conn: u64,
    },
    /// The moment at which the token of a user expires. Whoever shows a newer one is given its rights anew.
    Expire {
        /// The user.
        user: String,
    },
    /// A fault of the harness.
    Fault {
        /// A number that no other fault has.
        fault: u64,
        /// Which one: `kill`, `disk_full`, `cut`.
        kind: String,
        /// Its beginning, its end, or its trace.
        phase: FaultPhase,
    },
    /// A server comes or goes.
    Server {
        /// Which one.
        node: String,
        /// What it does.
        phase: ServerPhase,
    },
    /// Something was done to the server after which another epoch is right: its data was deleted, a room was reset, or was
    /// forgotten because nobody used it.
    EpochChange {
        /// The room; without one, all of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<String>,
        /// What was done.
        cause: String,
    },
    /// What a server holds.
    Resources {
        /// Which one.
        node: String,
        /// When.
        phase: ResourcePhase,
        /// Acknowledgements that it waits for.
        pending_acks: u64,
        /// Its tasks.
        tasks: u64,
        /// Its file descriptors.
        fds: u64,
        /// Its memory, in bytes.
        rss_bytes: u64,
    },
}

impl Event {
    /// The call that this event begins or ends.
    #[must_use]
    pub fn call(&self) -> Option<u64> {
        match &self.what {
            What::Invoke(invoke) => Some(invoke.call()),
            What::Ok(answer) => Some(answer.call()),
            What::Fail(failure) => Some(failure.call),
            What::Info(Info::Unknown { call }) => Some(*call),
            What::Info(_) => None,
        }
    }
}

impl Invoke {
    /// The number of this call.
    #[must_use]
    pub fn call(&self) -> u64 {
        match self {
            Self::Publish { call, .. }
            | Self::Join { call, .. }
            | Self::Leave { call, .. }
            | Self::EmitAck { call, .. }
            | Self::History { call, .. }
            | Self::FinalRead { call, .. }
            | Self::Grant { call, .. }
            | Self::Revoke { call, .. } => *call,
        }
    }

    /// What is asked for, as in the field `f`.
    #[must_use]
    pub fn f(&self) -> &'static str {
        match self {
            Self::Publish { .. } => "publish",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
            Self::EmitAck { .. } => "emit_ack",
            Self::History { .. } => "history",
            Self::FinalRead { .. } => "final_read",
            Self::Grant { .. } => "grant",
            Self::Revoke { .. } => "revoke",
        }
    }
}

impl Answer {
    /// The number of the call that ends.
    #[must_use]
    pub fn call(&self) -> u64 {
        match self {
            Self::Publish { call, .. }
            | Self::Join { call, .. }
            | Self::Leave { call }
            | Self::EmitAck { call, .. }
            | Self::History { call, .. }
            | Self::FinalRead { call, .. }
            | Self::Grant { call }
            | Self::Revoke { call } => *call,
        }
    }

    /// What was asked for, as in the field `f`.
    #[must_use]
    pub fn f(&self) -> &'static str {
        match self {
            Self::Publish { .. } => "publish",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
            Self::EmitAck { .. } => "emit_ack",
            Self::History { .. } => "history",
            Self::FinalRead { .. } => "final_read",
            Self::Grant { .. } => "grant",
            Self::Revoke { .. } => "revoke",
        }
    }
}
