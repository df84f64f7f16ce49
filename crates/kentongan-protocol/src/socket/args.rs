//! The arguments of an event or ack, without the event name, as they travelled: not parsed.
//!
//! Owns the two wire forms and the way between them and typed values. It must not know packets or namespaces.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::msgpack;
use super::value::Value;

mod json;
#[cfg(test)]
mod tests;

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
    /// Invariant: `text` is checked JSON; attachments are those of the packet, each referred to at most once.
    Json {
        text: ByteString,
        attachments: Vec<Bytes>,
        count: usize,
    },
    /// Invariant: `bytes` are `count` checked msgpack values.
    Msgpack { bytes: Bytes, count: u32 },
}

impl Args {
    /// No arguments.
    pub const fn empty(parser: Parser) -> Self {
        let repr = match parser {
            Parser::Json => Repr::Json {
                text: ByteString::new(),
                attachments: Vec::new(),
                count: 0,
            },
            Parser::Msgpack => Repr::Msgpack {
                bytes: Bytes::new(),
                count: 0,
            },
        };
        Self { repr }
    }

    /// From JSON that has been checked.
    pub(crate) const fn from_json(text: ByteString, count: usize) -> Self {
        let attachments = Vec::new();
        Self {
            repr: Repr::Json {
                text,
                attachments,
                count,
            },
        }
    }

    /// From msgpack that has been checked.
    pub(crate) const fn from_msgpack(bytes: Bytes, count: u32) -> Self {
        Self {
            repr: Repr::Msgpack { bytes, count },
        }
    }

    /// The attachments that the placeholders of checked JSON refer to.
    pub(crate) fn set_attachments(&mut self, collected: Vec<Bytes>) {
        if let Repr::Json { attachments, .. } = &mut self.repr {
            *attachments = collected;
        }
    }

    /// Number of arguments.
    pub const fn len(&self) -> usize {
        match &self.repr {
            Repr::Json { count, .. } => *count,
            Repr::Msgpack { count, .. } => *count as usize,
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parser whose form they have.
    pub const fn parser(&self) -> Parser {
        match &self.repr {
            Repr::Json { .. } => Parser::Json,
            Repr::Msgpack { .. } => Parser::Msgpack,
        }
    }

    /// From anything serializable. A tuple, an array `[T; N]` or `()` gives that many arguments, anything else one.
    /// Byte types (`bytes::Bytes`, serde_bytes) become binary; NaN and the infinities become `null` in JSON.
    ///
    /// # Errors
    /// The value cannot be serialized, has more than [`SENT_ATTACHMENTS_MAX`](crate::limits::SENT_ATTACHMENTS_MAX)
    /// binaries, or has a key `_placeholder` next to one.
    pub fn from_serialize<T: Serialize + ?Sized>(
        parser: Parser,
        value: &T,
    ) -> Result<Self, ArgsError> {
        match parser {
            Parser::Json => json::from_serialize(value)?.finish(),
            Parser::Msgpack => {
                let (bytes, count) = msgpack::args_from_serialize(value)?;
                Ok(Self::from_msgpack(bytes, count))
            }
        }
    }

    /// To anything deserializable. A tuple takes all arguments: missing ones are `null`, extra ones are ignored. `()`
    /// ignores them all. Anything else takes the first one, `null` if there is none.
    ///
    /// # Errors
    /// The arguments do not fit the type.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        match &self.repr {
            Repr::Json {
                text,
                attachments,
                count,
            } if attachments.is_empty() => json::deserialize(text, *count),
            Repr::Json { .. } => json::deserialize_values(self.values()?),
            Repr::Msgpack { bytes, count } => msgpack::args_deserialize(bytes, *count),
        }
    }

    /// One argument, `null` if there is none.
    ///
    /// # Errors
    /// The argument does not fit the type.
    pub fn argument<T: DeserializeOwned>(&self, index: usize) -> Result<T, ArgsError> {
        match &self.repr {
            Repr::Json {
                text,
                attachments,
                count,
            } if attachments.is_empty() => json::argument(text, *count, index),
            Repr::Json { .. } => {
                let value = self.values()?.into_iter().nth(index);
                json::deserialize_value(value.unwrap_or_default())
            }
            Repr::Msgpack { bytes, count } => msgpack::argument(bytes, *count, index),
        }
    }

    /// All arguments as dynamic values.
    ///
    /// # Errors
    /// A number or a lone surrogate escape in them has no [`Value`].
    pub fn values(&self) -> Result<Vec<Value>, ArgsError> {
        match &self.repr {
            Repr::Json {
                text, attachments, ..
            } => json::values(text, attachments),
            Repr::Msgpack { bytes, count } => msgpack::values(bytes, *count),
        }
    }

