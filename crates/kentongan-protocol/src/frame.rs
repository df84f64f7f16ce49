//! "Encode once": a finished outgoing message, shared by all its recipients.
//!
//! Owns the unmasked WebSocket form of a message (with its attachments, as one unit that nothing can come between) and
//! the two forms derived from it on first use: the polling packets and the compressed frames. It must not know sessions,
//! recipients, or what the message means.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::engine::packet::encode_base64;
use crate::engine::payload::SEPARATOR;
use crate::inline::{self, Inline, Sink as _};
use crate::websocket::deflate::compress_message;

/// A finished message. A clone costs a reference count; a text message costs two allocations in all.
#[derive(Debug, Clone)]
pub struct Frame(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    /// Invariant: whole unmasked frames with FIN, each one Engine.IO message, written by this module.
    websocket: Bytes,
    polling: OnceLock<Bytes>,
    /// `None` inside: no message was worth compressing, the plain form is sent.
    deflated: OnceLock<Option<Bytes>>,
    compress: bool,
}

const OPCODE_TEXT: u8 = 1;
const OPCODE_BINARY: u8 = 2;
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const HEADER_BYTES_MAX: usize = 10;

impl Frame {
    /// A text message that already begins with its Engine.IO type digit.
    ///
    /// In the polling form U+001E separates packets, so a text that holds one cannot be carried there; Socket.IO's JSON
    /// never does.
    pub fn from_text(engine_text: &str) -> Self {
        Self::build(OPCODE_TEXT, &[engine_text.as_bytes()], &[])
    }

    /// A Socket.IO header (the `4` is added) and its attachments.
    pub fn message(text: &str, attachments: &[Bytes]) -> Self {
        Self::from_parts(&[b"4", text.as_bytes()], attachments)
    }

    /// An Engine.IO binary message.
    pub fn binary(data: &[u8]) -> Self {
        Self::build(OPCODE_BINARY, &[data], &[])
    }

    /// Whether the frame may be compressed (the `compress` flag of an emit; true by default). Call it before sharing:
    /// on a shared frame it makes a copy of the bookkeeping.
    #[must_use]
    pub fn with_compress(mut self, compress: bool) -> Self {
        if self.0.compress != compress {
            let inner = Arc::make_mut(&mut self.0);
            inner.compress = compress;
            inner.deflated = OnceLock::new();
        }
        self
    }

    /// Whether the frame may be compressed by the transport.
    pub fn compress(&self) -> bool {
        self.0.compress
    }

    /// Whether both are the same message, and not only alike.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The finished WebSocket frames: header message and attachments in one piece.
    pub fn websocket(&self) -> &Bytes {
        &self.0.websocket
    }

    /// The same frames with every message of at least `threshold` bytes compressed (RFC 7692 without context takeover,
    /// so that one result serves all recipients). Computed once: the threshold of the first call counts.
    pub fn websocket_deflated(&self, threshold: usize) -> &Bytes {
        let deflated = self.0.deflated.get_or_init(|| {
            if self.0.compress {
                deflate(&self.0.websocket, threshold)
            } else {
                None
            }
        });
        deflated.as_ref().unwrap_or(&self.0.websocket)
    }

    /// The packets in their polling form, joined by the separator, none trailing. For one text message it is a part of
    /// the WebSocket form, not a copy.
    pub fn polling(&self) -> &Bytes {
        self.0.polling.get_or_init(|| polling(&self.0.websocket))
    }

    /// Bytes of the WebSocket form: what an outbox counts.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a frame has a header, so it is never empty"
    )]
    pub fn len(&self) -> usize {
        self.0.websocket.len()
    }

    /// A text message given in parts, the Engine.IO digit among them, and its attachments.
    pub(crate) fn from_parts(text: &[&[u8]], attachments: &[Bytes]) -> Self {
        Self::build(OPCODE_TEXT, text, attachments)
    }

    /// A binary message given in parts.
    pub(crate) fn binary_from_parts(parts: &[&[u8]]) -> Self {
        Self::build(OPCODE_BINARY, parts, &[])
    }

    fn build(opcode: u8, parts: &[&[u8]], attachments: &[Bytes]) -> Self {
        let len = parts.iter().map(|part| part.len()).sum();
        let head = header(FIN | opcode, len);
        let head = head.as_ref();
        let mut pieces = std::iter::once(head).chain(parts.iter().copied());
        let websocket = if attachments.is_empty() {
            inline::joined(head.len() + len, &mut pieces)
        } else {
            with_attachments(head.len() + len, &mut pieces, attachments)
        };
        Self(Arc::new(Inner {
            websocket,
            polling: OnceLock::new(),
            deflated: OnceLock::new(),
            compress: true,
        }))
    }
}

