//! Tables for permessage-deflate: round trips, bombs, empty blocks.

use std::time::{Duration, Instant};

use super::*;

fn inflated(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    inflate(payload, &mut out, bytes_max).map(|()| out)
}

/// Bytes without repetition, so that deflate cannot shrink them (xorshift, fixed seed).
fn noise(len: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    })
    .take(len)
    .collect()
}

#[test]
fn round_trip_at_every_window() {
    let text = "{\"user\":\"kentongan\",\"text\":\"tok tok tok\"}".repeat(3000);
    for data in [
        &b""[..],
        b"a",
        b"Hello",
        text.as_bytes(),
        &noise(70_000),
        &vec![0; 1_000_000],
    ] {
        for bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX {
            let payload = compress(data, bits);
            assert_eq!(
                inflated(&payload, data.len()).as_deref(),
                Ok(data),
                "window {bits}, {} bytes",
                data.len()
            );
        }
    }
}

#[test]
fn compression_is_the_same_every_time() {
    let first = compress_message(b"encode once, send to all");
    compress_message(&noise(100_000));
    assert_eq!(
        compress_message(b"encode once, send to all"),
        first,
        "no context is left from other messages"
    );
    assert!(!first.ends_with(FLUSH_MARKER));
    assert_eq!(compress_message(b""), [0x00], "RFC 7692 section 7.2.3.6");
}

#[test]
fn rfc_7692_section_7_2_3_examples() {
    fn check(payload: &[u8], expected: &[u8]) {
        assert_eq!(
            inflated(payload, 100).as_deref(),
            Ok(expected),
            "{payload:02x?}"
        );
    }
    check(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello");
    // A stored block.
    check(
        &[
            0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ],
        b"Hello",
    );
    // A block with BFINAL, and the same without its closing zero byte, as some deflaters send it.
    check(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], b"Hello");
    check(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello");
    // Two blocks.
    check(
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
        b"Hello",
    );
    // The empty message, in its two forms.
    check(&[0x00], b"");
    check(&[0x02, 0x00], b"");
    // A sender that did not remove the flush marker.
    check(
        &[
            0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00,
        ],
        b"Hello",
    );
}

#[test]
fn refuses_what_is_not_one_complete_stream() {
    fn check(payload: &[u8]) {
        assert_eq!(
            inflated(payload, 1000),
            Err(InflateError::Invalid),
            "{payload:02x?}"
        );
    }
    check(&[0xff; 8]);
    // The reserved block type.
    check(&[0x07]);
    // A stored block whose length and its complement disagree.
    check(&[0x00, 0x05, 0x00, 0x00, 0x00]);
    // A stored block that ends early.
    check(&[0x00, 0x50, 0x00, 0xaf, 0xff, 0x48, 0x65]);
    // A second stream behind the final block.
    check(&[
        0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00,
    ]);
    check(&[0x03, 0x00, 0x03, 0x00]);
    // A back reference before the first byte: context that was not kept (RFC 7692 section 7.2.3.2).
    check(&[0xf2, 0x00, 0x11, 0x00, 0x00]);
    // The zlib header belongs to another format.
    check(&[0x78, 0x9c, 0x03, 0x00]);
}

#[test]
fn an_error_leaves_nothing_behind() {
    assert_eq!(inflated(&[0xff; 8], 100), Err(InflateError::Invalid));
    assert_eq!(
        inflated(&compress_message(b"next"), 100).as_deref(),
        Ok(&b"next"[..])
    );
}

#[test]
fn the_limit_is_inclusive() {
    fn check(len: usize, bytes_max: usize, expected: Result<usize, InflateError>) {
        for data in [vec![b'x'; len], noise(len)] {
            let result = inflated(&compress_message(&data), bytes_max).map(|out| out.len());
            assert_eq!(result, expected, "{len} bytes, limit {bytes_max}");
        }
    }
    check(0, 0, Ok(0));
    check(1, 0, Err(InflateError::TooBig));
    check(999, 1000, Ok(999));
    check(1000, 1000, Ok(1000));
    check(1001, 1000, Err(InflateError::TooBig));
    check(65_536, 65_536, Ok(65_536));
    check(65_537, 65_536, Err(InflateError::TooBig));
}

/// A small payload that inflates to much (ws CVE-2016-10544): memory stays at the limit.
#[test]
fn cve_2016_10544_deflate_bomb() {
    let bomb = compress_message(&vec![0; 64 << 20]);
    assert!(bomb.len() < 400_000);
    let mut out = Vec::new();
    assert_eq!(
        inflate(&bomb, &mut out, 1_000_000),
        Err(InflateError::TooBig)
    );
    assert!(out.capacity() <= 1_000_001, "{}", out.capacity());
}

/// The ratio alone is no crime, only the limit counts (Bandit CVE-2026-39804: the ratio was not bounded by anything).
#[test]
fn cve_2026_39804_deflate_ratio() {
    let payload = compress_message(&vec![b' '; 900_000]);
    assert!(payload.len() < 9_000);
    assert_eq!(
        inflated(&payload, 1_000_000).map(|out| out.len()),
        Ok(900_000)
    );
    assert_eq!(inflated(&payload, 899_999), Err(InflateError::TooBig));
    assert_eq!(inflated(&payload, 16 << 10), Err(InflateError::TooBig));
}

/// Memory follows what was produced, not what might be (undici CVE-2026-1526: unbounded growth while inflating).
#[test]
fn cve_2026_1526_inflate_memory_follows_output() {
    let mut out = Vec::new();
    assert_eq!(
        inflate(&compress_message(b"small"), &mut out, usize::MAX),
        Ok(())
    );
    assert!(out.capacity() <= 512, "{}", out.capacity());
}

/// Blocks without content cost input only (CVE-2026-128131): 1 MiB of each kind is linear work.
#[test]
fn cve_2026_128131_empty_deflate_blocks() {
    // Unoptimised builds on a loaded machine; a quadratic inflater would need minutes.
    let deadline = Duration::from_secs(5);
    let stored = [0x00, 0x00, 0x00, 0xff, 0xff].repeat((1 << 20) / 5);
    let mut fixed = [0x02, 0x08, 0x20, 0x80, 0x00].repeat((1 << 20) / 5);
    fixed.push(0x00);
    let final_streams = [0x03, 0x00].repeat(1 << 19);
    let begin = Instant::now();
    assert_eq!(
        inflated(&[&stored[..], &[0x00]].concat(), 1_000_000).as_deref(),
        Ok(&b""[..])
    );
    assert_eq!(inflated(&fixed, 1_000_000).as_deref(), Ok(&b""[..]));
    assert_eq!(
        inflated(&final_streams, 1_000_000),
        Err(InflateError::Invalid)
    );
    assert!(begin.elapsed() < deadline, "{:?}", begin.elapsed());
}
