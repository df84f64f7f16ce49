//! JSON arguments into typed values.
//!
//! Must not know how they were written.

use std::cell::OnceCell;
use std::fmt;

use bytes::Bytes;
use serde::de::value::SeqDeserializer;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny,
    IntoDeserializer as _, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{ProbeError, bracketed};
use crate::socket::args::ArgsError;
use crate::socket::json::PLACEHOLDER;
use crate::socket::value::Value;

fn deserialize_error(error: impl fmt::Display) -> ArgsError {
    ArgsError::Deserialize(error.to_string())
}

/// `text` holds `count` elements without references to attachments.
pub(in super::super) fn deserialize<T: DeserializeOwned>(
    text: &str,
    count: usize,
) -> Result<T, ArgsError> {
    let array = OnceCell::new();
    let source = Text {
        text,
        count,
        array: &array,
    };
    match T::deserialize(SourceProbe(source)) {
        Err(ProbeError::OtherType) => argument(text, count, 0),
        result => result.map_err(deserialize_error),
    }
}

pub(in super::super) fn argument<T: DeserializeOwned>(
    text: &str,
    count: usize,
    index: usize,
) -> Result<T, ArgsError> {
    if index >= count {
        return deserialize_value(Value::Null);
    }
    if index == 0 {
        // Reads one value and leaves the rest of the elements alone.
        return T::deserialize(&mut serde_json::Deserializer::from_str(text))
            .map_err(deserialize_error);
    }
    let visitor = Nth {
        index,
        marker: std::marker::PhantomData,
    };
    serde_json::Deserializer::from_str(&bracketed(text))
        .deserialize_seq(visitor)
        .map_err(deserialize_error)
}

pub(in super::super) fn values(text: &str, attachments: &[Bytes]) -> Result<Vec<Value>, ArgsError> {
    let mut values: Vec<Value> =
        serde_json::from_str(&bracketed(text)).map_err(deserialize_error)?;
    if !attachments.is_empty() {
        for value in &mut values {
            resolve(value, attachments);
        }
    }
    Ok(values)
}

pub(in super::super) fn deserialize_values<T: DeserializeOwned>(
    values: Vec<Value>,
) -> Result<T, ArgsError> {
    let mut values = values;
    match T::deserialize(SourceProbe(Values(&mut values))) {
        Err(ProbeError::OtherType) => {
            deserialize_value(values.into_iter().next().unwrap_or_default())
        }
        result => result.map_err(deserialize_error),
    }
}

pub(in super::super) fn deserialize_value<T: DeserializeOwned>(
    value: Value,
) -> Result<T, ArgsError> {
    T::deserialize(value).map_err(deserialize_error)
}

/// Replaces placeholders. Their shape has been checked, and serde_json has bounded the nesting.
fn resolve(value: &mut Value, attachments: &[Bytes]) {
    let placeholder = value.get(PLACEHOLDER).is_some();
    let index = value.get("num").and_then(Value::as_u64);
    match value {
        Value::Object(_) if placeholder => {
            let data = index
                .and_then(|index| usize::try_from(index).ok())
                .and_then(|index| attachments.get(index));
            *value = data.cloned().map_or(Value::Null, Value::Binary);
        }
        Value::Object(entries) => {
            for (_, value) in entries {
                resolve(value, attachments);
            }
        }
        Value::Array(elements) => {
            for value in elements {
                resolve(value, attachments);
            }
        }
        _ => {}
    }
}

/// Where the elements of a tuple come from.
trait Source<'de> {
    /// Shows the arguments to `visitor` as a sequence of `len`: filled up with `null`, the rest skipped.
    fn visit<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, ProbeError>;
}

/// Reads tuples and `()` from a source, and only tells that anything else is something else.
struct SourceProbe<S>(S);

impl<'de, S: Source<'de>> Deserializer<'de> for SourceProbe<S> {
    type Error = ProbeError;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, ProbeError> {
        Err(ProbeError::OtherType)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ProbeError> {
        visitor.visit_unit()
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ProbeError> {
        self.0.visit(len, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct
        newtype_struct seq tuple_struct map struct enum identifier ignored_any
    }
}

struct Text<'t> {
    text: &'t str,
    count: usize,
    /// Holds `text` in brackets if it turns out to be needed.
    array: &'t OnceCell<String>,
}

impl<'de> Source<'de> for Text<'de> {
    fn visit<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, ProbeError> {
        let array = self.array.get_or_init(|| bracketed(self.text));
        let padded = Padded {
            visitor,
            len,
            count: self.count,
        };
        serde_json::Deserializer::from_str(array)
            .deserialize_seq(padded)
            .map_err(|error| ProbeError::Other(error.to_string()))
    }
}

/// Taken only when they are visited.
struct Values<'v>(&'v mut Vec<Value>);

impl<'de> Source<'de> for Values<'_> {
    fn visit<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, ProbeError> {
        let mut values = std::mem::take(self.0);
        values.resize(len, Value::Null);
        visitor
            .visit_seq(SeqDeserializer::new(values.into_iter()))
            .map_err(|error: crate::socket::value::ValueError| ProbeError::Other(error.to_string()))
    }
}

/// Shows a sequence of `count` elements to `visitor` as one of `len`: filled up with `null`, the rest skipped.
struct Padded<V> {
    visitor: V,
    len: usize,
    count: usize,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Padded<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(formatter)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<V::Value, A::Error> {
        let value = self.visitor.visit_seq(PaddedSeq {
            seq: &mut seq,
            len: self.len,
            count: self.count,
        })?;
        skip_rest(seq)?;
        Ok(value)
    }
}

struct PaddedSeq<'a, A> {
    seq: &'a mut A,
    len: usize,
    count: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for PaddedSeq<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        if self.len == 0 {
            return Ok(None);
        }
        self.len -= 1;
        if self.count == 0 {
            return seed.deserialize(().into_deserializer()).map(Some);
        }
        self.count -= 1;
        self.seq.next_element_seed(seed)
    }
}

fn skip_rest<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

struct Nth<T> {
    index: usize,
    marker: std::marker::PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Nth<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        for _ in 0..self.index {
            let _: Option<IgnoredAny> = seq.next_element()?;
        }
        let value = seq
            .next_element()?
            .ok_or_else(|| serde::de::Error::invalid_length(self.index, &self))?;
        skip_rest(seq)?;
        Ok(value)
    }
}
