//! Walks a parsed TOML table: takes the settings that exist, and reports those that do not, with the name that was meant.
//! Knows types and places, not meanings.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::units::{self, DURATION_FORM, SIZE_FORM};
use crate::diagnostic::{Code, did_you_mean, list, nearest};
use crate::limits::NAME_BYTES_MAX;
use crate::source::{At, Report, Source};

/// A table that is being read. Every setting is taken once; [`Table::finish`] reports what nobody took.
#[derive(Debug)]
pub(crate) struct Table<'t> {
    pub(crate) source: &'t Source,
    /// Where the table's name stands.
    pub(crate) span: Range<usize>,
    inner: &'t DeTable<'t>,
    path: String,
    known: Vec<&'static str>,
}

/// One value with its name.
#[derive(Debug, Clone)]
pub(crate) struct Value<'t> {
    source: &'t Source,
    inner: &'t DeValue<'t>,
    key: Range<usize>,
    pub(crate) span: Range<usize>,
    path: String,
}

impl<'t> Table<'t> {
    pub(crate) fn new(
        source: &'t Source,
        inner: &'t DeTable<'t>,
        span: Range<usize>,
        path: String,
    ) -> Self {
        Self {
            source,
            span,
            inner,
            path,
            known: Vec::new(),
        }
    }

