//! The payload of every message: who sent it, which one it is and when, and padding that shows damage.
//!
//! Owns the layout: 16 hex digits of sequence, 16 of send time in nanoseconds (our monotonic clock), 8 of sender, then a
//! repeating pattern. It is ASCII without quotes and backslashes, so that it looks the same in JSON.

/// Bytes before the padding: the smallest payload.
pub const SIZE_MIN: usize = 40;

/// What a payload says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Counts the messages of one sender from 0.
    pub sequence: u64,
    /// When it was sent, in nanoseconds of [`crate::clock`].
    pub sent_ns: u64,
    /// Index of the connection that sent it.
    pub sender: u32,
}

impl Stamp {
    /// Appends a payload of `size` bytes, at least [`SIZE_MIN`].
    pub fn write(self, size: usize, out: &mut Vec<u8>) {
        let mut head = [0; SIZE_MIN];
        let (sequence, rest) = head.split_at_mut(16);
        let (sent, sender) = rest.split_at_mut(16);
        write_hex(self.sequence, sequence);
        write_hex(self.sent_ns, sent);
        write_hex(u64::from(self.sender), sender);
        out.extend_from_slice(&head);
        let mut padding = size.saturating_sub(SIZE_MIN);
        while padding > 0 {
            let piece = padding.min(PATTERN.len());
            out.extend_from_slice(&PATTERN[..piece]);
            padding -= piece;
        }
    }

    /// Reads a payload; `None` if it is not one, or its padding is damaged.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (head, padding) = payload.split_first_chunk::<SIZE_MIN>()?;
        let intact = padding
            .chunks(PATTERN.len())
            .all(|piece| PATTERN.starts_with(piece));
        if !intact {
            return None;
        }
        Some(Self {
            sequence: read_hex(&head[..16])?,
            sent_ns: read_hex(&head[16..32])?,
            sender: u32::try_from(read_hex(&head[32..])?).ok()?,
        })
    }
}

fn write_hex(mut value: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = DIGITS[(value & 15) as usize];
        value >>= 4;
    }
}

fn read_hex(digits: &[u8]) -> Option<u64> {
    let mut value = 0;
    let mut seen = 0;
    for digit in digits {
        let nibble = NIBBLES[usize::from(*digit)];
        seen |= nibble;
        value = value << 4 | u64::from(nibble);
    }
    (seen != INVALID && seen & 0xf0 == 0).then_some(value)
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
const PATTERN: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
const INVALID: u8 = 0xff;
/// Value of each lower-case hex digit.
const NIBBLES: [u8; 256] = {
    let mut table = [INVALID; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        table[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        sequence: 0x0123_4567_89ab_cdef,
        sent_ns: 42,
        sender: 7,
    };

    fn written(size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        STAMP.write(size, &mut out);
        out
    }

    #[test]
    fn comes_back_at_every_size() {
        for size in [SIZE_MIN, SIZE_MIN + 1, 104, 105, 128, 1000] {
            let payload = written(size);
            assert_eq!(payload.len(), size);
            assert_eq!(Stamp::read(&payload), Some(STAMP), "size {size}");
            assert!(!payload.iter().any(|byte| b"\"\\".contains(byte)));
        }
    }

    #[test]
    fn damage_anywhere_is_seen() {
        for at in 0..128 {
            let mut payload = written(128);
            payload[at] = b'!';
            assert_eq!(Stamp::read(&payload), None, "byte {at}");
        }
        assert_eq!(Stamp::read(&written(128)[..SIZE_MIN - 1]), None);
    }
}
