//! WebSocket frames (RFC 6455, section 5), as far as the clients of the benchmark use them: whole messages, no extensions.

use std::ops::Range;

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The start of what a client sent.
pub(crate) enum Frame {
    /// Not all of it is here.
    Partial,
    /// `payload` is where its unmasked bytes are, `length` that of the whole frame.
    Whole {
        opcode: u8,
        payload: Range<usize>,
        length: usize,
    },
}

/// Reads the first frame of `input` and takes its mask off.
pub(crate) fn next(input: &mut [u8]) -> Frame {
    match header(input) {
        Some((opcode, start, end)) if end <= input.len() => {
            let (head, rest) = input.split_at_mut(start);
            if let (Some(mask), Some(payload)) = (head.last_chunk(), rest.get_mut(..end - start)) {
                unmask(payload, *mask);
            }
            Frame::Whole {
                opcode,
                payload: start..end,
                length: end,
            }
        }
        _ => Frame::Partial,
    }
}

/// Opcode, and where the payload of a masked frame starts and ends.
fn header(input: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*input.first()?, *input.get(1)?);
    let (length, start) = match second & !MASKED {
        126 => (
            usize::from(u16::from_be_bytes(*input.get(2..)?.first_chunk()?)),
            8,
        ),
        127 => (
            usize::try_from(u64::from_be_bytes(*input.get(2..)?.first_chunk()?)).ok()?,
            14,
        ),
        short => (usize::from(short), 6),
    };
    // The mask is the last part of the header.
    (input.len() >= start).then_some((first & 0x0f, start, start.checked_add(length)?))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
    for (byte, key) in rest.iter_mut().skip(4).zip(mask) {
        *byte ^= key;
    }
}

/// Appends a text frame whose payload is the Engine.IO message made of `parts`.
pub(crate) fn append_text(out: &mut Vec<u8>, parts: &[&[u8]]) {
    append(out, TEXT, parts);
}

/// Appends a frame, not masked, as a server sends it.
pub(crate) fn append(out: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(FINAL | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_lengths_are_read_back() {
        for length in [0, 1, 5, 7, 8, 9, 125, 126, 300, 65_535, 65_536] {
            let text: Vec<u8> = (0..length).map(|n: usize| b'a' + (n % 26) as u8).collect();
            let mut frame = Vec::new();
            append(&mut frame, TEXT, &[&text]);
            let start = frame.len() - length;
            // What the client does: set the bit, put the mask behind the header.
            frame[1] |= MASKED;
            let mask = [9, 8, 7, 6];
            let masked = text.iter().enumerate().map(|(n, byte)| byte ^ mask[n % 4]);
            let mut input = frame[..start].to_vec();
            input.extend_from_slice(&mask);
            input.extend(masked);
            input.push(0x81);
            match next(&mut input) {
                Frame::Whole {
                    opcode,
                    payload,
                    length: taken,
                } => {
                    assert_eq!((opcode, taken), (TEXT, input.len() - 1), "{length}");
                    assert_eq!(input[payload], text, "{length}");
                }
                Frame::Partial => panic!("{length} bytes were not read"),
            }
        }
    }
}
