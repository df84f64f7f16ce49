//! Raw JSON to a value, in one pass: duplicate keys, depth and size are refused while the text is read, so that nobody
//! behind can see another value than the one that was checked.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{ContractError, Fault};
use crate::limits::{DATA_DEPTH_MAX, DATA_VALUES_MAX};

/// How much a text may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) depth_max: usize,
    pub(crate) values_max: usize,
}

impl Bounds {
    /// For the data of messages.
    pub(crate) const DATA: Self = Self {
        depth_max: DATA_DEPTH_MAX,
        values_max: DATA_VALUES_MAX,
    };
    /// For schemas and casts, which stand in files of limited size.
    pub(crate) const FILE: Self = Self {
        depth_max: DATA_DEPTH_MAX,
        values_max: usize::MAX,
    };
}

/// Reads a whole text as one value.
pub(crate) fn parse(text: &str, bounds: Bounds) -> Result<Value, ContractError> {
    parse_at(text, bounds).map_err(|(error, _)| error)
}

/// Like [`parse`]; an error comes with the byte offset where reading stopped.
pub(crate) fn parse_at(text: &str, bounds: Bounds) -> Result<Value, (ContractError, usize)> {
    let mut state = State {
        bounds,
        values: 0,
        path: Vec::new(),
        fault: None,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Seed(&mut state)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| {
        let path = pointer(&state.path);
        let fault = state.fault.unwrap_or(Fault::NotJson);
        let detail = match fault {
            Fault::NotJson => error.to_string(),
            Fault::DuplicateKey => "a key that is there twice".to_owned(),
            Fault::TooDeep => format!("nested deeper than {}", bounds.depth_max),
            _ => format!("more than {} values", bounds.values_max),
        };
        let offset = offset(text, error.line(), error.column());
        (ContractError::new(fault, path, detail), offset)
    })
}

/// The byte offset of a line and column (both from 1, columns in bytes), as `serde_json` gives them.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before = text.split_inclusive('\n').take(line.saturating_sub(1));
    before.map(str::len).sum::<usize>() + column.saturating_sub(1)
}

/// A JSON pointer, as in RFC 6901.
fn pointer(path: &[Step]) -> String {
    let mut pointer = String::new();
    for step in path {
        pointer.push('/');
        match step {
            Step::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => pointer.push_str(&index.to_string()),
        }
    }
    pointer
}

struct State {
    bounds: Bounds,
    values: usize,
    /// Where the reader is. After an error: where it was.
    path: Vec<Step>,
    fault: Option<Fault>,
}

enum Step {
    Key(String),
    Index(usize),
}

impl State {
    fn fail<E: serde::de::Error>(&mut self, fault: Fault) -> E {
        self.fault = Some(fault);
        E::custom("refused")
    }

    fn count<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.values += 1;
        if self.values > self.bounds.values_max {
            return Err(self.fail(Fault::TooManyValues));
        }
        Ok(())
    }

    /// At the beginning of an array or object.
    fn open<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.path.len() >= self.bounds.depth_max {
            return Err(self.fail(Fault::TooDeep));
        }
        Ok(())
    }
}

struct Seed<'s>(&'s mut State);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.0.open()?;
        let mut array = Vec::new();
        loop {
            self.0.path.push(Step::Index(array.len()));
            let Some(value) = entries.next_element_seed(Seed(self.0))? else {
                break;
            };
            self.0.path.pop();
            array.push(value);
        }
        self.0.path.pop();
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.0.open()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.0.count()?;
            self.0.path.push(Step::Key(key.clone()));
            if map.contains_key(&key) {
                return Err(self.0.fail(Fault::DuplicateKey));
            }
            let value = entries.next_value_seed(Seed(self.0))?;
            self.0.path.pop();
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        depth_max: 3,
        values_max: 10,
    };

    #[test]
    fn what_is_refused_while_reading() {
        for (text, code, path) in [
            (r#"{"a":1,"a":1}"#, "duplicate_key", "/a"),
            (r#"{"a":[0,{"b":1,"\u0062":2}]}"#, "duplicate_key", "/a/1/b"),
            (r#"{"a/b~":{"x":1,"x":2}}"#, "duplicate_key", "/a~1b~0/x"),
            ("[[[[]]]]", "too_deep", "/0/0/0"),
            ("[1,2,3,4,5,6,7,8,9,0]", "too_many_values", "/9"),
            (
                r#"{"a":0,"b":0,"c":0,"d":0,"e":0}"#,
                "too_many_values",
                "/e",
            ),
            ("", "not_json", ""),
            ("[1,]", "not_json", "/1"),
            ("1 2", "not_json", ""),
            ("\u{feff}1", "not_json", ""),
            ("1e400", "not_json", ""),
            ("NaN", "not_json", ""),
            (r#""\ud800""#, "not_json", ""),
            ("\"\u{0}\"", "not_json", ""),
            ("{'a':1}", "not_json", ""),
        ] {
            let error = parse(text, BOUNDS).unwrap_err();
            assert_eq!((error.code(), error.path()), (code, path), "{text}");
        }
    }

    #[test]
    fn the_value_is_what_serde_json_sees() {
        for text in [
            "null",
            "[[[1]]]",
            r#"{"a":[true,-1,1.5,"\u00e9"],"b":{}}"#,
            "18446744073709551615",
            "-0",
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(parse(text, BOUNDS).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn a_depth_bomb_ends_at_the_limit() {
        let bomb = "[".repeat(1_000_000);
        assert_eq!(parse(&bomb, Bounds::DATA).unwrap_err().code(), "too_deep");
    }
}
