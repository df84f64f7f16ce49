//! Frames: how one entry of a log lies in a segment, so that damage of any kind shows.
//!
//! ```text
//! crc     u32  CRC-32C of all that follows, begun with the segment's seed
//! bytes   u32  of the payload, at least 1
//! prev    u32  crc of the frame before: an old frame that was left behind does not fit
//! at      u32  where in the segment this frame is: a block in the wrong place does not fit
//! synced  u32  up to where the segment was on stable storage when this was written
//! commit  u32  counts attempts to write: the same entry written again is another frame
//! payload
//! ```
//!
//! Numbers are little-endian. Must not know what payloads mean.

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 24;

/// A frame that has passed its checksum.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) crc: u32,
    pub(super) prev: u32,
    pub(super) synced: u32,
    pub(super) commit: u32,
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes of the whole frame.
    pub(super) fn bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }
}

/// Frames that are written together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) bytes: Vec<u8>,
    /// Where in the segment it begins.
    pub(super) start: u32,
    /// The crc of its last frame.
    pub(super) chain: u32,
    pub(super) seed: u32,
    pub(super) synced: u32,
    pub(super) commit: u32,
}

impl Group {
    /// Adds a frame; says where in the segment it will be, and its bytes.
    pub(super) fn push(&mut self, payload: impl FnOnce(&mut Vec<u8>)) -> (u32, u32) {
        let begin = self.bytes.len();
        let at = self.start + begin as u32;
        for number in [0, 0, self.chain, at, self.synced, self.commit] {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
        payload(&mut self.bytes);
        let bytes = self.bytes.len() - begin;
        if let Some(frame) = self.bytes.get_mut(begin..) {
            put(frame, 4, (bytes - HEADER_BYTES) as u32);
            self.chain = checksum(self.seed, frame);
            put(frame, 0, self.chain);
        }
        (at, bytes as u32)
    }

    /// Where in the segment it ends.
    pub(super) fn end(&self) -> u32 {
        self.start + self.bytes.len() as u32
    }
}

/// The frame at the beginning of `bytes`, if it is whole and belongs at `at` of this segment.
pub(super) fn parse(bytes: &[u8], at: u32, seed: u32) -> Option<Frame<'_>> {
    if number(bytes, 12)? != at {
        return None;
    }
    let payload_bytes = number(bytes, 4)? as usize;
    let frame = bytes.get(..HEADER_BYTES.checked_add(payload_bytes)?)?;
    let crc = number(bytes, 0)?;
    if payload_bytes == 0 || checksum(seed, frame) != crc {
        return None;
    }
    Some(Frame {
        crc,
        prev: number(bytes, 8)?,
        synced: number(bytes, 16)?,
        commit: number(bytes, 20)?,
        payload: frame.get(HEADER_BYTES..)?,
    })
}

/// Up to where frames after `from` say that the segment was on stable storage. They need not follow each other.
pub(super) fn synced_after(segment: &[u8], from: usize, seed: u32) -> u32 {
    let mut synced = 0;
    for at in from..segment.len() {
        let bytes = segment.get(at..).unwrap_or_default();
        if let Some(frame) = parse(bytes, at as u32, seed) {
            synced = synced.max(frame.synced);
        }
    }
    synced
}

/// How many bytes there are up to the last one that is not zero.
pub(super) fn used(bytes: &[u8]) -> usize {
    const BLOCK: usize = 4096;
    static ZERO: [u8; BLOCK] = [0; BLOCK];
    let mut used = bytes.len();
    while used > 0 {
        let begin = used.saturating_sub(BLOCK);
        let block = bytes.get(begin..used).unwrap_or_default();
        if ZERO.get(..block.len()) != Some(block) {
            let last = block.iter().rposition(|byte| *byte != 0);
            return begin + last.map_or(0, |last| last + 1);
        }
        used = begin;
    }
    0
}

/// The number at a place.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*four))
}

fn put(frame: &mut [u8], at: usize, number: u32) {
    if let Some(place) = frame.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

fn checksum(seed: u32, frame: &[u8]) -> u32 {
    crc32c::crc32c_append(seed, frame.get(4..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        Group {
            bytes: Vec::new(),
            start: 40,
            chain: 5,
            seed: 9,
            synced: 40,
            commit: 1,
        }
    }

    #[test]
    fn frames_come_back_in_their_place_alone() {
        let mut group = group();
        let first = group.push(|out| out.extend_from_slice(b"one"));
        let second = group.push(|out| out.extend_from_slice(b"second"));
        assert_eq!((first, second, group.end()), ((40, 27), (67, 30), 97));

        let one = parse(&group.bytes, 40, 9).unwrap();
        assert_eq!((one.payload, one.prev, one.synced), (&b"one"[..], 5, 40));
        let two = parse(&group.bytes[27..], 67, 9).unwrap();
        assert_eq!((two.payload, two.prev), (&b"second"[..], one.crc));
        assert_eq!(two.crc, group.chain);
        assert!(parse(&group.bytes, 41, 9).is_none(), "another place");
        assert!(parse(&group.bytes, 40, 8).is_none(), "another segment");
        assert!(parse(&group.bytes[..26], 40, 9).is_none(), "cut");
        assert!(parse(&[0; 64], 0, 9).is_none(), "nothing");
    }

    #[test]
    fn every_flipped_bit_shows() {
        let mut group = group();
        group.push(|out| out.extend_from_slice(b"payload"));
        for bit in 0..group.bytes.len() * 8 {
            let mut bytes = group.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bytes, 40, 9).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn what_is_used_ends_with_the_last_byte_that_is_not_zero() {
        let mut bytes = vec![0; 10_000];
        assert_eq!(used(&bytes), 0);
        for at in [0, 4095, 4096, 9_999] {
            bytes[at] = 1;
            assert_eq!(used(&bytes), at + 1);
        }
    }
}
