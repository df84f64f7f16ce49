//! Contracts: what the data of a message may be, version by version, and how one version becomes another.
//! Raw text in, the same text out with the proof that it was checked. Knows nothing of rooms, users or delivery.

pub(crate) mod cast;
pub(crate) mod json;
pub(crate) mod locate;
pub(crate) mod schema;

use serde_json::Value;
use thiserror::Error;

use cast::Cast;
use json::Bounds;
use schema::Schema;

/// The contract of one message: its current version and the older ones that are still understood.
#[derive(Debug)]
pub struct Contract {
    /// From the oldest to the current one, without holes.
    versions: Vec<Version>,
    bytes_max: usize,
}

/// Data that its contract accepts. Only [`Contract::check`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidData<'d> {
    raw: &'d str,
    value: Value,
    version: u32,
}

/// Why data is refused. The text names no value of the data, so it can go to logs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{detail} (at `{path}`)")]
pub struct ContractError {
    fault: Fault,
    path: String,
    detail: String,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    TooLarge,
    NotJson,
    DuplicateKey,
    TooDeep,
    TooManyValues,
    Schema,
    Outdated,
    Newer,
    NoCast,
    CastFailed,
}

/// One version. `up` leads to the next one, `down` comes back from it.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) shape: Shape,
    pub(crate) up: Option<Cast>,
    pub(crate) down: Option<Cast>,
}

/// What the data may be.
#[derive(Debug)]
pub(crate) enum Shape {
    /// No schema was given: no data but `null`.
    Empty,
    Schema(Schema),
}

impl Contract {
    /// Versions from the oldest to the current one, without holes.
    pub(crate) fn new(versions: Vec<Version>, bytes_max: usize) -> Self {
        debug_assert!(!versions.is_empty());
        Self {
            versions,
            bytes_max,
        }
    }

    /// The current version.
    #[must_use]
    pub fn current(&self) -> u32 {
        self.versions.last().map_or(0, |version| version.number)
    }

    /// The oldest version that is still understood.
    #[must_use]
    pub fn oldest(&self) -> u32 {
        self.versions.first().map_or(0, |version| version.number)
    }

    /// Bytes of the largest data that is taken.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Checks raw JSON against a version: size, then form, then schema.
    ///
    /// # Errors
    /// Says what is wrong, and where.
    pub fn check<'d>(&self, version: u32, raw: &'d str) -> Result<ValidData<'d>, ContractError> {
        let shape = &self.version(version)?.shape;
        if raw.len() > self.bytes_max {
            let detail = format!("{} bytes, and {} are possible", raw.len(), self.bytes_max);
            return Err(ContractError::new(Fault::TooLarge, String::new(), detail));
        }
        let value = json::parse(raw, Bounds::DATA)?;
        shape.check(&value)?;
        Ok(ValidData {
            raw,
            value,
            version,
        })
    }

    /// The data as another version, as JSON text. Data of the current version comes back byte for byte when that is asked.
    ///
    /// # Errors
    /// When there is no way to that version, or when the result is not accepted there. The examples of the schemas were
    /// proven when the rules were compiled; other data can still fail.
    pub fn cast(&self, data: &ValidData<'_>, to: u32) -> Result<String, ContractError> {
        self.version(to)?;
        if data.version == to {
            return Ok(data.raw.to_owned());
        }
        let value = self.cast_value(data.value.clone(), data.version, to)?;
        let text = value.to_string();
        if text.len() > self.bytes_max {
            let detail = format!("{} bytes after the cast", text.len());
            return Err(ContractError::new(Fault::TooLarge, String::new(), detail));
        }
        Ok(text)
    }

    /// Casts step by step. What comes out at the end is checked; what lies between is never seen by anyone.
    pub(crate) fn cast_value(
        &self,
        mut value: Value,
        from: u32,
        to: u32,
    ) -> Result<Value, ContractError> {
        let index = |number| {
            let found = self.versions.iter().position(|v| v.number == number);
            found.ok_or_else(|| self.unknown(number))
        };
        let (from, to) = (index(from)?, index(to)?);
        let (low, high) = (from.min(to), from.max(to));
        let steps = self.versions.get(low..high).unwrap_or_default();
        let no_way = || {
            let detail = "there is no cast between these versions".to_owned();
            ContractError::new(Fault::NoCast, String::new(), detail)
        };
        if from < to {
            for step in steps {
                step.up.as_ref().ok_or_else(no_way)?.apply(&mut value)?;
            }
        } else {
            for step in steps.iter().rev() {
                step.down.as_ref().ok_or_else(no_way)?.apply(&mut value)?;
            }
        }
        if let Some(target) = self.versions.get(to) {
            target.shape.check(&value)?;
        }
        Ok(value)
    }

    /// True when data of `from` has a way to `to`.
    #[must_use]
    pub fn has_way(&self, from: u32, to: u32) -> bool {
        if self.version(from).is_err() || self.version(to).is_err() {
            return false;
        }
        self.versions.iter().all(|step| {
            let is_between = step.number >= from.min(to) && step.number < from.max(to);
            let cast = if from < to { &step.up } else { &step.down };
            !is_between || cast.is_some()
        })
    }

    pub(crate) fn versions(&self) -> &[Version] {
        &self.versions
    }

    fn version(&self, number: u32) -> Result<&Version, ContractError> {
        let found = self.versions.iter().find(|v| v.number == number);
        found.ok_or_else(|| self.unknown(number))
    }

    fn unknown(&self, number: u32) -> ContractError {
        let (oldest, current) = (self.oldest(), self.current());
        let fault = if number > current {
            Fault::Newer
        } else {
            Fault::Outdated
        };
        let detail = format!("version {number} is not one of {oldest} to {current}");
        ContractError::new(fault, String::new(), detail)
    }
}

impl<'d> ValidData<'d> {
    /// The text that was checked, byte for byte.
    #[must_use]
    pub fn raw(&self) -> &'d str {
        self.raw
    }

    /// What the text says.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The version that it was checked against.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }
}

impl ContractError {
    pub(crate) fn new(fault: Fault, path: String, detail: String) -> Self {
        Self {
            fault,
            path,
            detail,
        }
    }

    /// Stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.fault {
            Fault::TooLarge => "too_large",
            Fault::NotJson => "not_json",
            Fault::DuplicateKey => "duplicate_key",
            Fault::TooDeep => "too_deep",
            Fault::TooManyValues => "too_many_values",
            Fault::Schema => "schema",
            Fault::Outdated => "outdated",
            Fault::Newer => "newer",
            Fault::NoCast => "no_cast",
            Fault::CastFailed => "cast_failed",
        }
    }

    /// A JSON pointer (RFC 6901) to the place in the data. Empty: the data as a whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl Shape {
    pub(crate) fn check(&self, value: &Value) -> Result<(), ContractError> {
        match self {
            Self::Schema(schema) => schema.check(value),
            Self::Empty if value.is_null() => Ok(()),
            Self::Empty => Err(ContractError::new(
                Fault::Schema,
                String::new(),
                "this message has no data".to_owned(),
            )),
        }
    }
}
