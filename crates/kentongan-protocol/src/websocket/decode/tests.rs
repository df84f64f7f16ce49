//! Frames by name, whole streams in all splits, and the limits. The attacks are in `attacks`.

mod attacks;

use bytes::BytesMut;

use super::*;
use crate::websocket::deflate::compress_message;

/// An [`Incoming`] that outlives its feed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Error(ProtocolError),
}

impl Owned {
    fn of(item: &Result<Incoming<'_>, ProtocolError>) -> Self {
        match *item {
            Ok(Incoming::Text(text)) => Self::Text(text.to_owned()),
            Ok(Incoming::Binary(bytes)) => Self::Binary(bytes.to_vec()),
            Ok(Incoming::Ping(bytes)) => Self::Ping(bytes.to_vec()),
            Ok(Incoming::Pong(bytes)) => Self::Pong(bytes.to_vec()),
            Ok(Incoming::Close { code, reason }) => Self::Close(code, reason.to_owned()),
            Err(error) => Self::Error(error),
        }
    }
}

fn text(text: &str) -> Owned {
    Owned::Text(text.to_owned())
}

/// A client frame. The first byte is given as it is on the wire, so that it may be wrong.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode::frame(
        Opcode::Text,
        true,
        false,
        payload,
        Some([0xa1, 0x02, 0x7f, 0xd4]),
        &mut out,
    );
    out[0] = first;
    out.to_vec()
}

fn feed(decoder: &mut Decoder, bytes: &[u8], limits: &Limits) -> Vec<Owned> {
    let mut bytes = bytes.to_vec();
    let mut feed = decoder.feed(&mut bytes, limits);
    let mut items = Vec::new();
    while let Some(item) = feed.next() {
        items.push(Owned::of(&item));
    }
    items
}

/// What a server makes of a stream that arrives in these pieces.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Vec<Owned> {
    let mut decoder = Decoder::new(Role::Server, true);
    pieces
        .into_iter()
        .flat_map(|piece| feed(&mut decoder, piece, limits))
        .collect()
}

fn limits(message_bytes_max: usize) -> Limits {
    Limits {
        message_bytes_max,
        ..Limits::default()
    }
}

/// The result is the same whole, in every two pieces, and byte by byte.
fn check(stream: &[u8], limits: &Limits, expected: &[Owned]) {
    assert_eq!(decode([stream], limits), expected, "whole: {stream:02x?}");
    for cut in 0..=stream.len() {
        let (head, tail) = stream.split_at(cut);
        assert_eq!(decode([head, tail], limits), expected, "cut at {cut}");
    }
    assert_eq!(decode(stream.chunks(1), limits), expected, "byte by byte");
}

