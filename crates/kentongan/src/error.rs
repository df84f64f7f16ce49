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

/// What middleware says to a client that it does not let in; arrives as `connect_error`.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// `err.message` at the client.
    pub message: String,
    /// `err.data` at the client.
    pub data: Option<Value>,
}

impl Refusal {
    /// A refusal with a message only.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            data: None,
        }
    }

    /// Adds data for the client's program to decide upon.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<Value>) -> Self {
        self.data = Some(data.into());
        self
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}
