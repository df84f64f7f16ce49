//! One pass over the JSON of a packet: strict grammar, nesting, keys and placeholders, without building a tree.
//!
//! Owns the check that lets the rest of the crate keep arguments as text. It must not know packet types or names.
//! Lone surrogate escapes pass in values (JavaScript can send them), not in keys.

use std::{borrow::Cow, ops::Range};

use serde::Deserialize;
use serde_json::Number;
use smallvec::SmallVec;

use self::plain::plain_len;
use super::decode::DecodeError;
use crate::limits::{DEPTH_CEILING, Limits};

mod plain;

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
    if scanner.byte(0) != b'[' {
        return Err(DecodeError::Payload);
    }
    let parts = scanner.outer_array();
    parts.map_err(|Failed| scanner.failure)
}

/// Checks a text that is one value.
pub(crate) fn scan_value(text: &str, limits: &Limits) -> Result<(), DecodeError> {
    let mut scanner = Scanner::new(text, limits, None);
    let result = scanner.value(0).and_then(|end| scanner.finish(end));
    result.map_err(|Failed| scanner.failure)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Placeholder {
    #[serde(rename = "_placeholder")]
    is_placeholder: bool,
    num: Number,
}

/// The scan has failed; why is in [`Scanner::failure`], so that the result of each step fits two registers.
#[derive(Debug, Clone, Copy)]
struct Failed;

/// Each step is given where it begins and returns where it ends, in bytes of the text.
///
/// Recursion is bounded by `depth_max`, which is at most [`DEPTH_CEILING`].
struct Scanner<'t> {
    text: &'t str,
    depth: usize,
    depth_max: usize,
    keys_max: usize,
    /// Keys of all objects that are open, innermost last.
    keys: SmallVec<[Cow<'t, [u8]>; PAIRWISE_KEYS_MAX]>,
    /// Which attachments have been referred to.
    used: Option<SmallVec<[bool; 16]>>,
    /// Means something only behind a [`Failed`].
    failure: DecodeError,
}

impl<'t> Scanner<'t> {
    fn new(text: &'t str, limits: &Limits, attachments: Option<usize>) -> Self {
        Self {
            text,
            depth: 0,
            depth_max: limits.depth_max.min(DEPTH_CEILING),
            keys_max: limits.object_keys_max,
            keys: SmallVec::new(),
            used: attachments.map(|count| SmallVec::from_elem(false, count)),
            failure: DecodeError::TrailingData,
        }
    }

    /// The byte at `at`; behind the end a zero, which begins and continues nothing.
    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    #[inline]
    fn rest(&self, at: usize) -> &'t [u8] {
        self.text.as_bytes().get(at..).unwrap_or_default()
    }

    #[cold]
    fn fail<T>(&mut self, failure: DecodeError) -> Result<T, Failed> {
        self.failure = failure;
        Err(Failed)
    }

    #[cold]
    fn invalid<T>(&mut self, at: usize) -> Result<T, Failed> {
        self.fail(DecodeError::Json { at })
    }

    #[inline]
    fn skip_whitespace(&self, mut at: usize) -> usize {
        // Hardly any JSON has whitespace between its tokens: one comparison tells.
        while let byte @ 1..=b' ' = self.byte(at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                break;
            }
            at += 1;
        }
        at
    }

    fn finish(&mut self, at: usize) -> Result<(), Failed> {
        if self.skip_whitespace(at) == self.text.len() {
            Ok(())
        } else {
            self.fail(DecodeError::TrailingData)
        }
    }

    fn value(&mut self, at: usize) -> Result<usize, Failed> {
        match self.byte(at) {
            b'"' => Ok(self.string(at)?.0),
            b'[' => self.array(at),
            b'{' => self.object(at),
            b'-' | b'0'..=b'9' => self.number(at),
            b't' => self.literal(at, b"true"),
            b'f' => self.literal(at, b"false"),
            b'n' => self.literal(at, b"null"),
            _ => self.invalid(at),
        }
    }

    fn literal(&mut self, at: usize, word: &[u8]) -> Result<usize, Failed> {
        if !self.rest(at).starts_with(word) {
            return self.invalid(at);
        }
        Ok(at + word.len())
    }

    #[inline]
    fn digits(&mut self, start: usize) -> Result<usize, Failed> {
        let mut at = start;
        while self.byte(at).is_ascii_digit() {
            at += 1;
        }
        if at == start {
            return self.invalid(at);
        }
        Ok(at)
    }

    fn number(&mut self, mut at: usize) -> Result<usize, Failed> {
        at += usize::from(self.byte(at) == b'-');
        at = if self.byte(at) == b'0' {
            at + 1
        } else {
            self.digits(at)?
        };
        if self.byte(at) == b'.' {
            at = self.digits(at + 1)?;
        }
        if let b'e' | b'E' = self.byte(at) {
            at += 1;
            at += usize::from(matches!(self.byte(at), b'+' | b'-'));
            at = self.digits(at)?;
        }
        Ok(at)
    }

    /// Where the string ends, and whether it has escapes.
    #[inline]
    fn string(&mut self, mut at: usize) -> Result<(usize, bool), Failed> {
        let mut escaped = false;
        at += 1;
        loop {
            at += plain_len(self.rest(at));
            match self.byte(at) {
                b'"' => return Ok((at + 1, escaped)),
                b'\\' => {
                    escaped = true;
                    at = self.escape(at + 1)?;
                }
                _ => return self.invalid(at),
            }
        }
    }

    fn escape(&mut self, at: usize) -> Result<usize, Failed> {
        match self.byte(at) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 1),
            b'u' => match self.rest(at + 1).first_chunk::<4>() {
                Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => Ok(at + 5),
                _ => self.invalid(at),
            },
            _ => self.invalid(at),
        }
    }

    #[inline]
    fn descend(&mut self, at: usize) -> Result<usize, Failed> {
        if self.depth >= self.depth_max {
            return self.fail(DecodeError::TooDeep {
                max: self.depth_max,
            });
        }
        self.depth += 1;
        Ok(self.skip_whitespace(at + 1))
    }

    /// Behind an element: where the next one begins, or where the bracket stands.
    #[inline]
    fn comma(&self, at: usize) -> (usize, bool) {
        let at = self.skip_whitespace(at);
        if self.byte(at) == b',' {
            (self.skip_whitespace(at + 1), true)
        } else {
            (at, false)
        }
    }

    #[inline]
    fn ascend(&mut self, at: usize, bracket: u8) -> Result<usize, Failed> {
        self.depth -= 1;
        if self.byte(at) == bracket {
            Ok(at + 1)
        } else {
            self.invalid(at)
        }
    }

    /// The array that is the text: its elements are counted, and the first is marked.
    fn outer_array(&mut self) -> Result<ArrayParts, Failed> {
        let mut at = self.descend(0)?;
        let mut parts = ArrayParts {
            count: 0,
            first: (0, 0),
            rest: at,
            end: at,
        };
        let mut more = self.byte(at) != b']';
        while more {
            let (start, end) = (at, self.value(at)?);
            (at, more) = self.comma(end);
            if parts.count == 0 {
                parts.first = (start, end);
                parts.rest = at;
            }
            parts.count += 1;
        }
        parts.end = at;
        at = self.ascend(at, b']')?;
        self.finish(at)?;
        Ok(parts)
    }

    fn array(&mut self, start: usize) -> Result<usize, Failed> {
        let mut at = self.descend(start)?;
        let mut more = self.byte(at) != b']';
        while more {
            at = self.value(at)?;
            (at, more) = self.comma(at);
        }
        self.ascend(at, b']')
    }

    fn object(&mut self, start: usize) -> Result<usize, Failed> {
        let base = self.keys.len();
        let mut seen = 0;
        let mut at = self.descend(start)?;
        let mut more = self.byte(at) != b'}';
        while more {
            at = self.key(at, base, &mut seen)?;
            at = self.skip_whitespace(at);
            if self.byte(at) != b':' {
                return self.invalid(at);
            }
            at = self.skip_whitespace(at + 1);
            at = self.value(at)?;
            (at, more) = self.comma(at);
        }
        let end = self.ascend(at, b'}')?;
        self.close_object(start..end, base)?;
        Ok(end)
    }

    /// `seen` has a bit for each key of the object so far, many keys to a bit: while the bit of a new key is clear,
    /// there is nothing to compare it with.
    #[inline]
    fn key(&mut self, start: usize, base: usize, seen: &mut u64) -> Result<usize, Failed> {
        if self.byte(start) != b'"' {
            return self.invalid(start);
        }
        let (end, escaped) = self.string(start)?;
        let key = if escaped {
            let quoted = self.text.get(start..end).unwrap_or_default();
            match serde_json::from_str::<String>(quoted) {
                Ok(key) => Cow::Owned(key.into_bytes()),
                Err(_) => return self.fail(DecodeError::Key),
            }
        } else {
            let key = self.text.as_bytes().get(start + 1..end - 1);
            Cow::Borrowed(key.unwrap_or_default())
        };
        let siblings = self.keys.get(base..).unwrap_or_default();
        if siblings.len() >= self.keys_max {
            return self.fail(DecodeError::TooManyKeys { max: self.keys_max });
        }
        let bit = bit_of(&key);
        if *seen & bit != 0 && siblings.len() < PAIRWISE_KEYS_MAX && siblings.contains(&key) {
            return self.fail(DecodeError::DuplicateKey);
        }
        *seen |= bit;
        self.keys.push(key);
        Ok(end)
    }

    fn close_object(&mut self, object: Range<usize>, base: usize) -> Result<(), Failed> {
        let keys = self.keys.get_mut(base..).unwrap_or_default();
        if keys.len() > PAIRWISE_KEYS_MAX {
            keys.sort_unstable();
            if keys.array_windows().any(|[a, b]| a == b) {
                return self.fail(DecodeError::DuplicateKey);
            }
        }
        let marked = self.used.is_some() && keys.iter().any(|key| **key == *PLACEHOLDER.as_bytes());
        self.keys.truncate(base);
        if marked {
            self.placeholder(object)
                .or_else(|failure| self.fail(failure))
        } else {
            Ok(())
        }
    }

    /// The object claims to be a placeholder.
    fn placeholder(&mut self, object: Range<usize>) -> Result<(), DecodeError> {
        let text = self.text.get(object).unwrap_or_default();
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

/// One of 64 bits, from what keys of one object differ in most: their ends.
#[inline]
fn bit_of(key: &[u8]) -> u64 {
    let (first, last) = (key.first().unwrap_or(&0), key.last().unwrap_or(&0));
    let mixed =
        u32::from(*first) ^ u32::from(*last).rotate_left(2) ^ (key.len() as u32).rotate_left(4);
    1 << (mixed % 64)
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

/// Whether `text` stands between the quotes of a JSON string as it is.
pub(crate) fn is_plain(text: &str) -> bool {
    plain_len(text.as_bytes()) == text.len()
}

/// The text as it stands between the quotes of a JSON string.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
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