    /// Takes a setting, if it is there.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value<'t>> {
        self.known.push(key);
        let (name, value) = self
            .inner
            .iter()
            .find(|(name, _)| name.get_ref().as_ref() == key)?;
        Some(Value {
            source: self.source,
            inner: value.get_ref(),
            key: name.span(),
            span: value.span(),
            path: self.child(key),
        })
    }

    /// Takes a setting that has to be there.
    pub(crate) fn require(
        &mut self,
        key: &'static str,
        example: &str,
        report: &mut Report,
    ) -> Option<Value<'t>> {
        let value = self.take(key);
        if value.is_none() {
            let message = format!("`{}` is missing", self.child(key));
            let way_out = format!("add `{key} = {example}`");
            report.push(
                self.source
                    .diagnostic(Code::MissingSetting, &self.span, message, way_out),
            );
        }
        value
    }

    pub(crate) fn table(&mut self, key: &'static str, report: &mut Report) -> Option<Table<'t>> {
        self.take(key)?.table(report)
    }

    pub(crate) fn string(&mut self, key: &'static str, report: &mut Report) -> Option<At<&'t str>> {
        self.take(key)?.string(report)
    }

    pub(crate) fn strings(
        &mut self,
        key: &'static str,
        report: &mut Report,
    ) -> Option<Vec<At<&'t str>>> {
        self.take(key)?.strings(report)
    }

    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        report: &mut Report,
    ) -> Option<At<Duration>> {
        self.take(key)?.duration(range, report)
    }

    pub(crate) fn size(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        report: &mut Report,
    ) -> Option<At<u64>> {
        self.take(key)?.size(range, report)
    }

    pub(crate) fn integer(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
        report: &mut Report,
    ) -> Option<At<u32>> {
        self.take(key)?.integer(range, report)
    }

    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        report: &mut Report,
    ) -> Option<At<T>> {
        self.take(key)?.choice(choices, report)
    }

    /// All entries of a table whose names the user chose; each must be a table with a proper name.
    pub(crate) fn entries(
        self,
        count_max: usize,
        what: &str,
        report: &mut Report,
    ) -> Vec<(At<String>, Table<'t>)> {
        if self.inner.len() > count_max {
            let message = format!("{} {what}, and {count_max} are possible", self.inner.len());
            let way_out = "split the rules over several servers";
            report.push(
                self.source
                    .diagnostic(Code::TooMany, &self.span, message, way_out),
            );
            return Vec::new();
        }
        let mut entries = Vec::new();
        for (name, value) in self.inner {
            let text = name.get_ref().as_ref();
            let value = Value {
                source: self.source,
                inner: value.get_ref(),
                key: name.span(),
                span: value.span(),
                path: self.child(text),
            };
            if let Err(way_out) = check_name(text) {
                let message = format!("`{}` cannot be a name", shortened(text));
                report.push(
                    self.source
                        .diagnostic(Code::Name, &name.span(), message, way_out),
                );
            } else if let Some(table) = value.table(report) {
                entries.push((At::new(text.to_owned(), name.span()), table));
            }
        }
        entries
    }

    /// The entries of a table whose keys are numbers, such as versions, in their order.
    pub(crate) fn numbered(self, report: &mut Report) -> Vec<(At<u32>, Table<'t>)> {
        let mut entries = Vec::new();
        for (name, value) in self.inner {
            let text = name.get_ref().as_ref();
            let value = Value {
                source: self.source,
                inner: value.get_ref(),
                key: name.span(),
                span: value.span(),
                path: self.child(text),
            };
            // Only the usual form, so that no version can be there twice.
            let number = text.parse::<u32>().ok();
            match number.filter(|number| *number > 0 && number.to_string() == text) {
                None => report.push(self.source.diagnostic(
                    Code::Versions,
                    &name.span(),
                    format!("`{}` is not a version", shortened(text)),
                    "versions are whole numbers from 1",
                )),
                Some(number) => {
                    if let Some(table) = value.table(report) {
                        entries.push((At::new(number, name.span()), table));
                    }
                }
            }
        }
        entries.sort_by_key(|(number, _)| number.value);
        entries
    }

    /// Reports every setting that was not taken.
    pub(crate) fn finish(self, report: &mut Report) {
        for (name, _) in self.inner {
            let text = name.get_ref().as_ref();
            if !self.known.contains(&text) {
                let place = if self.path.is_empty() {
                    "at the top of the file".to_owned()
                } else {
                    format!("in `{}`", self.path)
                };
                let message = format!("there is no setting `{}` {place}", shortened(text));
                report.push(self.source.diagnostic(
                    Code::UnknownSetting,
                    &name.span(),
                    message,
                    did_you_mean(text, &self.known),
                ));
            }
        }
    }

    fn child(&self, key: &str) -> String {
        let key = shortened(key);
        if self.path.is_empty() {
            key
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

impl<'t> Value<'t> {
    pub(crate) fn string(&self, report: &mut Report) -> Option<At<&'t str>> {
        let text = self.inner.as_str();
        if text.is_none() {
            self.wrong_type("text in quotes", report);
        }
        Some(At::new(text?, self.span.clone()))
    }

    pub(crate) fn strings(&self, report: &mut Report) -> Option<Vec<At<&'t str>>> {
        let Some(array) = self.inner.as_array() else {
            self.wrong_type("a list of texts", report);
            return None;
        };
        let mut texts = Vec::new();
        for entry in array {
            match entry.get_ref().as_str() {
                Some(text) => texts.push(At::new(text, entry.span())),
                None => {
                    self.wrong_type_at("text in quotes", entry.get_ref(), &entry.span(), report)
                }
            }
        }
        Some(texts)
    }

    pub(crate) fn duration(
        &self,
        range: RangeInclusive<Duration>,
        report: &mut Report,
    ) -> Option<At<Duration>> {
        let text = self.string(report)?;
        let Some(value) = units::duration(text.value) else {
            let message = format!("`{}` is not a duration", self.path);
            report.push(
                self.source
                    .diagnostic(Code::Duration, &self.span, message, DURATION_FORM),
            );
            return None;
        };
        let texts = (
            units::duration_text(*range.start()),
            units::duration_text(*range.end()),
        );
        self.within(range.contains(&value), &texts, report)?;
        Some(At::new(value, self.span.clone()))
    }

    pub(crate) fn size(&self, range: RangeInclusive<u64>, report: &mut Report) -> Option<At<u64>> {
        let text = self.string(report)?;
        let Some(value) = units::size(text.value) else {
            let message = format!("`{}` is not a size", self.path);
            report.push(
                self.source
                    .diagnostic(Code::Size, &self.span, message, SIZE_FORM),
            );
            return None;
        };
        let texts = (
            units::size_text(*range.start()),
            units::size_text(*range.end()),
        );
        self.within(range.contains(&value), &texts, report)?;
        Some(At::new(value, self.span.clone()))
    }

    pub(crate) fn integer(
        &self,
        range: RangeInclusive<u32>,
        report: &mut Report,
    ) -> Option<At<u32>> {
        let Some(integer) = self.inner.as_integer() else {
            self.wrong_type("a whole number", report);
            return None;
        };
        let value = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let value = value.filter(|value| range.contains(value));
        let texts = (range.start().to_string(), range.end().to_string());
        self.within(value.is_some(), &texts, report)?;
        Some(At::new(value?, self.span.clone()))
    }

    pub(crate) fn choice<T: Copy>(
        &self,
        choices: &[(&str, T)],
        report: &mut Report,
    ) -> Option<At<T>> {
        let text = self.string(report)?;
        let choice = choices.iter().find(|(name, _)| *name == text.value);
        if choice.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let message = format!(
                "`{}` cannot be \"{}\": there is {}",
                self.path,
                shortened(text.value),
                list(&names)
            );
            report.push(self.source.diagnostic(
                Code::UnknownValue,
                &self.span,
                message,
                nearest(text.value, &names).unwrap_or_else(|| "take one of them".to_owned()),
            ));
        }
        choice.map(|(_, value)| At::new(*value, self.span.clone()))
    }

    pub(crate) fn table(&self, report: &mut Report) -> Option<Table<'t>> {
        let Some(table) = self.inner.as_table() else {
            self.wrong_type("a table", report);
            return None;
        };
        Some(Table::new(
            self.source,
            table,
            self.key.clone(),
            self.path.clone(),
        ))
    }

    fn within(&self, is_within: bool, range: &(String, String), report: &mut Report) -> Option<()> {
        if !is_within {
            let message = format!("`{}` is outside its range", self.path);
            let way_out = format!("from {} to {}", range.0, range.1);
            report.push(
                self.source
                    .diagnostic(Code::Range, &self.span, message, way_out),
            );
        }
        is_within.then_some(())
    }

    fn wrong_type(&self, expected: &str, report: &mut Report) {
        self.wrong_type_at(expected, self.inner, &self.span, report);
    }

    fn wrong_type_at(
        &self,
        expected: &str,
        found: &DeValue<'_>,
        span: &Range<usize>,
        report: &mut Report,
    ) {
        let message = format!("`{}` is of type {}", self.path, found.type_str());
        let way_out = format!("it has to be {expected}");
        report.push(
            self.source
                .diagnostic(Code::WrongType, span, message, way_out),
        );
    }
}

/// Words of the policy language, which cannot be names in it.
const RESERVED: [&str; 9] = [
    "true", "false", "if", "then", "else", "in", "is", "like", "has",
];

/// Names of features, messages and fields: they become event names, metric labels, and identifiers in policies.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let mut characters = name.chars();
    let is_first_fine = characters.next().is_some_and(|c| c.is_ascii_lowercase());
    let is_rest_fine = characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_first_fine || !is_rest_fine || name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "a name is a small letter, then small letters, digits and `_`, at most {NAME_BYTES_MAX}"
        ));
    }
    if RESERVED.contains(&name) || name.starts_with("__cedar") {
        return Err("this is a word of the policy language; take another name".to_owned());
    }
    Ok(())
}

/// A text for a message: one line, not long.
pub(crate) fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(CHARACTERS_MAX).map(clean).collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        short.push('…');
    }
    short
}
