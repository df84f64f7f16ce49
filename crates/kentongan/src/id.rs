//! Identifiers: 120 random bits from the operating system, written as 20 characters.
//!
//! Owns how ids look and where their randomness comes from. An engine sid is a bearer secret and is never shown to
//! other clients; a socket id is public; a recovery id (`pid`) is a secret again. All three share this form, because
//! load balancers and adapters recognise `[A-Za-z0-9_-]{20}` (`@socket.io/sticky`, the sharded Redis adapter).

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A 120-bit identifier; its text form has exactly 20 characters of `[A-Za-z0-9_-]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid([u8; SID_BYTES]);

/// The text was not 20 characters of `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 20 characters of A-Z, a-z, 0-9, '-' and '_' expected")]
pub struct InvalidSid;

impl Sid {
    /// A fresh id from the operating system's randomness (CVE-2017-16031: ids must not be guessable).
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; SID_BYTES];
        getrandom::fill(&mut bytes)
            .expect("the operating system has randomness once it has booted");
        Self(bytes)
    }

    /// A short form for logs: an engine sid is a secret, its first characters are not enough to use it.
    pub(crate) fn shown(&self) -> String {
        self.text().chars().take(8).collect()
    }

    /// Which of `shards` this id belongs to.
    pub(crate) fn shard(&self, shards: usize) -> usize {
        usize::from(self.0[0]) % shards
    }

    /// The text form, on the stack.
    #[must_use]
    pub fn text(&self) -> SidText {
        let mut text = [0; SID_CHARS];
        let written = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).unwrap_or(0);
        debug_assert_eq!(written, SID_CHARS, "15 bytes are 20 characters of base64");
        SidText(text)
    }
}

impl FromStr for Sid {
    type Err = InvalidSid;

    fn from_str(text: &str) -> Result<Self, InvalidSid> {
        if text.len() != SID_CHARS {
            return Err(InvalidSid);
        }
        let mut bytes = [0; SID_BYTES];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(SID_BYTES) => Ok(Self(bytes)),
            _ => Err(InvalidSid),
        }
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Serialize for Sid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Sid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = ByteString::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// The 20 characters of a [`Sid`].
#[derive(Clone, Copy)]
pub struct SidText([u8; SID_CHARS]);

impl std::ops::Deref for SidText {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

const SID_BYTES: usize = 15;
const SID_CHARS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn cve_2017_16031_ids_are_unique_and_spread() {
        let ids: HashSet<Sid> = (0..10_000).map(|_| Sid::random()).collect();
        assert_eq!(ids.len(), 10_000);
        let ones: u32 = ids
            .iter()
            .flat_map(|id| id.0)
            .map(|byte| byte.count_ones())
            .sum();
        let expected = 10_000 * 60;
        assert!(
            ones.abs_diff(expected) < expected / 100,
            "{ones} of {}",
            2 * expected
        );
    }

    #[test]
    fn text_form_is_twenty_url_safe_characters_and_reads_back() {
        for _ in 0..1000 {
            let id = Sid::random();
            let text = id.to_string();
            assert_eq!(text.len(), 20);
            assert!(
                text.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            );
            assert_eq!(text.parse(), Ok(id));
        }
    }

    #[test]
    fn odd_texts_are_refused() {
        for text in [
            "",
            "__proto__",
            "constructor",
            "aaaaaaaaaaaaaaaaaaa",
            "aaaaaaaaaaaaaaaaaaaaa",
            "aaaaaaaaaaaaaaaaaaa=",
            "aaaaaaaaaaaaaaaaaa\u{e9}",
        ] {
            assert_eq!(text.parse::<Sid>(), Err(InvalidSid), "{text:?}");
        }
    }
}
