//! One pass over the JSON of a packet: strict grammar, nesting, keys and placeholders, without building a tree.
//!
//! Owns the check that lets the rest of the crate keep arguments as text. It must not know packet types or names.
//! Lone surrogate escapes pass in values (JavaScript can send them), not in keys.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Number;

use super::decode::DecodeError;
use crate::limits::{DEPTH_CEILING, Limits};

/// The key that marks a reference to an attachment.
pub(crate) const PLACEHOLDER: &str = "_placeholder";

/// Up to this many keys are compared pairwise as they come; the keys of larger objects are sorted at their end.
const PAIRWISE_KEYS_MAX: usize = 8;

/// Where the parts of a checked array are, in bytes of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArrayParts {
    /// Number of elements.
    pub(crate) count: usize,
    /// Start and end of the first element; both 0 if there is none.
    pub(crate) first: (usize, usize),
    /// Start of the second element, or the closing bracket.
    pub(crate) rest: usize,
    /// The closing bracket.
    pub(crate) end: usize,
}

/// Checks a text that is one array. `attachments` is their number in binary packets; otherwise placeholders are data.
pub(crate) fn scan_array(
    text: &str,
    limits: &Limits,
    attachments: Option<usize>,
) -> Result<ArrayParts, DecodeError> {
    let mut scanner = Scanner::new(text, limits, attachments);
    if scanner.peek() != Some(b'[') {
        return Err(DecodeError::Payload);
    }
    let parts = scanner.array()?;
    scanner.finish()?;
    Ok(parts)
}

/// Checks a text that is one value.
pub(crate) fn scan_value(text: &str, limits: &Limits) -> Result<(), DecodeError> {
    let mut scanner = Scanner::new(text, limits, None);
    scanner.value()?;
    scanner.finish()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Placeholder {
    #[serde(rename = "_placeholder")]
    is_placeholder: bool,
    num: Number,
}

/// Recursion is bounded by `depth_max`, which is at most [`DEPTH_CEILING`].
struct Scanner<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    depth_max: usize,
    keys_max: usize,
    /// Keys of all objects that are open, innermost last.
    keys: Vec<Cow<'t, str>>,
    /// Which attachments have been referred to.
    used: Option<Vec<bool>>,
}

