//! Values to WebSocket frames, for both roles.
//!
//! Owns the frame header and the control frames. A client gives the mask of each frame, since randomness is not for
//! this crate; a server gives none. What is compressed is compressed before ([`super::deflate`]).

use bytes::{BufMut, Bytes, BytesMut};

use super::{Opcode, mask};

/// Bytes of a frame header in front of `len` payload bytes: 2 to 10, and 4 more with a mask.
pub const fn header_len(len: usize, masked: bool) -> usize {
    let length_bytes = match len {
        0..126 => 0,
        126..=0xffff => 2,
        _ => 8,
    };
    2 + length_bytes + if masked { 4 } else { 0 }
}

/// Appends a frame header for `len` payload bytes; the payload (already masked, if there is a mask) is to follow.
///
/// `rsv1` marks the first frame of a compressed message (RFC 7692 section 6).
pub fn header(
    opcode: Opcode,
    fin: bool,
    rsv1: bool,
    len: usize,
    mask: Option<[u8; 4]>,
    out: &mut BytesMut,
) {
    out.put_u8(u8::from(fin) << 7 | u8::from(rsv1) << 6 | opcode as u8);
    let masked = u8::from(mask.is_some()) << 7;
    match len {
        0..126 => out.put_u8(masked | len as u8),
        126..=0xffff => {
            out.put_u8(masked | 126);
            out.put_u16(len as u16);
        }
        _ => {
            out.put_u8(masked | 127);
            out.put_u64(len as u64);
        }
    }
    if let Some(mask) = mask {
        out.put_slice(&mask);
    }
}

/// Appends a whole frame; with a mask the payload is masked on the way.
pub fn frame(
    opcode: Opcode,
    fin: bool,
    rsv1: bool,
    payload: &[u8],
    mask: Option<[u8; 4]>,
    out: &mut BytesMut,
) {
    out.reserve(header_len(payload.len(), mask.is_some()) + payload.len());
    header(opcode, fin, rsv1, payload.len(), mask, out);
    let begin = out.len();
    out.put_slice(payload);
    if let (Some(mask), Some(written)) = (mask, out.get_mut(begin..)) {
        mask::apply(written, mask);
    }
}

/// Appends a message as one unmasked frame: the server's form.
pub fn message(opcode: Opcode, payload: &[u8], out: &mut BytesMut) {
    frame(opcode, true, false, payload, None, out);
}

/// Appends a message as one masked frame: the client's form.
pub fn message_masked(opcode: Opcode, payload: &[u8], mask: [u8; 4], out: &mut BytesMut) {
    frame(opcode, true, false, payload, Some(mask), out);
}

/// A server's close frame. See [`close_masked`] for what becomes of `code` and `reason`.
pub fn close(code: Option<u16>, reason: &str) -> Bytes {
    close_frame(code, reason, None)
}

/// A client's close frame.
///
/// Without a code the frame is empty. A code that may not travel (1005, 1006, 1015 and the unassigned ones, RFC 6455
/// section 7.4) is left out likewise. The reason is cut to 123 bytes, at a character.
pub fn close_masked(code: Option<u16>, reason: &str, mask: [u8; 4]) -> Bytes {
    close_frame(code, reason, Some(mask))
}

/// A server's pong. The payload is that of the ping it answers; beyond 125 bytes it is cut.
pub fn pong(payload: &[u8]) -> Bytes {
    control(Opcode::Pong, payload, None)
}

/// A client's pong.
pub fn pong_masked(payload: &[u8], mask: [u8; 4]) -> Bytes {
    control(Opcode::Pong, payload, Some(mask))
}

/// A server's ping. Beyond 125 bytes the payload is cut.
pub fn ping(payload: &[u8]) -> Bytes {
    control(Opcode::Ping, payload, None)
}

/// A client's ping.
pub fn ping_masked(payload: &[u8], mask: [u8; 4]) -> Bytes {
    control(Opcode::Ping, payload, Some(mask))
}

/// Whether a close code may travel in a frame: RFC 6455 section 7.4, with 1012 to 1014 from the IANA registry.
pub const fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

