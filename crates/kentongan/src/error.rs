//! What can go wrong in calls of the application, one enum per operation.

use kentongan_protocol::socket::{args::ArgsError, value::Value};

use crate::adapter::Missing;

/// An event was not queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The socket has left, or its session is closing.
    #[error("the socket is not connected")]
    Closed,
    /// The client reads too slowly: its outbox is full and its session was closed, recoverable.
    #[error("the client is too slow: its outbox passed the bound")]
    SlowConsumer,
    /// The event name is one that the protocol keeps for itself.
    #[error("the event name {0:?} is reserved")]
    Reserved(String),
    /// The arguments cannot be sent.
    #[error(transparent)]
    Args(#[from] ArgsError),
}

/// An acknowledgement did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// Not in time.
    #[error("operation has timed out")]
    TimedOut,
    /// The client left before it answered.
    #[error("the socket disconnected before it answered")]
    Disconnected,
    /// The client is on another node, which did not answer.
    #[error("the node of the socket did not answer: {0}")]
    Node(Missing),
    /// The client owes too many acknowledgements already.
    #[error("too many acknowledgements are pending")]
    TooManyPending,
    /// The event was not sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The answer does not fit the type.
    #[error("the answer does not fit: {0}")]
    Answer(ArgsError),
}

/// A room was not joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The socket has left the namespace.
    #[error("the socket is not connected")]
    Closed,
    /// The room's name is longer than `held.room_bytes_max`.
    #[error("the room name is too long")]
    NameTooLong,
    /// The socket is in `held.rooms_per_socket_max` rooms already.
    #[error("the socket is in too many rooms")]
    TooManyRooms,
}

impl EmitError {
    /// Stable name for metrics and logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::SlowConsumer => "slow_consumer",
            Self::Reserved(_) => "event_name_reserved",
            Self::Args(error) => error.code(),
        }
    }
}

impl AckError {
    /// Stable name for metrics and logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TimedOut => "ack_timed_out",
            Self::Disconnected => "ack_disconnected",
            Self::Node(missing) => missing.code(),
            Self::TooManyPending => "ack_too_many",
            Self::Emit(error) => error.code(),
            Self::Answer(error) => error.code(),
        }
    }
}

impl JoinError {
    /// Stable name for metrics and logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::NameTooLong => "room_name_too_long",
            Self::TooManyRooms => "too_many_rooms",
        }
    }
}

/// What the application says to a client that it refuses: middleware at the connect, middleware of an event, or a handler.
///
/// At the connect it arrives as `connect_error`, elsewhere as the acknowledgement
/// `{ok: false, error: {code, message, data?}}`.
///
/// ```
/// let refusal = kentongan::Refusal::new("your session is over").with_code("token_expired");
/// assert_eq!(refusal.code(), "token_expired");
/// assert_eq!(kentongan::Refusal::new("no").code(), "refused");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// For people: `err.message` at the client.
    pub message: String,
    /// For the client's program: `err.data` at the client.
    pub data: Option<Value>,
    /// For the client's program to branch on; see [`Refusal::with_code`].
    pub code: Option<String>,
}

impl Refusal {
    /// A refusal with a message only.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            data: None,
            code: None,
        }
    }

    /// Gives it a stable code of its own, in place of `refused`.
    ///
    /// An acknowledgement has it as `error.code`. `connect_error` has only `message` and `data` on the wire, so there it is
    /// `err.data.code`, next to the members of `data` if that is an object that has no `code` yet; `data` that is no
    /// object becomes `err.data.data`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Adds data for the client's program to decide upon.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<Value>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// Its code: `refused` unless [`Refusal::with_code`] was called.
    #[must_use]
    pub fn code(&self) -> &str {
        self.code.as_deref().unwrap_or(REFUSED)
    }

    /// `data` of a `connect_error`. Without a code of its own it is what the application gave: Node's clients see no
    /// difference.
    pub(crate) fn connect_error_data(self) -> Option<Value> {
        let Some(code) = self.code else {
            return self.data;
        };
        let code = ("code".to_owned(), Value::from(code));
        Some(match self.data {
            None | Some(Value::Null) => Value::Object(vec![code]),
            Some(Value::Object(members)) if members.iter().any(|(key, _)| key == "code") => {
                Value::Object(members)
            }
            Some(Value::Object(mut members)) => {
                members.insert(0, code);
                Value::Object(members)
            }
            Some(other) => Value::Object(vec![code, ("data".to_owned(), other)]),
        })
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

/// The code of a refusal that has none of its own.
const REFUSED: &str = "refused";
