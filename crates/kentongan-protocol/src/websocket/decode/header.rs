//! The header of one frame: parsed and held against RFC 6455 section 5.2, before any payload is looked at.

use super::{ProtocolError, Role};
use crate::websocket::{Opcode, encode::CONTROL_BYTES_MAX};

/// A frame header that is valid by itself; whether it may come *now* is the decoder's question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    /// RSV1: the first frame of a compressed message.
    pub(super) compressed: bool,
    /// Zero for frames of a server, where it changes nothing.
    pub(super) mask: [u8; 4],
    /// Bytes of the header itself.
    pub(super) size: usize,
    /// Bytes of the payload, below 2^63. Not to be used in arithmetic before it was held against a limit.
    pub(super) len: u64,
}

/// Parses the header at the start of `bytes`; `None` if its end is still missing.
#[inline]
pub(super) fn parse(
    bytes: &[u8],
    role: Role,
    deflate: bool,
) -> Result<Option<Header>, ProtocolError> {
    let [first, rest @ ..] = bytes else {
        return Ok(None);
    };
    let fin = first & 0x80 != 0;
    let compressed = first & 0x40 != 0;
    let opcode = Opcode::from_wire(first & 0x0f).ok_or(ProtocolError::ReservedOpcode)?;
    if first & 0x30 != 0
        || (compressed && !(deflate && matches!(opcode, Opcode::Text | Opcode::Binary)))
    {
        return Err(ProtocolError::ReservedBits);
    }
    if opcode.is_control() && !fin {
        return Err(ProtocolError::FragmentedControl);
    }
    let [second, rest @ ..] = rest else {
        return Ok(None);
    };
    let masked = second & 0x80 != 0;
    match (role, masked) {
        (Role::Server, false) => return Err(ProtocolError::UnmaskedFrame),
        (Role::Client, true) => return Err(ProtocolError::MaskedFrame),
        _ => {}
    }
    let short = second & 0x7f;
    if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
        return Err(ProtocolError::ControlTooLong);
    }
    let Some((len, rest)) = length(short, rest)? else {
        return Ok(None);
    };
    let (mask, rest) = match (masked, rest.split_first_chunk::<4>()) {
        (false, _) => ([0; 4], rest),
        (true, Some((mask, rest))) => (*mask, rest),
        (true, None) => return Ok(None),
    };
    Ok(Some(Header {
        opcode,
        fin,
        compressed,
        mask,
        size: bytes.len() - rest.len(),
        len,
    }))
}

/// The payload length, and what follows it. The high bit must be clear and the form the shortest possible.
#[inline]
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    let (len, rest, minimum) = match short {
        126 => match rest.split_first_chunk::<2>() {
            Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), rest, 126),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => (u64::from_be_bytes(*bytes), rest, 0x1_0000),
            None => return Ok(None),
        },
        short => (u64::from(short), rest, 0),
    };
    if len > i64::MAX as u64 {
        return Err(ProtocolError::LengthHighBit);
    }
    if len < minimum {
        return Err(ProtocolError::LengthNotMinimal);
    }
    Ok(Some((len, rest)))
}