fn close_frame(code: Option<u16>, reason: &str, mask: Option<[u8; 4]>) -> Bytes {
    let Some(code) = code.filter(|code| is_close_code(*code)) else {
        return control(Opcode::Close, &[], mask);
    };
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    let mut payload = Vec::with_capacity(CONTROL_BYTES_MAX);
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason);
    control(Opcode::Close, &payload, mask)
}

fn control(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Bytes {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    let mut out =
        BytesMut::with_capacity(header_len(payload.len(), mask.is_some()) + payload.len());
    frame(opcode, true, false, payload, mask, &mut out);
    out.freeze()
}

/// Payload bytes of a control frame, RFC 6455 section 5.5.
pub(super) const CONTROL_BYTES_MAX: usize = 125;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_bytes() {
        fn check(len: usize, mask: Option<[u8; 4]>, expected: &[u8]) {
            let mut out = BytesMut::new();
            header(Opcode::Text, true, false, len, mask, &mut out);
            assert_eq!(&out[..], expected, "length {len}");
            assert_eq!(
                header_len(len, mask.is_some()),
                expected.len(),
                "length {len}"
            );
        }
        check(0, None, &[0x81, 0]);
        check(125, None, &[0x81, 125]);
        check(126, None, &[0x81, 126, 0, 126]);
        check(0xffff, None, &[0x81, 126, 0xff, 0xff]);
        check(0x1_0000, None, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        check(5, Some([1, 2, 3, 4]), &[0x81, 0x85, 1, 2, 3, 4]);
        check(126, Some([1, 2, 3, 4]), &[0x81, 0xfe, 0, 126, 1, 2, 3, 4]);
    }

    #[test]
    fn flags_and_opcodes() {
        fn check(opcode: Opcode, fin: bool, rsv1: bool, expected: u8) {
            let mut out = BytesMut::new();
            header(opcode, fin, rsv1, 0, None, &mut out);
            assert_eq!(out[0], expected);
        }
        check(Opcode::Text, true, false, 0x81);
        check(Opcode::Text, false, true, 0x41);
        check(Opcode::Binary, true, true, 0xc2);
        check(Opcode::Continuation, false, false, 0x00);
        check(Opcode::Close, true, false, 0x88);
    }

    #[test]
    fn rfc_6455_section_5_7_examples() {
        let mut out = BytesMut::new();
        message(Opcode::Text, b"Hello", &mut out);
        assert_eq!(&out[..], [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        out.clear();
        message_masked(Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d], &mut out);
        assert_eq!(
            &out[..],
            [
                0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58
            ]
        );
        assert_eq!(
            &pong_masked(b"Hello", [0x37, 0xfa, 0x21, 0x3d])[..2],
            [0x8a, 0x85]
        );
        assert_eq!(
            &ping(b"Hello")[..],
            [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]
        );
    }

    /// The peer reads exactly the code and the reason, never what else lay in a buffer (ws CVE-2026-45736).
    #[test]
    fn cve_2026_45736_close_reason_bytes() {
        fn check(code: Option<u16>, reason: &str, expected_payload: &[u8]) {
            let frame = close(code, reason);
            let mut expected = vec![0x88, expected_payload.len() as u8];
            expected.extend_from_slice(expected_payload);
            assert_eq!(&frame[..], &expected[..], "{code:?} {reason:?}");
        }
        check(None, "", b"");
        check(None, "dropped with the code", b"");
        check(Some(1000), "", b"\x03\xe8");
        check(Some(1009), "too big", b"\x03\xf1too big");
        check(Some(4999), "ü", b"\x13\x87\xc3\xbc");
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            check(Some(code), "no such code", b"");
        }
        let cut = close(Some(1000), &"ü".repeat(100));
        assert_eq!(
            cut[1], 124,
            "122 bytes of reason: the 62nd character does not fit whole"
        );
        assert_eq!(std::str::from_utf8(&cut[4..]).map(str::len), Ok(122));
    }

    #[test]
    fn control_payload_is_cut_at_125() {
        assert_eq!(pong(&[7; 125]).len(), 127);
        assert_eq!(pong(&[7; 126]).len(), 127);
        assert_eq!(ping_masked(&[7; 300], [1; 4]).len(), 131);
    }
}
