//! Typed values into JSON arguments.
//!
//! Must not know how they are read again.

use std::fmt;
use std::io;

use bytes::Bytes;
use serde::ser::{Impossible, Serialize, SerializeTuple, Serializer};

use super::{ProbeError, bracketed};
use crate::limits::{DEPTH_CEILING, Limits, SENT_ATTACHMENTS_MAX};
use crate::socket::args::{Args, ArgsError};
use crate::socket::decode::DecodeError;
use crate::socket::json::{PLACEHOLDER, is_plain, scan_array};
use crate::socket::value::Value;

fn serialize_error(error: impl fmt::Display) -> ArgsError {
    ArgsError::Serialize(error.to_string())
}

/// Most arguments are shorter: their text is written without moving it.
const TEXT_BYTES_EXPECTED: usize = 192;

/// Arguments being written.
pub(in super::super) struct Draft {
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

    pub(in super::super) fn finish(self) -> Result<Args, ArgsError> {
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

pub(in super::super) fn from_serialize<T: Serialize + ?Sized>(
    value: &T,
) -> Result<Draft, ArgsError> {
    let mut draft = Draft::new();
    match value.serialize(Probe::top(&mut draft)) {
        Ok(()) => {}
        Err(ProbeError::OtherType) => draft.push(value).map_err(serialize_error)?,
        Err(ProbeError::Other(text)) => return Err(ArgsError::Serialize(text)),
    }
    Ok(draft)
}

pub(in super::super) fn from_values(values: &[Value]) -> Result<Draft, ArgsError> {
    let mut draft = Draft::new();
    for value in values {
        draft.push(value).map_err(serialize_error)?;
    }
    Ok(draft)
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
