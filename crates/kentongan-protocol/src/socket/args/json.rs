//! Typed values into JSON arguments and back.
//!
//! Owns the meaning of a tuple (several arguments) and of binary (a placeholder and an attachment). Must not know
//! packets.

use std::fmt;

mod read;
mod write;

pub(super) use read::{argument, deserialize, deserialize_value, deserialize_values, values};
pub(super) use write::{from_serialize, from_values};

/// The type is none that the probe deals with (nothing has been read or written then), or a real error.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("another type")]
    OtherType,
    #[error("{0}")]
    Other(String),
}

impl serde::ser::Error for ProbeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }
}

impl serde::de::Error for ProbeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }
}

fn bracketed(text: &str) -> String {
    let mut array = String::with_capacity(text.len() + 2);
    array.push('[');
    array.push_str(text);
    array.push(']');
    array
}
