//! Typed values into JSON arguments and back.
//!
//! Owns the meaning of a tuple (several arguments) and of binary (a placeholder and an attachment).

use std::cell::OnceCell;
use std::fmt;
use std::io;

use bytes::Bytes;
use serde::de::value::SeqDeserializer;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny,
    IntoDeserializer as _, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde::ser::{Impossible, Serialize, SerializeTuple, Serializer};

use super::{Args, ArgsError};
use crate::limits::{DEPTH_CEILING, Limits, SENT_ATTACHMENTS_MAX};
use crate::socket::decode::DecodeError;
use crate::socket::json::{PLACEHOLDER, is_plain, scan_array};
use crate::socket::value::Value;

fn serialize_error(error: impl fmt::Display) -> ArgsError {
    ArgsError::Serialize(error.to_string())
}

fn deserialize_error(error: impl fmt::Display) -> ArgsError {
    ArgsError::Deserialize(error.to_string())
}

/// Most arguments are shorter: their text is written without moving it.
const TEXT_BYTES_EXPECTED: usize = 192;

/// Arguments being written.
pub(super) struct Draft {
    text: Vec<u8>,
    attachments: Vec<Bytes>,
    count: usize,
}

impl Draft {
    fn new() -> Self {
        Self {
            text: Vec::with_capacity(TEXT_BYTES_EXPECTED),
            attachments: Vec::new(),
            count: 0,
        }
    }

    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), serde_json::Error> {
        if self.count > 0 {
            self.text.push(b',');
        }
        self.count += 1;
        // serde_json looks at each byte of a string; this one in words.
        if value.serialize(Probe::element(self)).is_ok() {
            return Ok(());
        }
        let formatter = Formatter {
            attachments: &mut self.attachments,
        };
        value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut self.text,
            formatter,
        ))
    }

    pub(super) fn finish(self) -> Result<Args, ArgsError> {
        let text = String::from_utf8(self.text).map_err(serialize_error)?;
        let count = self.attachments.len();
        if count > SENT_ATTACHMENTS_MAX {
            return Err(ArgsError::TooManyAttachments {
                count,
                max: SENT_ATTACHMENTS_MAX,
            });
        }
        if count > 0 {
            check_placeholders(&bracketed(&text), count)?;
        }
        let mut args = Args::from_json(text.into(), self.count);
        args.set_attachments(self.attachments);
        Ok(args)
    }
}

/// Each attachment has its one placeholder, so a forged one is out of range, the second for its index, or misshapen.
fn check_placeholders(text: &str, attachments: usize) -> Result<(), ArgsError> {
    let limits = Limits {
        depth_max: DEPTH_CEILING,
        object_keys_max: usize::MAX,
        ..Limits::default()
    };
    match scan_array(text, &limits, Some(attachments)) {
        Ok(_) => Ok(()),
        Err(
            DecodeError::PlaceholderShape
            | DecodeError::PlaceholderIndex
            | DecodeError::PlaceholderReused,
        ) => Err(ArgsError::ForgedPlaceholder),
        Err(error) => Err(serialize_error(error)),
    }
}

/// Binary becomes an attachment.
struct Formatter<'a> {
    attachments: &'a mut Vec<Bytes>,
}

impl serde_json::ser::Formatter for Formatter<'_> {
    fn write_byte_array<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        value: &[u8],
    ) -> io::Result<()> {
        let index = self.attachments.len();
        self.attachments.push(Bytes::copy_from_slice(value));
        write!(writer, "{{\"{PLACEHOLDER}\":true,\"num\":{index}}}")
    }
}

pub(super) fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Draft, ArgsError> {
    let mut draft = Draft::new();
    match value.serialize(Probe::top(&mut draft)) {
        Ok(()) => {}
        Err(ProbeError::OtherType) => draft.push(value).map_err(serialize_error)?,
        Err(ProbeError::Other(text)) => return Err(ArgsError::Serialize(text)),
    }
    Ok(draft)
}

pub(super) fn from_values(values: &[Value]) -> Result<Draft, ArgsError> {
    let mut draft = Draft::new();
    for value in values {
        draft.push(value).map_err(serialize_error)?;
    }
    Ok(draft)
}

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