#[test]
fn every_violation_has_its_error() {
    use ProtocolError::*;
    fn refused(stream: &[u8], expected: ProtocolError, close_code: u16) {
        check(stream, &limits(1000), &[Owned::Error(expected)]);
        assert_eq!(expected.close_code(), close_code);
        // Whatever comes after it is not looked at.
        let mut more = stream.to_vec();
        more.extend(frame(0x81, b"more"));
        assert_eq!(decode([&more[..]], &limits(1000)), [Owned::Error(expected)]);
    }
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        refused(&frame(0x80 | opcode, b""), ReservedOpcode, 1002);
        refused(&frame(opcode, b"x"), ReservedOpcode, 1002);
    }
    for bits in [0x10, 0x20, 0x30, 0x50, 0x60, 0x70] {
        refused(&frame(0x81 | bits, b"x"), ReservedBits, 1002);
        refused(&frame(0x89 | bits, b""), ReservedBits, 1002);
    }
    for control in [0xc8, 0xc9, 0xca] {
        refused(&frame(control, b""), ReservedBits, 1002);
    }
    for control in [0x08, 0x09, 0x0a] {
        refused(&frame(control, b""), FragmentedControl, 1002);
    }
    for control in [0x88, 0x89, 0x8a] {
        refused(&frame(control, &[b'x'; 126]), ControlTooLong, 1002);
        refused(
            &[control, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, b'x'],
            ControlTooLong,
            1002,
        );
    }
    refused(
        &[0x81, 0x05, b'h', b'e', b'l', b'l', b'o'],
        UnmaskedFrame,
        1002,
    );
    refused(&[0x89, 0x00], UnmaskedFrame, 1002);
    refused(&[0x81, 0xfe, 0, 125, 1, 2, 3, 4], LengthNotMinimal, 1002);
    refused(
        &[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4],
        LengthNotMinimal,
        1002,
    );
    refused(&frame(0x80, b"x"), UnexpectedContinuation, 1002);
    refused(&frame(0x00, b"x"), UnexpectedContinuation, 1002);
    refused(
        &[frame(0x01, b"a"), frame(0x81, b"b")].concat(),
        ExpectedContinuation,
        1002,
    );
    refused(
        &[frame(0x02, b"a"), frame(0x02, b"b")].concat(),
        ExpectedContinuation,
        1002,
    );
    refused(
        &[frame(0x41, b""), frame(0xc0, b"\x00")].concat(),
        ReservedBits,
        1002,
    );
    refused(&frame(0x88, b"\x03"), CloseTruncated, 1002);
    for code in [
        0,
        999,
        1004,
        1005,
        1006,
        1015,
        1016,
        1100,
        2000,
        2999,
        5000,
        u16::MAX,
    ] {
        refused(&frame(0x88, &code.to_be_bytes()), CloseCodeInvalid, 1002);
    }
    refused(&frame(0x88, b"\x03\xe8\xff"), InvalidUtf8, 1007);
    refused(&frame(0x81, b"\xce\xba\xed\xa0\x80"), InvalidUtf8, 1007);
    refused(&frame(0x81, b"\xe2\x82"), InvalidUtf8, 1007);
    refused(
        &[frame(0x01, b"\xe2"), frame(0x80, b"\x82")].concat(),
        InvalidUtf8,
        1007,
    );
    refused(
        &[frame(0x01, b"\xe2"), frame(0x80, b"x")].concat(),
        InvalidUtf8,
        1007,
    );
    refused(&frame(0xc1, b"\xff\xff"), InvalidDeflate, 1007);
    refused(&frame(0xc2, b""), InvalidDeflate, 1007);
    refused(
        &frame(0xc1, &compress_message(b"\xff\xfe")),
        InvalidUtf8,
        1007,
    );
    refused(&frame(0x82, &[0; 1001]), MessageTooBig, 1009);
    refused(
        &[frame(0x02, &[0; 1000]), frame(0x80, b"x")].concat(),
        MessageTooBig,
        1009,
    );
    refused(
        &frame(0xc2, &compress_message(&[0; 1001])),
        MessageTooBig,
        1009,
    );
}

#[test]
fn rsv1_needs_a_negotiated_extension() {
    let mut decoder = Decoder::new(Role::Server, false);
    let items = feed(
        &mut decoder,
        &frame(0xc1, &compress_message(b"hi")),
        &limits(100),
    );
    assert_eq!(items, [Owned::Error(ProtocolError::ReservedBits)]);
}

#[test]
fn client_role_expects_no_masks() {
    let mut out = BytesMut::new();
    encode::message(Opcode::Text, b"to the client", &mut out);
    let items = feed(&mut Decoder::new(Role::Client, false), &out, &limits(100));
    assert_eq!(items, [text("to the client")]);
    let items = feed(
        &mut Decoder::new(Role::Client, false),
        &frame(0x81, b"x"),
        &limits(100),
    );
    assert_eq!(items, [Owned::Error(ProtocolError::MaskedFrame)]);
}

