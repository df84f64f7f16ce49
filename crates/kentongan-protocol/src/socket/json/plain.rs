//! Where the plain part of a JSON string ends: 16 bytes at a time while nothing happens, then 8, then one.
//!
//! It must not know what comes after.

/// The number of bytes in front of the first quote, backslash or control character; all of them if there is none.
#[inline]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    // Most strings are short: they end within the first word.
    if let Some(word) = bytes.first_chunk::<8>() {
        let ends = ends_in(u64::from_le_bytes(*word));
        if ends != 0 {
            return ends.trailing_zeros() as usize / 8;
        }
        return long_plain_len(bytes);
    }
    bytes
        .iter()
        .position(|byte| ends_plain(*byte))
        .unwrap_or(bytes.len())
}

fn long_plain_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    for block in bytes.as_chunks::<32>().0 {
        // Without an early end, so that the compiler makes vector instructions of it.
        if block
            .iter()
            .fold(0, |ends, byte| ends | u8::from(ends_plain(*byte)))
            != 0
        {
            break;
        }
        at += 32;
    }
    let (words, rest) = bytes.get(at..).unwrap_or_default().as_chunks::<8>();
    for word in words {
        let ends = ends_in(u64::from_le_bytes(*word));
        if ends != 0 {
            return at + ends.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + rest
        .iter()
        .position(|byte| ends_plain(*byte))
        .unwrap_or(rest.len())
}

#[inline]
const fn ends_plain(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// The lowest bit that is set marks the first byte of `word` that ends a plain part, in its highest bit; bits above it
/// mean nothing, because the subtractions borrow. Zero if there is no such byte.
#[inline]
const fn ends_in(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = word ^ (ONES * 0x22);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = word ^ (ONES * 0x5c);
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_told_as_one_by_one() {
        for len in 0..70 {
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'x'; len];
                    bytes[at] = byte;
                    let expected = if ends_plain(byte) { at } else { len };
                    assert_eq!(plain_len(&bytes), expected, "{byte:#x} at {at} of {len}");
                }
            }
            assert_eq!(plain_len(&vec![0xff; len]), len);
        }
    }

    #[test]
    fn the_first_of_several_ends_counts() {
        for (text, expected) in [
            ("abc\\\"\u{1}", 3),
            ("\"\"\"\"\"\"\"\"\"", 0),
            ("0123456789abcdefgh\"\\", 18),
            ("01234567\u{1f}!\"#", 8),
            ("!!!!!!!!!!#[]^\u{7f}\u{80}\u{ff}\"", 19),
        ] {
            assert_eq!(plain_len(text.as_bytes()), expected, "{text:?}");
        }
    }
}
