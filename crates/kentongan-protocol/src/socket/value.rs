//! A dynamic value: what JSON can say, plus binary.
//!
//! For callers that do not know the shape of arguments, and for packets with attachments, whose placeholders are
//! resolved into it. It must not know the wire; `socket::json` and `socket::msgpack` read and write it through serde.

use bytes::Bytes;
use serde_json::Number;

mod de;
mod ser;

pub use de::ValueError;

/// A dynamic value. Objects keep the order of their keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// `null`, and msgpack's nil or JavaScript's undefined.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A number: u64, i64 or f64.
    Number(Number),
    /// Text.
    String(String),
    /// Binary data: an attachment in JSON packets, inline in msgpack.
    Binary(Bytes),
    /// An array.
    Array(Vec<Value>),
    /// An object; keys are unique.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// Whether it is `null`.
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The boolean, if it is one.
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The number as i64, if it is one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// The number as u64, if it is one that fits.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// The number as f64, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The binary data, if it is that.
    pub const fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Binary(data) => Some(data),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The entries in order, if it is an object.
    pub fn as_object(&self) -> Option<&[(String, Value)]> {
        match self {
            Self::Object(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value under `key`, if it is an object that has it. Linear in the number of keys.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_object()?
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<Bytes> for Value {
    fn from(data: Bytes) -> Self {
        Self::Binary(data)
    }
}

impl From<Vec<Value>> for Value {
    fn from(elements: Vec<Value>) -> Self {
        Self::Array(elements)
    }
}

impl From<Vec<(String, Value)>> for Value {
    fn from(entries: Vec<(String, Value)>) -> Self {
        Self::Object(entries)
    }
}

impl From<f64> for Value {
    /// NaN and the infinities become `null`, as in JSON.
    fn from(value: f64) -> Self {
        Number::from_f64(value).map_or(Self::Null, Self::Number)
    }
}

macro_rules! from_integer {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Value {
            fn from(value: $integer) -> Self {
                Self::Number(Number::from(value))
            }
        }
    )*};
}

from_integer!(i8, i16, i32, i64, u8, u16, u32, u64, usize);

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