#[test]
fn close_codes_that_may_travel() {
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999_u16,
    ] {
        let payload = [&code.to_be_bytes()[..], "grüße".as_bytes()].concat();
        check(
            &frame(0x88, &payload),
            &limits(10),
            &[Owned::Close(Some(code), "grüße".to_owned())],
        );
    }
    check(
        &frame(0x88, b""),
        &limits(10),
        &[Owned::Close(None, String::new())],
    );
    let after = [
        frame(0x88, b"\x03\xe8"),
        frame(0x81, b"late"),
        vec![0xff; 20],
    ]
    .concat();
    check(
        &after,
        &limits(10),
        &[Owned::Close(Some(1000), String::new())],
    );
}

/// Every kind of frame, every form of length below 64 KiB, control frames in the midst of fragments.
fn mixed_stream() -> (Vec<u8>, Vec<Owned>) {
    let long = "tok tok tok… ".repeat(12);
    let deflated = compress_message(long.as_bytes());
    let (front, back) = deflated.split_at(7);
    let stream = [
        frame(0x81, "2probe→".as_bytes()),
        frame(0x82, b""),
        frame(0x81, b""),
        frame(0x81, long.as_bytes()),
        frame(0x89, b"are you there"),
        frame(0x01, "κό".as_bytes()),
        frame(0x8a, b""),
        frame(0x00, &"σμε".as_bytes()[..3]),
        frame(0x89, b"still?"),
        frame(0x00, b""),
        frame(0x80, &"σμε".as_bytes()[3..]),
        frame(0xc1, &deflated),
        frame(0x41, front),
        frame(0x89, b"between"),
        frame(0x00, b""),
        frame(0x80, back),
        frame(0xc2, &[0]),
        frame(0x02, &[1, 2, 3]),
        frame(0x80, &[]),
        frame(0x88, b"\x03\xe9bye"),
    ]
    .concat();
    let expected = vec![
        text("2probe→"),
        Owned::Binary(vec![]),
        text(""),
        text(&long),
        Owned::Ping(b"are you there".to_vec()),
        Owned::Pong(vec![]),
        Owned::Ping(b"still?".to_vec()),
        text("κόσμε"),
        text(&long),
        Owned::Ping(b"between".to_vec()),
        text(&long),
        Owned::Binary(vec![]),
        Owned::Binary(vec![1, 2, 3]),
        Owned::Close(Some(1001), "bye".to_owned()),
    ];
    (stream, expected)
}

#[test]
fn a_stream_is_the_same_in_all_splits() {
    let (stream, expected) = mixed_stream();
    check(&stream, &limits(1000), &expected);
    for size in 2..40 {
        assert_eq!(
            decode(stream.chunks(size), &limits(1000)),
            expected,
            "pieces of {size}"
        );
    }
}

#[test]
fn a_feed_that_is_dropped_early_keeps_the_rest() {
    let (stream, expected) = mixed_stream();
    let mut decoder = Decoder::new(Role::Server, true);
    let mut items = Vec::new();
    let mut input = &mut stream.clone()[..];
    for _ in &expected {
        // One item per feed, and no new bytes after the first.
        items.extend(
            decoder
                .feed(input, &limits(1000))
                .next()
                .map(|item| Owned::of(&item)),
        );
        input = &mut [];
    }
    assert_eq!(items, expected);
}

#[test]
fn a_whole_frame_is_lent_from_the_input() {
    let mut input = frame(0x82, &[7; 500]);
    let range = input.as_ptr_range();
    let limits = limits(1000);
    let mut decoder = Decoder::new(Role::Server, false);
    let mut feed = decoder.feed(&mut input, &limits);
    let Some(Ok(Incoming::Binary(payload))) = feed.next() else {
        panic!("a binary message")
    };
    assert_eq!(payload, [7; 500]);
    assert!(range.contains(&payload.as_ptr()), "no copy");
}

#[test]
fn invalid_text_fails_before_its_end() {
    fn check(first: &[u8], then: &[u8]) {
        let mut decoder = Decoder::new(Role::Server, false);
        assert_eq!(feed(&mut decoder, first, &limits(1000)), []);
        assert_eq!(
            feed(&mut decoder, then, &limits(1000)),
            [Owned::Error(ProtocolError::InvalidUtf8)]
        );
    }
    // Autobahn 6.4: the first wrong byte decides, in a fragment and in a part of a frame.
    check(&frame(0x01, "κόσμε".as_bytes()), &frame(0x00, b"\xf4\x90"));
    let whole = frame(0x81, b"\xce\xba\xf4\x90\x80\x80edited");
    check(&whole[..9], &whole[9..10]);
}

