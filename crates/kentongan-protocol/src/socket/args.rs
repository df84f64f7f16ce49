//! The arguments of an event or ack, without the event name, as they travelled: not parsed.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::value::Value;

/// Which Socket.IO parser a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Parser {
    /// The default parser: JSON text with binary attachments.
    #[default]
    Json,
    /// socket.io-msgpack-parser: one binary message per packet.
    Msgpack,
}

/// Why arguments could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// The value cannot be written: the caller's fault.
    #[error("cannot serialize arguments: {0}")]
    Serialize(String),
    /// The arguments do not fit the type asked for: usually the peer's fault.
    #[error("arguments do not fit: {0}")]
    Deserialize(String),
    /// More attachments than a stock client accepts.
    #[error("{count} attachments, stock clients accept at most {max}")]
    TooManyAttachments {
        /// Attachments in the value.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// Data next to attachments has a `_placeholder` key and would be taken for a reference to one.
    #[error("the key _placeholder cannot be sent together with binary")]
    ForgedPlaceholder,
}

impl ArgsError {
    /// Stable name for metrics and logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Serialize(_) => "args_serialize",
            Self::Deserialize(_) => "args_deserialize",
            Self::TooManyAttachments { .. } => "args_attachments",
            Self::ForgedPlaceholder => "args_placeholder",
        }
    }

    /// What a client may be told.
    pub const fn client_text(&self) -> &'static str {
        match self {
            Self::Deserialize(_) => "invalid arguments",
            _ => "internal error",
        }
    }
}

/// Arguments as they travel. A clone costs reference counts.
#[derive(Debug, Clone)]
pub struct Args {
    repr: Repr,
}

#[derive(Debug, Clone)]
enum Repr {
    Json {
        text: ByteString,
        attachments: Vec<Bytes>,
        count: usize,
    },
    Msgpack {
        bytes: Bytes,
        count: u32,
    },
}

impl Args {
    /// No arguments.
    pub fn empty(parser: Parser) -> Self {
        unimplemented!("{parser:?}")
    }
    /// Number of arguments.
    pub fn len(&self) -> usize {
        unimplemented!("{:?}", self.repr)
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The parser whose form they have.
    pub fn parser(&self) -> Parser {
        unimplemented!()
    }
    /// From anything serializable.
    pub fn from_serialize<T: Serialize + ?Sized>(
        _parser: Parser,
        _value: &T,
    ) -> Result<Self, ArgsError> {
        unimplemented!()
    }
    /// To anything deserializable.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        unimplemented!()
    }
    /// One argument.
    pub fn argument<T: DeserializeOwned>(&self, _index: usize) -> Result<T, ArgsError> {
        unimplemented!()
    }
    /// All arguments as dynamic values.
    pub fn values(&self) -> Result<Vec<Value>, ArgsError> {
        unimplemented!()
    }
    /// From dynamic values.
    pub fn from_values(_parser: Parser, _values: &[Value]) -> Result<Self, ArgsError> {
        unimplemented!()
    }
    /// A copy with one more string.
    #[must_use]
    pub fn pushed_str(&self, _text: &str) -> Self {
        unimplemented!()
    }
    /// Number of attachments.
    pub fn attachments(&self) -> usize {
        unimplemented!()
    }
    /// Bytes held.
    pub fn bytes_len(&self) -> usize {
        unimplemented!()
    }
    /// JSON elements joined by commas, without brackets.
    pub fn json(&self) -> Option<&str> {
        unimplemented!()
    }
    /// msgpack elements, concatenated.
    pub fn msgpack(&self) -> Option<&[u8]> {
        unimplemented!()
    }
}