/// Writes into a buffer of the exact size: then the conversion to `Bytes` takes the buffer as it is.
fn with_attachments<'a>(
    text_len: usize,
    text: &mut impl Iterator<Item = &'a [u8]>,
    attachments: &[Bytes],
) -> Bytes {
    let frame_bytes = |data: &Bytes| header_bytes(data.len()) + data.len();
    let total = text_len + attachments.iter().map(frame_bytes).sum::<usize>();
    let mut out = Vec::with_capacity(total);
    for piece in text {
        out.extend_from_slice(piece);
    }
    for data in attachments {
        write_header(FIN | OPCODE_BINARY, data.len(), &mut out);
        out.extend_from_slice(data);
    }
    debug_assert_eq!(out.len(), total);
    Bytes::from(out)
}

const fn header_bytes(len: usize) -> usize {
    if len < 126 {
        2
    } else if len <= 0xffff {
        4
    } else {
        HEADER_BYTES_MAX
    }
}

/// An unmasked frame header (RFC 6455, 5.2).
fn header(first: u8, len: usize) -> Inline<HEADER_BYTES_MAX> {
    let mut header = Inline::new();
    match header_bytes(len) {
        2 => header.put(&[first, len as u8]),
        4 => {
            let [high, low] = (len as u16).to_be_bytes();
            header.put(&[first, 126, high, low]);
        }
        _ => {
            header.put(&[first, 127]);
            header.put(&(len as u64).to_be_bytes());
        }
    }
    header
}

fn write_header(first: u8, len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(header(first, len).as_ref());
}

/// The opcode and payload range of the frame at `at`. Only ever applied to what `write_header` wrote.
fn read_frame(frames: &[u8], at: usize) -> Option<(u8, std::ops::Range<usize>)> {
    let rest = frames.get(at..)?;
    let opcode = rest.first()? & 0x0f;
    let (header, len) = match *rest.get(1)? {
        126 => (
            4,
            usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?)),
        ),
        127 => (
            HEADER_BYTES_MAX,
            u64::from_be_bytes(rest.get(2..10)?.try_into().ok()?) as usize,
        ),
        len => (2, usize::from(len)),
    };
    Some((opcode, at + header..at + header + len))
}

fn frames(bytes: &[u8]) -> impl Iterator<Item = (u8, std::ops::Range<usize>)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (opcode, payload) = read_frame(bytes, at)?;
        at = payload.end;
        Some((opcode, payload))
    })
}

fn polling(websocket: &Bytes) -> Bytes {
    let mut rest = frames(websocket);
    let first = rest.next();
    let second = rest.next();
    if let (Some((OPCODE_TEXT, payload)), None) = (&first, &second) {
        return websocket.slice(payload.clone());
    }
    let mut out = Vec::new();
    for (opcode, payload) in frames(websocket) {
        let payload = websocket
            .get(payload)
            .expect("this module wrote whole frames");
        if !out.is_empty() {
            out.push(SEPARATOR);
        }
        match opcode {
            OPCODE_TEXT => out.extend_from_slice(payload),
            _ => out.extend_from_slice(encode_base64(payload).as_bytes()),
        }
    }
    Bytes::from(out)
}