#[test]
fn the_message_limit_is_inclusive_in_every_form() {
    fn check(len: usize, bytes_max: usize, fits: bool) {
        let data = vec![b'a'; len];
        let (front, back) = data.split_at(len / 2);
        let deflated = compress_message(&data);
        let (deflated_front, deflated_back) = deflated.split_at(deflated.len() / 2);
        let forms = [
            frame(0x81, &data),
            [frame(0x01, front), frame(0x80, back)].concat(),
            frame(0xc1, &deflated),
            [frame(0x41, deflated_front), frame(0x80, deflated_back)].concat(),
        ];
        let text = Owned::Text(String::from_utf8(data).unwrap());
        let expected = if fits {
            text
        } else {
            Owned::Error(ProtocolError::MessageTooBig)
        };
        for form in forms {
            for size in [form.len(), 1, 999] {
                assert_eq!(
                    decode(form.chunks(size), &limits(bytes_max)),
                    std::slice::from_ref(&expected),
                    "{len} of {bytes_max}"
                );
            }
        }
    }
    for bytes_max in [1, 125, 126, 4096, 65_535, 65_536] {
        check(bytes_max - 1, bytes_max, true);
        check(bytes_max, bytes_max, true);
        check(bytes_max + 1, bytes_max, false);
    }
}

/// A message that deflate cannot shrink is still a message of its own length.
#[test]
fn incompressible_message_at_the_limit() {
    let mut x = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    })
    .take(100_000)
    .collect();
    let deflated = compress_message(&noise);
    assert!(deflated.len() > noise.len());
    let expected = [Owned::Binary(noise.clone())];
    assert_eq!(
        decode([&frame(0xc2, &deflated)[..]], &limits(noise.len())),
        expected
    );
    assert_eq!(
        decode(frame(0xc2, &deflated).chunks(4096), &limits(noise.len())),
        expected
    );
}

#[test]
fn idle_decoder_is_small_and_owns_nothing() {
    assert!(size_of::<Decoder>() <= 64, "{}", size_of::<Decoder>());
    let (stream, _) = mixed_stream();
    let mut decoder = Decoder::new(Role::Server, true);
    assert_eq!(decoder.heap_bytes(), 0);
    let end_of_fragments = stream.len() - frame(0x88, b"\x03\xe9bye").len();
    let mut pending = 0;
    for byte in &stream[..end_of_fragments] {
        feed(&mut decoder, &[*byte], &limits(1000));
        assert_eq!(decoder.is_pending(), decoder.heap_bytes() > 0);
        pending += usize::from(decoder.is_pending());
    }
    assert!(
        pending > end_of_fragments / 2,
        "{pending} of {end_of_fragments}"
    );
    assert!(!decoder.is_pending());
    assert_eq!(
        decoder.heap_bytes(),
        0,
        "all was freed with the last message"
    );
}

#[test]
fn errors_have_distinct_codes() {
    use ProtocolError::*;
    let all = [
        ReservedOpcode,
        ReservedBits,
        UnmaskedFrame,
        MaskedFrame,
        FragmentedControl,
        ControlTooLong,
        LengthHighBit,
        LengthNotMinimal,
        UnexpectedContinuation,
        ExpectedContinuation,
        CloseTruncated,
        CloseCodeInvalid,
        InvalidUtf8,
        InvalidDeflate,
        MessageTooBig,
        TooManyFragments,
    ];
    let codes: std::collections::BTreeSet<_> = all.iter().map(|error| error.code()).collect();
    assert_eq!(codes.len(), all.len());
    for error in all {
        assert!(error.code().len() <= 123, "fits a close reason");
        assert_ne!(error.code(), error.to_string());
    }
}