impl<'t> Scanner<'t> {
    fn new(text: &'t str, limits: &Limits, attachments: Option<usize>) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            depth_max: limits.depth_max.min(DEPTH_CEILING),
            keys_max: limits.object_keys_max,
            keys: Vec::new(),
            used: attachments.map(|count| vec![false; count]),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn invalid<T>(&self) -> Result<T, DecodeError> {
        Err(DecodeError::Json { at: self.at })
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn finish(&mut self) -> Result<(), DecodeError> {
        self.skip_whitespace();
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(DecodeError::TrailingData)
        }
    }

    fn value(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'[') => self.array().map(drop),
            Some(b'{') => self.object(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => self.invalid(),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), DecodeError> {
        if !self.rest().starts_with(word) {
            return self.invalid();
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) -> Result<(), DecodeError> {
        let digits = self
            .rest()
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        if digits == 0 {
            return self.invalid();
        }
        self.at += digits;
        Ok(())
    }

    fn number(&mut self) -> Result<(), DecodeError> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(())
    }

    /// Whether the string has escapes.
    fn string(&mut self) -> Result<bool, DecodeError> {
        let mut escaped = false;
        self.at += 1;
        loop {
            let plain = self
                .rest()
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            self.at += plain.unwrap_or(self.rest().len());
            if self.eat(b'"') {
                return Ok(escaped);
            }
            if !self.eat(b'\\') {
                return self.invalid();
            }
            escaped = true;
            self.escape()?;
        }
    }

    fn escape(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let hex = self.rest().get(1..5).unwrap_or_default();
                if hex.len() != 4 || !hex.iter().all(u8::is_ascii_hexdigit) {
                    return self.invalid();
                }
                self.at += 5;
            }
            _ => return self.invalid(),
        }
        Ok(())
    }

    fn descend(&mut self) -> Result<(), DecodeError> {
        if self.depth >= self.depth_max {
            return Err(DecodeError::TooDeep {
                max: self.depth_max,
            });
        }
        self.depth += 1;
        self.at += 1;
        self.skip_whitespace();
        Ok(())
    }

    fn array(&mut self) -> Result<ArrayParts, DecodeError> {
        self.descend()?;
        let mut parts = ArrayParts {
            count: 0,
            first: (0, 0),
            rest: self.at,
            end: self.at,
        };
        while parts.count > 0 || self.peek() != Some(b']') {
            let start = self.at;
            self.value()?;
            let end = self.at;
            self.skip_whitespace();
            let more = self.eat(b',');
            if more {
                self.skip_whitespace();
            }
            if parts.count == 0 {
                parts.first = (start, end);
                parts.rest = self.at;
            }
            parts.count += 1;
            if !more {
                break;
            }
        }
        parts.end = self.at;
        self.depth -= 1;
        if self.eat(b']') {
            Ok(parts)
        } else {
            self.invalid()
        }
    }

    fn object(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        let base = self.keys.len();
        self.descend()?;
        if self.peek() != Some(b'}') {
            loop {
                self.key(base)?;
                self.skip_whitespace();
                if !self.eat(b':') {
                    return self.invalid();
                }
                self.skip_whitespace();
                self.value()?;
                self.skip_whitespace();
                if !self.eat(b',') {
                    break;
                }
                self.skip_whitespace();
            }
        }
        self.depth -= 1;
        if !self.eat(b'}') {
            return self.invalid();
        }
        self.close_object(start, base)
    }

    fn key(&mut self, base: usize) -> Result<(), DecodeError> {
        if self.peek() != Some(b'"') {
            return self.invalid();
        }
        let start = self.at;
        let escaped = self.string()?;
        let quoted = self.text.get(start..self.at).unwrap_or_default();
        let key = unquote(quoted, escaped).ok_or(DecodeError::Key)?;
        let siblings = self.keys.get(base..).unwrap_or_default();
        if siblings.len() >= self.keys_max {
            return Err(DecodeError::TooManyKeys { max: self.keys_max });
        }
        if siblings.len() < PAIRWISE_KEYS_MAX && siblings.contains(&key) {
            return Err(DecodeError::DuplicateKey);
        }
        self.keys.push(key);
        Ok(())
    }

    fn close_object(&mut self, start: usize, base: usize) -> Result<(), DecodeError> {
        let keys = self.keys.get_mut(base..).unwrap_or_default();
        if keys.len() > PAIRWISE_KEYS_MAX {
            keys.sort_unstable();
            if keys.array_windows().any(|[a, b]| a == b) {
                return Err(DecodeError::DuplicateKey);
            }
        }
        let marked = self.used.is_some() && keys.iter().any(|key| key == PLACEHOLDER);
        self.keys.truncate(base);
        if marked {
            self.placeholder(start)
        } else {
            Ok(())
        }
    }

    /// The object that ends here claims to be a placeholder.
    fn placeholder(&mut self, start: usize) -> Result<(), DecodeError> {
        let text = self.text.get(start..self.at).unwrap_or_default();
        let placeholder: Placeholder =
            serde_json::from_str(text).map_err(|_| DecodeError::PlaceholderShape)?;
        if !placeholder.is_placeholder {
            return Err(DecodeError::PlaceholderShape);
        }
        let used = placeholder
            .num
            .as_u64()
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| self.used.as_mut()?.get_mut(index))
            .ok_or(DecodeError::PlaceholderIndex)?;
        if std::mem::replace(used, true) {
            return Err(DecodeError::PlaceholderReused);
        }
        Ok(())
    }
}

/// The text of a checked, quoted string; `None` if its escapes are no Unicode text.
pub(crate) fn unquote(quoted: &str, escaped: bool) -> Option<Cow<'_, str>> {
    if escaped {
        serde_json::from_str(quoted).ok().map(Cow::Owned)
    } else {
        quoted
            .get(1..quoted.len().checked_sub(1)?)
            .map(Cow::Borrowed)
    }
}

/// The text as it stands between the quotes of a JSON string.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text
        .bytes()
        .any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
    {
        return Cow::Borrowed(text);
    }
    let quoted = serde_json::to_string(text).expect("a str is always JSON");
    Cow::Owned(
        quoted
            .get(1..quoted.len() - 1)
            .unwrap_or_default()
            .to_owned(),
    )
}
