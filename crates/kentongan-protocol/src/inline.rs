//! Bytes whose length is known before: the finished ones, shared from one allocation, and short pieces on the stack.
//!
//! [`Bytes`] made of a vector takes a second allocation, for its reference count, as soon as it is cloned; here the
//! count lies next to the bytes while they are few. It must not know what the bytes mean.

use std::io;

use bytes::Bytes;

/// Where bytes are written, one piece after another.
pub(crate) trait Sink {
    fn put(&mut self, piece: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, piece: &[u8]) {
        self.extend_from_slice(piece);
    }
}

/// Up to `N` bytes. What does not fit is left out, so whoever writes knows the length before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inline<const N: usize> {
    len: u16,
    bytes: [u8; N],
}

/// A few bytes of a header, on the stack.
pub(crate) type Short = Inline<64>;

impl<const N: usize> Inline<N> {
    pub(crate) const fn new() -> Self {
        Self {
            len: 0,
            bytes: [0; N],
        }
    }

    /// Appends the decimal text of `number`.
    pub(crate) fn put_decimal(&mut self, number: u64) {
        self.put(itoa::Buffer::new().format(number).as_bytes());
    }
}

impl<const N: usize> Sink for Inline<N> {
    #[inline]
    fn put(&mut self, piece: &[u8]) {
        let from = usize::from(self.len);
        let to = from + piece.len();
        let place = self.bytes.get_mut(from..to);
        debug_assert!(place.is_some(), "the length was known before");
        if let Some(place) = place {
            place.copy_from_slice(piece);
            self.len = to as u16;
        }
    }
}

impl<const N: usize> AsRef<[u8]> for Inline<N> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl<const N: usize> io::Write for Inline<N> {
    #[inline]
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.put(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The pieces as one, `len` bytes in all.
pub(crate) fn joined<'a>(len: usize, pieces: impl Iterator<Item = &'a [u8]>) -> Bytes {
    // With the count and the length these take 64, 128 and 256 bytes.
    match len {
        0..=54 => inline::<54>(pieces),
        55..=118 => inline::<118>(pieces),
        119..=246 => inline::<246>(pieces),
        _ => {
            // Of the exact size: then the conversion takes the buffer as it is.
            let mut out = Vec::with_capacity(len);
            put_all(pieces, &mut out);
            debug_assert_eq!(out.len(), len);
            Bytes::from(out)
        }
    }
}

fn inline<'a, const N: usize>(pieces: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let mut out = Inline::<N>::new();
    put_all(pieces, &mut out);
    Bytes::from_owner(out)
}

#[inline]
fn put_all<'a>(pieces: impl Iterator<Item = &'a [u8]>, out: &mut impl Sink) {
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        out.put(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_at_every_length() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(300).collect();
        for len in 0..bytes.len() {
            let (left, right) = bytes[..len].split_at(len / 3);
            let joined = joined(len, [left, b"", right].into_iter());
            assert_eq!(joined, bytes[..len]);
            let (copy, part) = (joined.clone(), joined.slice(len / 2..));
            drop(joined);
            assert_eq!(copy, bytes[..len]);
            assert_eq!(part, bytes[len / 2..len]);
        }
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 9, 10, u64::MAX] {
            let mut short = Short::new();
            short.put_decimal(number);
            assert_eq!(short.as_ref(), number.to_string().as_bytes());
        }
    }
}
