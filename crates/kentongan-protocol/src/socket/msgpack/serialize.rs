//! Values of the application into arguments.
//!
//! It must not know packets.

use std::convert::Infallible;
use std::fmt;

use bytes::Bytes;
use serde::ser::{self, Impossible, Serialize, Serializer};

use super::read::{Head, Reader};
use crate::socket::args::ArgsError;
use crate::socket::value::Value;

/// Structs become maps, and types with a text form (addresses, dates, uuids) take it, as in the JSON parser.
fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), ArgsError> {
    let mut serializer = rmp_serde::Serializer::new(out)
        .with_struct_map()
        .with_human_readable();
    value
        .serialize(&mut serializer)
        .map_err(|error| ArgsError::Serialize(error.to_string()))
}

/// Appends a dynamic value, which msgpack can always say.
pub(super) fn write_value(out: &mut Vec<u8>, value: &Value) {
    append(out, value)
        .expect("a Value has no type that msgpack lacks, and a Vec takes every write");
}

/// Arguments and their number: a tuple, array `[T; N]` or `()` is several, anything else is one.
pub(crate) fn args_from_serialize<T: Serialize + ?Sized>(
    value: &T,
) -> Result<(Bytes, u32), ArgsError> {
    let shape = match value.serialize(Probe) {
        Ok(never) => match never {},
        Err(shape) => shape,
    };
    let mut out = Vec::new();
    match shape {
        Shape::None => return Ok((Bytes::new(), 0)),
        Shape::Failed(text) => return Err(ArgsError::Serialize(text)),
        Shape::One | Shape::Several => append(&mut out, value)?,
    }
    if matches!(shape, Shape::One) {
        return Ok((out.into(), 1));
    }
    let mut reader = Reader::new(&out);
    let Ok(Head::Array(count)) = reader.head() else {
        return Err(ArgsError::Serialize("a tuple that is no array".to_owned()));
    };
    let from = reader.at();
    Ok((Bytes::from(out).slice(from..), count))
}

/// Arguments from dynamic values, one each.
pub(crate) fn from_values(values: &[Value]) -> Result<(Bytes, u32), ArgsError> {
    let count = u32::try_from(values.len())
        .map_err(|_| ArgsError::Serialize("more arguments than msgpack can count".to_owned()))?;
    let mut out = Vec::new();
    for value in values {
        append(&mut out, value)?;
    }
    Ok((out.into(), count))
}

/// Finds out what a value is at its top: every kind ends the attempt at once, with its shape as the "error".
struct Probe;

#[derive(Debug)]
enum Shape {
    None,
    One,
    Several,
    /// The value's own `serialize` gave up before it said anything.
    Failed(String),
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("no argument"),
            Self::One => formatter.write_str("one argument"),
            Self::Several => formatter.write_str("several arguments"),
            Self::Failed(text) => formatter.write_str(text),
        }
    }
}

impl std::error::Error for Shape {}

impl ser::Error for Shape {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Failed(message.to_string())
    }
}

type Never = Impossible<Infallible, Shape>;
type Probed = Result<Infallible, Shape>;
type ProbedInside = Result<Never, Shape>;

macro_rules! one_argument {
    ($($method:ident($scalar:ty)),*) => {$(
        fn $method(self, _: $scalar) -> Probed {
            Err(Shape::One)
        }
    )*};
}

impl Serializer for Probe {
    type Ok = Infallible;
    type Error = Shape;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    one_argument! {
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8])
    }

    fn serialize_none(self) -> Probed {
        Err(Shape::One)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Probed {
        Err(Shape::One)
    }

    fn serialize_unit(self) -> Probed {
        Err(Shape::None)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Probed {
        Err(Shape::One)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Probed {
        Err(Shape::One)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Probed {
        Err(Shape::One)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Probed {
        Err(Shape::One)
    }

    fn serialize_seq(self, _: Option<usize>) -> ProbedInside {
        Err(Shape::One)
    }

    fn serialize_tuple(self, _: usize) -> ProbedInside {
        Err(Shape::Several)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> ProbedInside {
        Err(Shape::One)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> ProbedInside {
        Err(Shape::One)
    }

    fn serialize_map(self, _: Option<usize>) -> ProbedInside {
        Err(Shape::One)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> ProbedInside {
        Err(Shape::One)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> ProbedInside {
        Err(Shape::One)
    }
}