    /// From dynamic values, one argument each.
    ///
    /// # Errors
    /// As for [`Args::from_serialize`].
    pub fn from_values(parser: Parser, values: &[Value]) -> Result<Self, ArgsError> {
        match parser {
            Parser::Json => json::from_values(values)?.finish(),
            Parser::Msgpack => {
                let (bytes, count) = msgpack::from_values(values)?;
                Ok(Self::from_msgpack(bytes, count))
            }
        }
    }

    /// A copy with one more string.
    #[must_use]
    pub fn pushed_str(&self, pushed: &str) -> Self {
        match &self.repr {
            Repr::Json {
                text,
                attachments,
                count,
            } => {
                let comma = if *count == 0 { "" } else { "," };
                let text = format!("{text}{comma}\"{}\"", super::json::escape(pushed));
                let mut args = Self::from_json(text.into(), count + 1);
                args.set_attachments(attachments.clone());
                args
            }
            Repr::Msgpack { bytes, count } => {
                Self::from_msgpack(msgpack::push_str(bytes, pushed), count + 1)
            }
        }
    }

    /// Number of attachments; msgpack has none, its binary is inline.
    pub fn attachments(&self) -> usize {
        self.json_parts()
            .map_or(0, |(_, attachments)| attachments.len())
    }

    /// The attachments that the placeholders of [`Args::json`] refer to, in their order. Empty for msgpack.
    pub fn binaries(&self) -> &[Bytes] {
        self.json_parts()
            .map_or(&[], |(_, attachments)| attachments)
    }

    /// Bytes held.
    pub fn bytes_len(&self) -> usize {
        match &self.repr {
            Repr::Json {
                text, attachments, ..
            } => text.len() + attachments.iter().map(Bytes::len).sum::<usize>(),
            Repr::Msgpack { bytes, .. } => bytes.len(),
        }
    }

    /// JSON elements joined by commas, without brackets; binary is a placeholder.
    pub fn json(&self) -> Option<&str> {
        self.json_parts().map(|(text, _)| text)
    }

    /// msgpack elements, concatenated.
    pub fn msgpack(&self) -> Option<&[u8]> {
        match &self.repr {
            Repr::Msgpack { bytes, .. } => Some(bytes),
            Repr::Json { .. } => None,
        }
    }

    pub(crate) fn json_parts(&self) -> Option<(&str, &[Bytes])> {
        match &self.repr {
            Repr::Json {
                text, attachments, ..
            } => Some((text, attachments)),
            Repr::Msgpack { .. } => None,
        }
    }

    /// Elements and their number; none if the arguments are JSON.
    pub(crate) fn msgpack_parts(&self) -> (&[u8], u32) {
        match &self.repr {
            Repr::Msgpack { bytes, count } => (bytes, *count),
            Repr::Json { .. } => (&[], 0),
        }
    }
}

/// What can be sent as arguments: anything serializable, or arguments that are already in their wire form.
pub trait IntoArgs {
    /// The arguments in the form of `parser`.
    ///
    /// # Errors
    /// As for [`Args::from_serialize`]; arguments in the form of the other parser are converted.
    fn into_args(self, parser: Parser) -> Result<Args, ArgsError>;
}

/// What arguments can be read as: anything deserializable, or the arguments themselves.
pub trait FromArgs: Sized {
    /// Reads them.
    ///
    /// # Errors
    /// As for [`Args::deserialize`].
    fn from_args(args: &Args) -> Result<Self, ArgsError>;
}

impl<T: DeserializeOwned> FromArgs for T {
    fn from_args(args: &Args) -> Result<Self, ArgsError> {
        args.deserialize()
    }
}

impl FromArgs for Args {
    fn from_args(args: &Args) -> Result<Self, ArgsError> {
        Ok(args.clone())
    }
}

impl<T: Serialize> IntoArgs for T {
    fn into_args(self, parser: Parser) -> Result<Args, ArgsError> {
        Args::from_serialize(parser, &self)
    }
}

impl IntoArgs for Args {
    fn into_args(self, parser: Parser) -> Result<Args, ArgsError> {
        if self.parser() == parser {
            return Ok(self);
        }
        Args::from_values(parser, &self.values()?)
    }
}

impl IntoArgs for &Args {
    fn into_args(self, parser: Parser) -> Result<Args, ArgsError> {
        self.clone().into_args(parser)
    }
}