/// Writes tuples and `()` at the top and strings without escapes as elements, and only tells that anything else is
/// something else.
struct Probe<'a> {
    draft: &'a mut Draft,
    level: Level,
}

#[derive(PartialEq, Eq)]
enum Level {
    Top,
    Element,
}

impl<'a> Probe<'a> {
    fn top(draft: &'a mut Draft) -> Self {
        let level = Level::Top;
        Self { draft, level }
    }

    fn element(draft: &'a mut Draft) -> Self {
        let level = Level::Element;
        Self { draft, level }
    }
}

macro_rules! other_types {
    ($($method:ident($($argument:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<$ok, ProbeError> {
            Err(ProbeError::OtherType)
        }
    )*};
}

impl<'a> Serializer for Probe<'a> {
    type Ok = ();
    type Error = ProbeError;
    type SerializeSeq = Impossible<(), ProbeError>;
    type SerializeTuple = Elements<'a>;
    type SerializeTupleStruct = Impossible<(), ProbeError>;
    type SerializeTupleVariant = Impossible<(), ProbeError>;
    type SerializeMap = Impossible<(), ProbeError>;
    type SerializeStruct = Impossible<(), ProbeError>;
    type SerializeStructVariant = Impossible<(), ProbeError>;

    fn serialize_unit(self) -> Result<(), ProbeError> {
        match self.level {
            Level::Top => Ok(()),
            Level::Element => Err(ProbeError::OtherType),
        }
    }

    fn serialize_tuple(self, _len: usize) -> Result<Elements<'a>, ProbeError> {
        match self.level {
            Level::Top => Ok(Elements(self.draft)),
            Level::Element => Err(ProbeError::OtherType),
        }
    }

    fn serialize_str(self, text: &str) -> Result<(), ProbeError> {
        if self.level == Level::Top || !is_plain(text) {
            return Err(ProbeError::OtherType);
        }
        let out = &mut self.draft.text;
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        Ok(())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _value: &T) -> Result<(), ProbeError> {
        Err(ProbeError::OtherType)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _value: &T) -> Result<(), ProbeError> {
        Err(ProbeError::OtherType)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _value: &T,
    ) -> Result<(), ProbeError> {
        Err(ProbeError::OtherType)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), ProbeError> {
        Err(ProbeError::OtherType)
    }

    other_types! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_i128(i128) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_u128(u128) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}

struct Elements<'a>(&'a mut Draft);

impl SerializeTuple for Elements<'_> {
    type Ok = ();
    type Error = ProbeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ProbeError> {
        self.0
            .push(value)
            .map_err(|error| ProbeError::Other(error.to_string()))
    }

    fn end(self) -> Result<(), ProbeError> {
        Ok(())
    }
}

/// `text` holds `count` elements without references to attachments.
pub(super) fn deserialize<T: DeserializeOwned>(text: &str, count: usize) -> Result<T, ArgsError> {
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

pub(super) fn argument<T: DeserializeOwned>(
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

pub(super) fn values(text: &str, attachments: &[Bytes]) -> Result<Vec<Value>, ArgsError> {
    let mut values: Vec<Value> =
        serde_json::from_str(&bracketed(text)).map_err(deserialize_error)?;
    if !attachments.is_empty() {
        for value in &mut values {
            resolve(value, attachments);
        }
    }
    Ok(values)
}

pub(super) fn deserialize_values<T: DeserializeOwned>(values: Vec<Value>) -> Result<T, ArgsError> {
    let mut values = values;
    match T::deserialize(SourceProbe(Values(&mut values))) {
        Err(ProbeError::OtherType) => {
            deserialize_value(values.into_iter().next().unwrap_or_default())
        }
        result => result.map_err(deserialize_error),
    }
}

pub(super) fn deserialize_value<T: DeserializeOwned>(value: Value) -> Result<T, ArgsError> {
    T::deserialize(value).map_err(deserialize_error)
}

fn bracketed(text: &str) -> String {
    let mut array = String::with_capacity(text.len() + 2);
    array.push('[');
    array.push_str(text);
    array.push(']');
    array
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
