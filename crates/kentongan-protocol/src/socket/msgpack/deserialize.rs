//! Arguments into types of the application.
//!
//! It must not know packets. What it reads is normalised or was written here, so it is well-formed and not too deep.

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::read::Reader;
use crate::socket::args::ArgsError;
use crate::socket::value::Value;

type Slice<'de> = rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'de, [u8]>>;
type Human<'de> = rmp_serde::Deserializer<
    rmp_serde::decode::ReadRefReader<'de, [u8]>,
    rmp_serde::config::HumanReadableConfig<rmp_serde::config::DefaultConfig>,
>;
type Error = rmp_serde::decode::Error;

/// What an argument that was not sent is read from.
const NIL: &[u8] = &[0xc0];

/// Types with a text form are read from it, as in the JSON parser.
fn reader(bytes: &[u8]) -> Human<'_> {
    Slice::from_read_ref(bytes).with_human_readable()
}

fn misfit(error: &impl ToString) -> ArgsError {
    ArgsError::Deserialize(error.to_string())
}

/// All arguments into a tuple (what is missing is nil, what is too much is ignored), none into `()`, and the first
/// one into any other type.
pub(crate) fn args_deserialize<T: DeserializeOwned>(
    bytes: &[u8],
    count: u32,
) -> Result<T, ArgsError> {
    T::deserialize(Arguments { bytes, count }).map_err(|error| misfit(&error))
}

/// The argument at `index`, nil if there is none.
pub(crate) fn argument<T: DeserializeOwned>(
    bytes: &[u8],
    count: u32,
    index: usize,
) -> Result<T, ArgsError> {
    if index >= count as usize {
        return T::deserialize(&mut reader(NIL)).map_err(|error| misfit(&error));
    }
    let mut skipped = Reader::new(bytes);
    for _ in 0..index {
        skipped.skip().map_err(|error| misfit(&error))?;
    }
    let rest = bytes.get(skipped.at()..).unwrap_or_default();
    T::deserialize(&mut reader(rest)).map_err(|error| misfit(&error))
}

/// All arguments as dynamic values.
pub(crate) fn values(bytes: &[u8], count: u32) -> Result<Vec<Value>, ArgsError> {
    let mut reader = reader(bytes);
    (0..count)
        .map(|_| de::Deserialize::deserialize(&mut reader).map_err(|error| misfit(&error)))
        .collect()
}

struct Arguments<'de> {
    bytes: &'de [u8],
    count: u32,
}

impl<'de> Arguments<'de> {
    fn first(&self) -> Human<'de> {
        reader(if self.count == 0 { NIL } else { self.bytes })
    }
}

/// Hands a kind of value to the first argument.
macro_rules! first_argument {
    ($($method:ident($($name:ident: $kind:ty),*)),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $kind,)* visitor: V) -> Result<V::Value, Error> {
            self.first().$method($($name,)* visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Arguments<'de> {
    type Error = Error;

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Elements {
            reader: reader(self.bytes),
            sent: self.count,
            left: len,
        })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    first_argument! {
        deserialize_any(),
        deserialize_bool(),
        deserialize_i8(), deserialize_i16(), deserialize_i32(), deserialize_i64(), deserialize_i128(),
        deserialize_u8(), deserialize_u16(), deserialize_u32(), deserialize_u64(), deserialize_u128(),
        deserialize_f32(), deserialize_f64(),
        deserialize_char(), deserialize_str(), deserialize_string(),
        deserialize_bytes(), deserialize_byte_buf(),
        deserialize_option(),
        deserialize_unit_struct(name: &'static str),
        deserialize_newtype_struct(name: &'static str),
        deserialize_seq(),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_map(),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_enum(name: &'static str, variants: &'static [&'static str]),
        deserialize_identifier(),
    }
}

/// The elements of a tuple: the arguments, then nil as long as the tuple wants more.
struct Elements<'de> {
    reader: Human<'de>,
    sent: u32,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        if let Some(sent) = self.sent.checked_sub(1) {
            self.sent = sent;
            seed.deserialize(&mut self.reader).map(Some)
        } else {
            seed.deserialize(&mut reader(NIL)).map(Some)
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}
