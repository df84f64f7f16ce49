//! Compression of messages (RFC 7692).
//!
//! Owns raw deflate without context takeover. It must not know frames.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// Compresses one message for permessage-deflate: raw deflate, 15 window bits, no context takeover, and without the
/// trailing `00 00 ff ff` (RFC 7692, 7.2.1).
pub fn compress_message(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(data)
        .expect("writing to a Vec cannot fail");
    encoder.flush().expect("writing to a Vec cannot fail");
    let mut out = encoder.get_ref().clone();
    out.truncate(out.len().saturating_sub(4));
    out
}
