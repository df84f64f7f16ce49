//! A cursor over msgpack that trusts no length: reads heads, text and raw bytes.
//!
//! It must not know packets or limits.

use crate::socket::decode::DecodeError;

/// The start of a value: all of it for scalars, kind and length for the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Head {
    Nil,
    Bool,
    /// An integer of 0 or more, however it was written.
    Unsigned(u64),
    /// An integer below 0.
    Negative(i64),
    Float(f64),
    Str(usize),
    Bin(usize),
    Array(u32),
    /// With this many key-value pairs.
    Map(u32),
    /// Of a fixed size (`fixext`): 1, 2, 4, 8 or 16 bytes.
    FixExt {
        kind: u8,
        len: usize,
    },
    Ext {
        kind: u8,
        len: usize,
    },
}

/// How notepack, the msgpack library of the JavaScript parser, writes `undefined`: fixext1 of type 0.
const UNDEFINED: [u8; 2] = [0xd4, 0x00];

#[derive(Debug)]
pub(super) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// Bytes consumed.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Bytes left.
    pub(super) const fn rest(&self) -> usize {
        self.data.len().saturating_sub(self.at)
    }

    /// What was consumed since `start`, an earlier [`Self::at`].
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.data.get(start..self.at).unwrap_or_default()
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(len);
        let bytes = end.and_then(|end| self.data.get(self.at..end));
        let bytes = bytes.ok_or(DecodeError::Msgpack { at: self.at })?;
        self.at += len;
        Ok(bytes)
    }

    /// `len` bytes of UTF-8.
    pub(super) fn text(&mut self, len: usize) -> Result<&'a str, DecodeError> {
        let at = self.at;
        simdutf8::basic::from_utf8(self.take(len)?).map_err(|_| DecodeError::Utf8 { at })
    }

    /// A map key, which must be a string.
    pub(super) fn key(&mut self) -> Result<&'a str, DecodeError> {
        match self.head()? {
            Head::Str(len) => self.text(len),
            _ => Err(DecodeError::Key),
        }
    }

    /// Consumes the next value if it is notepack's `undefined`.
    pub(super) fn skip_undefined(&mut self) -> bool {
        let undefined = self.rest() > UNDEFINED.len()
            && self
                .data
                .get(self.at..)
                .is_some_and(|rest| rest.starts_with(&UNDEFINED));
        if undefined {
            self.at += UNDEFINED.len() + 1;
        }
        undefined
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let at = self.at;
        self.take(N)?
            .try_into()
            .map_err(|_| DecodeError::Msgpack { at })
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A length of `width` bytes.
    fn len(&mut self, width: u8) -> Result<usize, DecodeError> {
        Ok(match width {
            1 => self.u8()?.into(),
            2 => self.u16()?.into(),
            _ => self.u32()? as usize,
        })
    }

    /// Consumes the head of the next value; the bytes of `Str`, `Bin` and `Ext` are left.
    pub(super) fn head(&mut self) -> Result<Head, DecodeError> {
        let at = self.at;
        let marker = self.u8()?;
        Ok(match marker {
            0x00..=0x7f => Head::Unsigned(marker.into()),
            0x80..=0x8f => Head::Map((marker & 0x0f).into()),
            0x90..=0x9f => Head::Array((marker & 0x0f).into()),
            0xa0..=0xbf => Head::Str((marker & 0x1f).into()),
            0xc0 => Head::Nil,
            0xc2 | 0xc3 => Head::Bool,
            0xc4 => Head::Bin(self.len(1)?),
            0xc5 => Head::Bin(self.len(2)?),
            0xc6 => Head::Bin(self.len(4)?),
            0xc7 => self.ext(1)?,
            0xc8 => self.ext(2)?,
            0xc9 => self.ext(4)?,
            0xca => Head::Float(self.array().map(f32::from_be_bytes)?.into()),
            0xcb => Head::Float(self.array().map(f64::from_be_bytes)?),
            0xcc => Head::Unsigned(self.u8()?.into()),
            0xcd => Head::Unsigned(self.u16()?.into()),
            0xce => Head::Unsigned(self.u32()?.into()),
            0xcf => Head::Unsigned(self.array().map(u64::from_be_bytes)?),
            0xd0 => signed(self.array().map(i8::from_be_bytes)?.into()),
            0xd1 => signed(self.array().map(i16::from_be_bytes)?.into()),
            0xd2 => signed(self.array().map(i32::from_be_bytes)?.into()),
            0xd3 => signed(self.array().map(i64::from_be_bytes)?),
            0xd4..=0xd8 => Head::FixExt {
                kind: self.u8()?,
                len: 1 << (marker - 0xd4),
            },
            0xd9 => Head::Str(self.len(1)?),
            0xda => Head::Str(self.len(2)?),
            0xdb => Head::Str(self.len(4)?),
            0xdc => Head::Array(self.u16()?.into()),
            0xdd => Head::Array(self.u32()?),
            0xde => Head::Map(self.u16()?.into()),
            0xdf => Head::Map(self.u32()?),
            0xe0..=0xff => Head::Negative(i8::from_be_bytes([marker]).into()),
            // Never used by msgpack.
            0xc1 => return Err(DecodeError::Msgpack { at }),
        })
    }

    fn ext(&mut self, width: u8) -> Result<Head, DecodeError> {
        let len = self.len(width)?;
        Ok(Head::Ext {
            kind: self.u8()?,
            len,
        })
    }

    /// Consumes one whole value, without recursion.
    pub(super) fn skip(&mut self) -> Result<(), DecodeError> {
        let mut values = 1_u64;
        while values > 0 {
            values -= 1;
            match self.head()? {
                Head::Str(len)
                | Head::Bin(len)
                | Head::Ext { len, .. }
                | Head::FixExt { len, .. } => {
                    self.take(len)?;
                }
                Head::Array(len) => values = values.saturating_add(len.into()),
                Head::Map(len) => values = values.saturating_add(2 * u64::from(len)),
                Head::Nil | Head::Bool | Head::Unsigned(_) | Head::Negative(_) | Head::Float(_) => {
                }
            }
        }
        Ok(())
    }
}

fn signed(value: i64) -> Head {
    u64::try_from(value).map_or(Head::Negative(value), Head::Unsigned)
}
