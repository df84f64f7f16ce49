//! Copies one untrusted value into plain msgpack while checking it: depth, keys, text, extensions.
//!
//! The extensions are those of notepack (protocol notes 10), all of type 0: `ext` is an ArrayBuffer and becomes
//! `bin`, `fixext1` is `undefined` and becomes nil, `fixext8` is a Date and becomes the text that JSON would have.
//! A date grows from 10 to at most 29 bytes, so the copy is at most three times as long as the message.

use smallvec::SmallVec;

use super::date;
use super::read::{Head, Reader};
use super::write;
use crate::limits::{DEPTH_CEILING, Limits};
use crate::socket::decode::DecodeError;

/// An array or map that is not complete yet.
struct Open {
    map: bool,
    /// Keys and values still to come.
    left: u64,
    /// Where its keys begin in the list of all open maps' keys.
    keys_from: usize,
}

impl Open {
    /// Whether a key comes next: keys and values alternate, and the last to come is a value.
    const fn expects_key(&self) -> bool {
        self.map && self.left.is_multiple_of(2)
    }
}

/// Appends the next value of `reader` to `out`, normalised.
pub(super) fn copy_value(
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
    limits: &Limits,
) -> Result<(), DecodeError> {
    let depth_max = limits.depth_max.min(DEPTH_CEILING);
    // On the stack while there are few, as in nearly all messages.
    let mut open: SmallVec<[Open; 4]> = SmallVec::new();
    let mut keys: SmallVec<[&str; 8]> = SmallVec::new();
    loop {
        let start = reader.at();
        let mut opened = None;
        if open.last().is_some_and(Open::expects_key) {
            keys.push(reader.key()?);
            out.extend_from_slice(reader.since(start));
        } else {
            opened = copy_one(reader, out, limits)?;
        }
        if let Some(parent) = open.last_mut() {
            parent.left -= 1;
        }
        if let Some((map, left)) = opened {
            if open.len() >= depth_max {
                return Err(DecodeError::TooDeep { max: depth_max });
            }
            open.push(Open {
                map,
                left,
                keys_from: keys.len(),
            });
        }
        while open.last().is_some_and(|top| top.left == 0) {
            let Some(done) = open.pop() else { break };
            refuse_duplicates(keys.get_mut(done.keys_from..).unwrap_or_default())?;
            keys.truncate(done.keys_from);
        }
        if open.is_empty() {
            return Ok(());
        }
    }
}

/// Copies a scalar or the head of an array or map; for the latter, says whether it is a map and what it holds.
fn copy_one(
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
    limits: &Limits,
) -> Result<Option<(bool, u64)>, DecodeError> {
    let start = reader.at();
    let mut opened = None;
    match reader.head()? {
        Head::Nil | Head::Bool | Head::Unsigned(_) | Head::Negative(_) | Head::Float(_) => {}
        Head::Str(len) => {
            reader.text(len)?;
        }
        Head::Bin(len) => {
            reader.take(len)?;
        }
        Head::Array(len) => opened = Some((false, u64::from(len))),
        Head::Map(len) => {
            check_keys(len, limits)?;
            opened = Some((true, 2 * u64::from(len)));
        }
        Head::Ext { kind: 0, len } => {
            write::bin(out, reader.take(len)?);
            return Ok(None);
        }
        Head::FixExt { kind: 0, len: 1 } => {
            reader.take(1)?;
            write::nil(out);
            return Ok(None);
        }
        Head::FixExt { kind: 0, len: 8 } => {
            let at = reader.at();
            let millis = reader.take(8)?.try_into();
            let millis = i64::from_be_bytes(millis.map_err(|_| DecodeError::Msgpack { at })?);
            match date::iso(millis) {
                Some(text) => write::text(out, &text),
                None => write::nil(out),
            }
            return Ok(None);
        }
        Head::Ext { .. } | Head::FixExt { .. } => {
            return Err(DecodeError::MsgpackExtension { at: start });
        }
    }
    out.extend_from_slice(reader.since(start));
    Ok(opened)
}

/// Holds the claimed number of keys against the limit.
pub(super) fn check_keys(keys: u32, limits: &Limits) -> Result<(), DecodeError> {
    if keys as usize > limits.object_keys_max {
        return Err(DecodeError::TooManyKeys {
            max: limits.object_keys_max,
        });
    }
    Ok(())
}

/// Sorts the keys of one map. Sorting keeps the worst case at n log n without a random hash.
pub(super) fn refuse_duplicates(keys: &mut [&str]) -> Result<(), DecodeError> {
    keys.sort_unstable();
    if keys.is_sorted_by(|a, b| a < b) {
        Ok(())
    } else {
        Err(DecodeError::DuplicateKey)
    }
}
