//! Positions in a log and their sealed form: authenticated encryption, so that a client can only send back what it was
//! given, and learns nothing from it.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};

/// A place in the log of one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Which life of the log.
    pub(crate) epoch: u64,
    /// The last publication that the client has.
    pub(crate) offset: u64,
}

pub(crate) struct Sealer {
    cipher: XChaCha20Poly1305,
    /// Bound into every position: one of another namespace does not open.
    namespace: Box<str>,
    /// Random per sealer, then counted: a nonce is never used twice with one key.
    nonce: [u8; 16],
    counter: AtomicU64,
}

impl Sealer {
    pub(crate) fn new(key: &[u8; 32], namespace: &str) -> Self {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce)
            .expect("the operating system has randomness once it has booted");
        Self {
            cipher: XChaCha20Poly1305::new(&(*key).into()),
            namespace: namespace.into(),
            nonce,
            counter: AtomicU64::new(0),
        }
    }

    pub(crate) fn seal(&self, position: &Position) -> String {
        let mut nonce = [0; NONCE_BYTES];
        let (random, counted) = nonce.split_at_mut(self.nonce.len());
        random.copy_from_slice(&self.nonce);
        counted.copy_from_slice(&self.counter.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let mut plain = [0; 16];
        let (epoch, offset) = plain.split_at_mut(8);
        epoch.copy_from_slice(&position.epoch.to_be_bytes());
        offset.copy_from_slice(&position.offset.to_be_bytes());
        let sealed = self.cipher.encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: &plain,
                aad: self.namespace.as_bytes(),
            },
        );
        let sealed = sealed.expect("16 bytes are within the cipher's bound");
        URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())
    }

    /// `None`: not one of ours.
    pub(crate) fn open(&self, text: &str) -> Option<Position> {
        if text.len() != SEALED_CHARS {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let plain = self
            .cipher
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: sealed,
                    aad: self.namespace.as_bytes(),
                },
            )
            .ok()?;
        let (epoch, offset) = plain.split_first_chunk::<8>()?;
        Some(Position {
            epoch: u64::from_be_bytes(*epoch),
            offset: u64::from_be_bytes(offset.try_into().ok()?),
        })
    }
}

const NONCE_BYTES: usize = 24;
/// 24 bytes of nonce, 16 of position and 16 of tag, in base64.
const SEALED_CHARS: usize = 75;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_opens_with_its_key_and_namespace_only() {
        let position = Position {
            epoch: 7,
            offset: u64::MAX,
        };
        let sealer = Sealer::new(&[1; 32], "/a");
        let sealed = sealer.seal(&position);
        assert_eq!(sealed.len(), SEALED_CHARS);
        assert_eq!(sealer.open(&sealed), Some(position));
        assert_eq!(
            Sealer::new(&[1; 32], "/a").open(&sealed),
            Some(position),
            "another process with the key"
        );
        assert_eq!(Sealer::new(&[2; 32], "/a").open(&sealed), None);
        assert_eq!(Sealer::new(&[1; 32], "/b").open(&sealed), None);
        assert_ne!(
            sealer.seal(&position),
            sealed,
            "equal positions look different"
        );
    }

    #[test]
    fn a_changed_position_does_not_open() {
        let sealer = Sealer::new(&[1; 32], "/");
        let sealed = sealer.seal(&Position {
            epoch: 1,
            offset: 2,
        });
        for index in 0..sealed.len() - 1 {
            let mut changed = sealed.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                sealer.open(std::str::from_utf8(&changed).unwrap()),
                None,
                "{index}"
            );
        }
        for text in ["", "alice", &sealed[1..], &format!("{sealed}A")] {
            assert_eq!(sealer.open(text), None, "{text}");
        }
    }
}