/// `None` when no message was compressed. A message that deflate does not shrink stays plain.
fn deflate(websocket: &[u8], threshold: usize) -> Option<Bytes> {
    let mut out = Vec::new();
    let mut any = false;
    for (opcode, range) in frames(websocket) {
        let plain = websocket
            .get(range)
            .expect("this module wrote whole frames");
        let packed = if plain.len() >= threshold {
            Some(compress_message(plain))
        } else {
            None
        };
        match packed.filter(|packed| packed.len() < plain.len()) {
            Some(packed) => {
                any = true;
                write_header(FIN | RSV1 | opcode, packed.len(), &mut out);
                out.extend_from_slice(&packed);
            }
            None => {
                write_header(FIN | opcode, plain.len(), &mut out);
                out.extend_from_slice(plain);
            }
        }
    }
    any.then(|| Bytes::from(out))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn header_grows_at_the_documented_lengths() {
        let table: &[(usize, &[u8])] = &[
            (0, &[0x82, 0]),
            (1, &[0x82, 1]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ];
        for (len, header) in table {
            let frame = Frame::binary(&vec![7; *len]);
            assert_eq!(&frame.websocket()[..header.len()], *header, "{len}");
            assert_eq!(frame.len(), header.len() + len);
            assert!(
                frame.websocket()[header.len()..]
                    .iter()
                    .all(|&byte| byte == 7)
            );
        }
    }

    #[test]
    fn header_and_attachments_are_one_unit() {
        let attachments = [Bytes::from_static(&[1, 2, 3, 4]), Bytes::new()];
        let frame = Frame::message("52-[\"x\"]", &attachments);
        assert_eq!(
            frame.websocket().as_ref(),
            b"\x81\x09452-[\"x\"]\x82\x04\x01\x02\x03\x04\x82\x00".as_slice()
        );
        assert_eq!(frame.polling().as_ref(), b"452-[\"x\"]\x1ebAQIDBA==\x1eb");
    }

    #[test]
    fn polling_text_is_a_slice_of_the_websocket_form() {
        for len in [1, 125, 126, 70_000] {
            let text = "4".repeat(len);
            let frame = Frame::from_text(&text);
            assert_eq!(frame.polling().as_ref(), text.as_bytes());
            assert_eq!(
                frame.polling().as_ptr(),
                frame.websocket()[frame.len() - len..].as_ptr()
            );
        }
        assert_eq!(
            Frame::binary(&[1, 2, 3, 4]).polling().as_ref(),
            b"bAQIDBA=="
        );
    }

    fn inflate(payload: &[u8]) -> Vec<u8> {
        let mut input = payload.to_vec();
        input.extend_from_slice(&[0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff]);
        let mut plain = Vec::new();
        flate2::read::DeflateDecoder::new(input.as_slice())
            .read_to_end(&mut plain)
            .unwrap();
        plain
    }

    #[test]
    fn deflates_from_the_threshold_on() {
        let text = format!("4{}", "tong ".repeat(400));
        for (threshold, compressed) in [
            (text.len() - 1, true),
            (text.len(), true),
            (text.len() + 1, false),
        ] {
            let frame = Frame::from_text(&text);
            let bytes = frame.websocket_deflated(threshold);
            assert_eq!(
                bytes[0],
                if compressed { 0xc1 } else { 0x81 },
                "{threshold}"
            );
            let (_, payload) = read_frame(bytes, 0).unwrap();
            let payload = &bytes[payload];
            let plain = if compressed {
                inflate(payload)
            } else {
                payload.to_vec()
            };
            assert_eq!(plain, text.as_bytes());
            assert_eq!(
                bytes.as_ptr(),
                frame.websocket_deflated(0).as_ptr(),
                "compressed once"
            );
        }
    }

    #[test]
    fn deflates_each_message_of_a_unit_by_its_own_size() {
        let frame = Frame::message("51-[\"x\"]", &[Bytes::from(vec![0; 5000])]);
        let bytes = frame.websocket_deflated(1024);
        let opcodes: Vec<u8> = frames(bytes).map(|(opcode, _)| opcode).collect();
        assert_eq!(opcodes, [1, 2]);
        assert_eq!(bytes[0], 0x81);
        assert!(bytes.len() < 100);
    }

    #[test]
    fn compress_false_stays_plain() {
        let frame = Frame::from_text(&"4".repeat(5000));
        assert!(frame.compress());
        assert!(frame.websocket_deflated(0).len() < 100);
        let plain = frame.clone().with_compress(false);
        assert!(!plain.compress());
        assert_eq!(
            plain.websocket_deflated(0).as_ptr(),
            plain.websocket().as_ptr()
        );
        assert!(frame.compress(), "the shared frame is untouched");
    }

    #[test]
    fn incompressible_data_stays_plain() {
        let noise: Vec<u8> = (0_u32..64)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let frame = Frame::binary(&noise);
        assert_eq!(
            frame.websocket_deflated(0).as_ptr(),
            frame.websocket().as_ptr()
        );
    }
}
