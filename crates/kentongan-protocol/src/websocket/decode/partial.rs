//! A message that has begun and not ended: what is kept of it between reads.

use super::{ProtocolError, header::Header};
use crate::{
    limits::Limits,
    websocket::{Opcode, mask},
};

/// A data message that spans frames or reads. Exists only while it is incomplete.
#[derive(Debug)]
pub(super) struct Partial {
    /// `Text` or `Binary`.
    pub(super) opcode: Opcode,
    pub(super) compressed: bool,
    /// The payloads so far, unmasked and joined; still compressed if `compressed`.
    pub(super) data: Vec<u8>,
    /// `data` up to here is known to be UTF-8 (uncompressed text only).
    valid_to: usize,
    /// Frames so far.
    fragments: usize,
    /// Header bytes of all frames so far.
    header_bytes: usize,
    /// The frame that is being received. `None` between frames.
    frame: Option<Rest>,
}

/// What is still to come of a frame.
#[derive(Debug)]
struct Rest {
    fin: bool,
    /// Turned so that it begins at the next byte.
    mask: [u8; 4],
    bytes: usize,
}

/// Where [`Partial::receive`] left off.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Within a frame: all given bytes were taken, more are needed.
    Within,
    /// At the end of a frame that was not the last.
    Between,
    /// At the end of the message.
    Whole,
}

impl Partial {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            opcode: header.opcode,
            compressed: header.compressed,
            data: Vec::new(),
            valid_to: 0,
            fragments: 0,
            header_bytes: 0,
            frame: None,
        }
    }

    /// Begins the next frame, after holding it against the limits. Nothing is allocated for what has not arrived.
    pub(super) fn begin_frame(
        &mut self,
        header: &Header,
        limits: &Limits,
    ) -> Result<(), ProtocolError> {
        debug_assert!(self.frame.is_none(), "frames follow each other");
        let bytes = checked_len(header, self.data.len(), self.compressed, limits)?;
        self.fragments += 1;
        self.header_bytes = self.header_bytes.saturating_add(header.size);
        let header_bytes_max = limits.message_bytes_max.saturating_add(HEADER_BYTES_FREE);
        if self.fragments > limits.fragments_max
            || self.data.len() + self.header_bytes > header_bytes_max
        {
            return Err(ProtocolError::TooManyFragments);
        }
        self.frame = Some(Rest {
            fin: header.fin,
            mask: header.mask,
            bytes,
        });
        Ok(())
    }

    /// Takes what belongs to the current frame from the front of `input`; returns how many bytes that was.
    pub(super) fn receive(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
    ) -> Result<(usize, Received), ProtocolError> {
        let Some(frame) = &mut self.frame else {
            return Ok((0, Received::Between));
        };
        let taken = frame.bytes.min(input.len());
        let piece = input.get_mut(..taken).unwrap_or_default();
        mask::apply(piece, frame.mask);
        frame.mask = mask::turned(frame.mask, taken);
        frame.bytes -= taken;
        let (missing, fin) = (frame.bytes, frame.fin);
        // The last frame tells the final size; before it the buffer doubles, up to the limit.
        let ceiling = if fin {
            self.data.len() + taken + missing
        } else {
            limits.message_bytes_max
        };
        reserve(&mut self.data, taken, ceiling);
        self.data.extend_from_slice(piece);
        if self.opcode == Opcode::Text && !self.compressed {
            self.check_utf8()?;
        }
        if missing > 0 {
            return Ok((taken, Received::Within));
        }
        self.frame = None;
        Ok((
            taken,
            if fin {
                Received::Whole
            } else {
                Received::Between
            },
        ))
    }

    /// Whether a frame has begun and not ended.
    pub(super) fn is_within_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// Fails as soon as no continuation can make the text valid (RFC 6455 section 8.1 allows it, users expect it).
    /// A character that is cut at the end is left for the next piece, so each byte is looked at once (or four times).
    fn check_utf8(&mut self) -> Result<(), ProtocolError> {
        let unchecked = self.data.get(self.valid_to..).unwrap_or_default();
        match simdutf8::compat::from_utf8(unchecked) {
            Ok(_) => self.valid_to = self.data.len(),
            Err(error) if error.error_len().is_none() => self.valid_to += error.valid_up_to(),
            Err(_) => return Err(ProtocolError::InvalidUtf8),
        }
        Ok(())
    }
}

/// The payload length of a data frame as `usize`, if the message may grow by it: compared before any arithmetic.
pub(super) fn checked_len(
    header: &Header,
    before: usize,
    compressed: bool,
    limits: &Limits,
) -> Result<usize, ProtocolError> {
    let mut bytes_max = limits.message_bytes_max;
    if compressed {
        // What deflate cannot shrink it grows a little: 5 bytes for each stored block (of 16 KiB with zlib's defaults).
        bytes_max = bytes_max.saturating_add(bytes_max / 256 + 64);
    }
    let room = bytes_max.saturating_sub(before);
    usize::try_from(header.len)
        .ok()
        .filter(|len| *len <= room)
        .ok_or(ProtocolError::MessageTooBig)
}

fn reserve(data: &mut Vec<u8>, extra: usize, ceiling: usize) {
    let needed = data.len() + extra;
    if needed > data.capacity() {
        let doubled = data.capacity().saturating_mul(2).min(ceiling);
        data.reserve_exact(needed.max(doubled) - data.len());
    }
}

/// Header bytes that a message may have beyond what its size allows. Fragments are joined as they come, so a header
/// costs time and no memory; with the default `fragments_max` the count is what bounds it (1024 headers of at most 14
/// bytes), and this one bounds it where the count was raised.
const HEADER_BYTES_FREE: usize = 16 * 1024;
