//! Tables for msgpack packets: the bytes that notepack writes, limits at their edges, truncation everywhere.

use super::*;
use crate::frame::Frame;
use crate::limits::DEPTH_CEILING;
use crate::socket::packet::RESERVED_EVENTS;
use crate::socket::value::Value;

mod args;

/// The message in a short frame.
fn payload(frame: &Frame) -> Bytes {
    frame.websocket().slice(2..)
}

fn decode(data: &[u8]) -> Result<Packet, DecodeError> {
    decode_packet(data, &Limits::default())
}

/// Joins pieces of a message; text pieces are short strings with their head.
fn bytes(pieces: &[&[u8]]) -> Vec<u8> {
    pieces.concat()
}

fn short(text: &str) -> Vec<u8> {
    let mut out = vec![0xa0 | u8::try_from(text.len()).unwrap()];
    out.extend_from_slice(text.as_bytes());
    out
}

/// `{type, nsp: "/", data}`.
fn packet(packet_type: u8, data: &[u8]) -> Vec<u8> {
    bytes(&[
        &[0x83],
        &short("type"),
        &[packet_type],
        &short("nsp"),
        &short("/"),
        &short("data"),
        data,
    ])
}

/// An event "e" whose arguments are `args`.
fn event_of(count: u8, args: &[u8]) -> Vec<u8> {
    packet(2, &bytes(&[&[0x90 | (count + 1)], &short("e"), args]))
}

fn arguments(packet: &Packet) -> Vec<Value> {
    let (Packet::Event { args, .. }
    | Packet::Ack { args, .. }
    | Packet::ConnectError { data: args, .. }
    | Packet::Connect {
        auth: Some(args), ..
    }) = packet
    else {
        panic!("no arguments in {packet:?}");
    };
    values(args.msgpack().unwrap(), u32::try_from(args.len()).unwrap()).unwrap()
}

fn int(number: i64) -> Value {
    number.into()
}

/// What a stock server writes for CONNECT, `pid` undefined (protocol notes 10).
#[test]
fn measured_server_connect() {
    let data = bytes(&[
        &[0x83],
        &short("type"),
        &[0x00],
        &short("data"),
        &[0x82],
        &short("sid"),
        &short("abc"),
        &short("pid"),
        &[0xd4, 0, 0],
        &short("nsp"),
        &short("/"),
    ]);
    let packet = decode(&data).unwrap();
    assert_eq!(packet.namespace(), "/");
    let auth = arguments(&packet);
    assert_eq!(auth[0].get("sid"), Some(&Value::from("abc")));
    assert_eq!(auth[0].get("pid"), Some(&Value::Null));
}

#[test]
fn measured_client_connect_without_auth() {
    let packet = decode(&packet(0, &[0xd4, 0, 0])).unwrap();
    assert!(matches!(packet, Packet::Connect { auth: None, .. }));
}

/// A client's EVENT, with `options`, id and the keys in the order of socket.io-client.
#[test]
fn measured_client_event_with_options() {
    let data = bytes(&[
        &[0x85],
        &short("type"),
        &[0x02],
        &short("data"),
        &[0x92],
        &short("hello"),
        &[0x07],
        &short("options"),
        &[0x81],
        &short("compress"),
        &[0xc3],
        &short("id"),
        &[0x0d],
        &short("nsp"),
        &short("/admin"),
    ]);
    let packet = decode(&data).unwrap();
    let Packet::Event { ns, id, name, .. } = &packet else {
        panic!("{packet:?}");
    };
    assert_eq!((&**ns, *id, &**name), ("/admin", Some(13), "hello"));
    assert_eq!(arguments(&packet), [int(7)]);
}

#[test]
fn measured_ack_with_id_first() {
    let data = bytes(&[
        &[0x84],
        &short("id"),
        &[0xcd, 0x01, 0x00],
        &short("type"),
        &[0x03],
        &short("data"),
        &[0x91],
        &short("ok"),
        &short("nsp"),
        &short("/"),
    ]);
    let packet = decode(&data).unwrap();
    assert!(matches!(packet, Packet::Ack { id: 256, .. }));
    assert_eq!(arguments(&packet), [Value::from("ok")]);
}

#[test]
fn extensions_of_notepack_are_normalised() {
    let check = |args: &[u8], expected: Value| {
        assert_eq!(arguments(&decode(&event_of(1, args)).unwrap()), [expected]);
    };
    let binary = |data: &'static [u8]| Value::Binary(Bytes::from_static(data));
    check(&[0xc7, 3, 0, 1, 2, 3], binary(&[1, 2, 3]));
    check(&[0xc7, 0, 0], binary(&[]));
    check(&[0xc8, 0, 1, 0, 9], binary(&[9]));
    check(&[0xc9, 0, 0, 0, 1, 0, 9], binary(&[9]));
    check(&[0xc4, 2, 1, 2], binary(&[1, 2]));
    check(&[0xd4, 0, 0], Value::Null);
    check(
        &[0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        "1970-01-01T00:00:00.001Z".into(),
    );
    check(&bytes(&[&[0xd7, 0], &i64::MIN.to_be_bytes()]), Value::Null);
    check(
        &[0x91, 0x81, 0xa1, b'k', 0xc7, 1, 0, 5],
        Value::Array(vec![Value::Object(vec![("k".into(), binary(&[5]))])]),
    );
}

#[test]
fn other_extensions_are_refused() {
    let at = event_of(0, &[]).len();
    for args in [
        &[0xd4, 1, 0][..],
        &[0xd5, 0, 0, 0],
        &[0xd6, 0xff, 0, 0, 0, 0],
        &[0xd7, 0xff, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0xc7, 1, 5, 0],
    ] {
        let error = decode(&event_of(1, args)).unwrap_err();
        assert_eq!(error, DecodeError::MsgpackExtension { at }, "{args:x?}");
    }
}

#[test]
fn dates_are_those_of_javascript() {
    let check = |millis, expected: &str| {
        assert_eq!(date::iso(millis).as_deref(), Some(expected));
    };
    check(0, "1970-01-01T00:00:00.000Z");
    check(-1, "1969-12-31T23:59:59.999Z");
    check(951_782_400_000, "2000-02-29T00:00:00.000Z");
    check(1_700_000_000_123, "2023-11-14T22:13:20.123Z");
    check(253_402_300_799_999, "9999-12-31T23:59:59.999Z");
    check(253_402_300_800_000, "+010000-01-01T00:00:00.000Z");
    check(-62_167_219_200_000, "0000-01-01T00:00:00.000Z");
    check(-62_198_755_200_000, "-000001-01-01T00:00:00.000Z");
    check(8_640_000_000_000_000, "+275760-09-13T00:00:00.000Z");
    check(-8_640_000_000_000_000, "-271821-04-20T00:00:00.000Z");
    assert_eq!(date::iso(8_640_000_000_000_001), None);
}

#[test]
fn refusals() {
    let check = |data: &[u8], expected: DecodeError| {
        assert_eq!(decode(data).unwrap_err(), expected, "{data:x?}");
    };
    let nil: &[u8] = &[0xc0];
    check(&[], DecodeError::Empty);
    check(&[0x90], DecodeError::Msgpack { at: 0 });
    check(&[0xc1], DecodeError::Msgpack { at: 0 });
    check(&[0x80], DecodeError::UnknownType);
    check(&packet(5, nil), DecodeError::UnknownType);
    check(&packet(0xff, nil), DecodeError::UnknownType);
    check(&packet(0, nil), DecodeError::Payload);
    check(&packet(0, &[0x90]), DecodeError::Payload);
    check(&packet(1, &[0x80]), DecodeError::Payload);
    check(&packet(2, &[0x90]), DecodeError::Payload);
    check(&packet(2, &[0x80]), DecodeError::Payload);
    check(&packet(2, &[0xd4, 0, 0]), DecodeError::Payload);
    check(&packet(2, &[0x91, 0xc0]), DecodeError::EventNameType);
    check(&packet(2, &[0x91, 0x90]), DecodeError::EventNameType);
    check(&packet(3, &[0x90]), DecodeError::AckWithoutId);
    check(&packet(3, &[0x80]), DecodeError::Payload);
    check(&packet(4, nil), DecodeError::Payload);
    check(
        &packet(2, &[0x92, 0xa1, b'e', 0xa1, 0xff]),
        DecodeError::Utf8 { at: 22 },
    );
    check(&event_of(1, &[0x81, 0x01, 0x01]), DecodeError::Key);
    let twice = [0x82, 0xa1, b'k', 0x01, 0xa1, b'k', 0x02];
    check(&event_of(1, &twice), DecodeError::DuplicateKey);
    check(&bytes(&[&event_of(0, &[]), nil]), DecodeError::TrailingData);
    let twice = bytes(&[&[0x82], &short("type"), &[1], &short("type"), &[1]]);
    check(&twice, DecodeError::DuplicateKey);
    let no_namespace = bytes(&[&[0x81], &short("type"), &[1]]);
    check(&no_namespace, DecodeError::Namespace);
    for ns in ["", "admin", "/a\n"] {
        check(&encode_disconnect(ns), DecodeError::Namespace);
    }
    for id in [
        &[0xff][..],
        &[0xa1, b'1'],
        nil,
        &[0xcb, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let with_id = bytes(&[&[0x82], &short("type"), &[3], &short("id"), id]);
        check(&with_id, DecodeError::Id);
    }
}

/// A map inside the value of another map does not share its keys with it.
#[test]
fn the_same_key_in_different_maps_is_accepted() {
    let nested = [
        0x82, 0xa1, b'a', 0x81, 0xa1, b'a', 0x01, 0xa1, b'b', 0x81, 0xa1, b'a', 0x02,
    ];
    assert!(decode(&event_of(1, &nested)).is_ok());
    let later = [0x82, 0xa1, b'a', 0x81, 0xa1, b'b', 0x01, 0xa1, b'a', 0x02];
    assert_eq!(
        decode(&event_of(1, &later)).unwrap_err(),
        DecodeError::DuplicateKey
    );
}

#[test]
fn limits_are_inclusive() {
    let mut limits = Limits {
        event_name_bytes_max: 3,
        namespace_bytes_max: 4,
        object_keys_max: 4,
        ..Limits::default()
    };
    let check = |data: &[u8], expected: Option<DecodeError>| {
        assert_eq!(decode_packet(data, &limits).err(), expected, "{data:x?}");
    };
    check(
        &payload(&encode_event("/abc", "abc", &[], 0, None, None)),
        None,
    );
    check(
        &payload(&encode_event("/", "abcd", &[], 0, None, None)),
        Some(DecodeError::EventNameTooLong { bytes: 4, max: 3 }),
    );
    check(
        &payload(&encode_event("/abcd", "abc", &[], 0, None, None)),
        Some(DecodeError::NamespaceTooLong { bytes: 5, max: 4 }),
    );
    let keys = |count: u8| {
        let mut map = vec![0x80 | count];
        (0..count).for_each(|key| map.extend([0xa1, b'a' + key, 0xc0]));
        event_of(1, &map)
    };
    check(&keys(4), None);
    check(&keys(5), Some(DecodeError::TooManyKeys { max: 4 }));
    let data = event_of(0, &[]);
    limits.message_bytes_max = data.len();
    assert!(decode_packet(&data, &limits).is_ok());
    limits.message_bytes_max = data.len() - 1;
    assert_eq!(
        decode_packet(&data, &limits).unwrap_err(),
        DecodeError::TooLarge {
            bytes: data.len(),
            max: data.len() - 1
        }
    );
}

/// The array of the event is the first level, as in the JSON form.
#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| {
        let arrays = vec![0x91; depth - 2];
        event_of(1, &bytes(&[&arrays, &[0x90]]))
    };
    let mut limits = Limits::default();
    let too_deep = |max| Some(DecodeError::TooDeep { max });
    for max in [2, 3, 64, DEPTH_CEILING] {
        limits.depth_max = max;
        if max > 2 {
            assert_eq!(decode_packet(&nested(max - 1), &limits).err(), None);
        }
        let packet = decode_packet(&nested(max), &limits).unwrap();
        assert_eq!(arguments(&packet).len(), 1);
        assert_eq!(
            decode_packet(&nested(max + 1), &limits).err(),
            too_deep(max)
        );
    }
    limits.depth_max = 1_000_000;
    let error = decode_packet(&nested(500_000), &limits).err();
    assert_eq!(error, too_deep(DEPTH_CEILING));
    let skipped = bytes(&[&[0x81], &short("options"), &[0x91; 100_000]]);
    assert_eq!(decode(&skipped).err(), too_deep(64));
}

/// A few bytes that claim gigabytes must fail for want of data, not reserve (RUSTSEC-2017-0006).
#[test]
fn rustsec_2017_0006_msgpack_reserve() {
    for claim in [0xdb_u8, 0xc6, 0xdd] {
        let error = decode(&event_of(1, &[claim, 0xff, 0xff, 0xff, 0xff])).unwrap_err();
        assert!(matches!(error, DecodeError::Msgpack { .. }), "{claim:x}");
    }
    let error = decode(&event_of(1, &[0xc9, 0xff, 0xff, 0xff, 0xff, 0])).unwrap_err();
    assert!(matches!(error, DecodeError::Msgpack { .. }));
    let keys = DecodeError::TooManyKeys { max: 10_000 };
    let claim = [0xdf, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(decode(&event_of(1, &claim)).unwrap_err(), keys);
    assert_eq!(decode(&claim).unwrap_err(), keys);
    let args = [0xdd, 0xff, 0xff, 0xff, 0xff, 0xa1, b'e'];
    let error = decode(&packet(2, &args)).unwrap_err();
    assert!(matches!(error, DecodeError::Msgpack { .. }));
}

/// One argument of every kind of head.
fn every_kind() -> Vec<u8> {
    let args: [&[u8]; 14] = [
        &[0xc0],
        &[0xc2],
        &[0xcc, 200],
        &[0xd3, 0xff, 0, 0, 0, 0, 0, 0, 0],
        &[0xca, 0x3f, 0x80, 0, 0],
        &[0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0],
        &[0xd9, 1, b'x'],
        &[0xda, 0, 1, b'x'],
        &[0xc5, 0, 1, 7],
        &[0xc7, 1, 0, 7],
        &[0xd4, 0, 0],
        &[0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x92, 0x01, 0x91, 0xe0],
        &[0xde, 0, 1, 0xa1, b'k', 0xdc, 0, 1, 0x01],
    ];
    event_of(14, &args.concat())
}

#[test]
fn truncated_input_is_refused_at_every_byte() {
    let data = every_kind();
    assert_eq!(arguments(&decode(&data).unwrap()).len(), 14);
    for len in 1..data.len() {
        let error = decode(&data[..len]).unwrap_err();
        assert!(
            matches!(error, DecodeError::Msgpack { .. }),
            "{len}: {error}"
        );
    }
}

/// Whatever byte is changed, the packet is refused or its arguments can be read.
#[test]
fn changed_bytes_never_panic() {
    let data = every_kind();
    let mut accepted = 0;
    for at in 0..data.len() {
        for byte in 0..=255 {
            let mut changed = data.clone();
            changed[at] = byte;
            if let Ok(packet @ Packet::Event { .. }) = decode(&changed) {
                assert_eq!(arguments(&packet).len(), 14);
                accepted += 1;
            }
        }
    }
    assert!(accepted > data.len());
}

/// The JavaScript parser lets them pass, in this form only; what a name means must not depend on the form.
#[test]
fn cve_2024_38355_reserved_names_in_msgpack() {
    for name in RESERVED_EVENTS {
        assert_eq!(
            decode(&packet(2, &bytes(&[&[0x91], &short(name)]))).err(),
            Some(DecodeError::EventNameReserved),
            "{name}"
        );
    }
}

/// What the stock client 4.8.4 with socket.io-msgpack-parser 3.0.2 puts on the wire, byte for byte. What is `undefined`
/// there is left out or travels as notepack's fixext1; nil never takes its place, and the JavaScript decoder refuses a
/// nil as id or data like this one.
#[test]
fn undefined_members_as_stock_clients_write_them() {
    let connect = b"\x83\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa1/";
    let packet = decode(connect).unwrap();
    assert!(matches!(&packet, Packet::Connect { auth: None, .. }));
    let event = b"\x84\xa4type\x02\xa4data\x92\xa1x\x01\xa7options\x81\xa8compress\xc3\xa3nsp\xa1/";
    let packet = decode(event).unwrap();
    assert!(matches!(&packet, Packet::Event { id: None, .. }));
    assert_eq!(arguments(&packet), [int(1)]);
    let disconnect = b"\x82\xa4type\x01\xa3nsp\xa1/";
    assert!(matches!(
        decode(disconnect).unwrap(),
        Packet::Disconnect { .. }
    ));
    // The encoder's own output for members that are there and undefined.
    let event = b"\x85\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1a\xa2id\xd4\x00\x00\xa7options\x81\xa8compress\xc3";
    let packet = decode(event).unwrap();
    assert!(matches!(&packet, Packet::Event { id: None, .. }));
    for (refused, expected) in [
        (
            &b"\x83\xa4type\x00\xa3nsp\xa1/\xa4data\xc0"[..],
            DecodeError::Payload,
        ),
        (
            &b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1a\xa2id\xc0"[..],
            DecodeError::Id,
        ),
        (
            &b"\x83\xa4type\x01\xa3nsp\xa1/\xa4data\x90"[..],
            DecodeError::Payload,
        ),
    ] {
        assert_eq!(decode(refused).err(), Some(expected), "{refused:x?}");
    }
}

/// What python-socketio 5.18.1 sends for `disconnect()`, byte for byte. It was refused, which ended the whole session.
#[test]
fn a_disconnect_of_python_socketio_has_a_nil() {
    let disconnect = b"\x83\xa4type\x01\xa4data\xc0\xa3nsp\xa1/";
    assert!(matches!(
        decode(disconnect).unwrap(),
        Packet::Disconnect { .. }
    ));
}

#[test]
fn numbers_are_event_names() {
    let check = |name: &[u8], expected: &str| {
        let packet = decode(&packet(2, &bytes(&[&[0x91], name]))).unwrap();
        let Packet::Event { name, args, .. } = &packet else {
            panic!("{packet:?}");
        };
        assert_eq!((&**name, args.len()), (expected, 0));
    };
    check(&short("disconnect2"), "disconnect2");
    check(&[0x07], "7");
    check(&[0xff], "-1");
    check(&[0xcf; 9], "14974415777481871311");
    check(&[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], "1.5");
    check(&[0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0], "0");
}

#[test]
fn encoded_packets_decode() {
    let event = decode(&payload(&encode_event(
        "/n",
        "e",
        &[0x01, 0x02],
        2,
        Some(u64::MAX),
        Some("p"),
    )));
    let event = event.unwrap();
    assert_eq!(arguments(&event), [int(1), int(2), "p".into()]);
    let Packet::Event { ns, id, name, .. } = &event else {
        panic!("{event:?}");
    };
    assert_eq!((&**ns, *id, &**name), ("/n", Some(u64::MAX), "e"));
    let ack = decode(&payload(&encode_ack("/", 7, &[0xc3], 1))).unwrap();
    assert!(matches!(ack, Packet::Ack { id: 7, .. }));
    assert_eq!(arguments(&ack), [Value::Bool(true)]);
    let error = decode(&encode_connect_error("/", "no", Some(&int(5)))).unwrap();
    let expected = vec![("message".into(), "no".into()), ("data".into(), int(5))];
    assert_eq!(arguments(&error), [Value::Object(expected)]);
    let connect = decode(&encode_client_connect("/", Some((&[0x80], 1)))).unwrap();
    assert_eq!(arguments(&connect), [Value::Object(vec![])]);
    let connect = decode(&encode_client_connect("/", None)).unwrap();
    assert!(matches!(connect, Packet::Connect { auth: None, .. }));
    let disconnect = decode(&encode_disconnect("/n")).unwrap();
    assert!(matches!(disconnect, Packet::Disconnect { ns } if ns == "/n"));
}

#[test]
fn connect_bytes() {
    let expected = bytes(&[
        &[0x83],
        &short("type"),
        &[0x00],
        &short("data"),
        &[0x82],
        &short("sid"),
        &short("S"),
        &short("pid"),
        &short("P"),
        &short("nsp"),
        &short("/"),
    ]);
    assert_eq!(encode_connect("/", "S", Some("P")), expected);
    let connect = decode(&encode_connect("/", "S", None)).unwrap();
    let expected = vec![("sid".into(), "S".into())];
    assert_eq!(arguments(&connect), [Value::Object(expected)]);
}

/// Found by a seed of the fuzz target `msgpack_packet`: the text of a float went past the limit on names.
#[test]
fn fuzz_a_number_as_event_name_is_held_against_the_limit() {
    let check = |number: f64, bytes: Option<usize>| {
        let name = bytes_of_float(number);
        let max = Limits::default().event_name_bytes_max;
        let expected = bytes.map(|bytes| DecodeError::EventNameTooLong { bytes, max });
        let data = packet(2, &bytes_of_array(&name));
        assert_eq!(decode(&data).err(), expected, "{number}");
    };
    check(1e255, None);
    check(1e256, Some(257));
    check(1e300, Some(301));
}

fn bytes_of_float(number: f64) -> Vec<u8> {
    bytes(&[&[0xcb], &number.to_be_bytes()])
}

fn bytes_of_array(name: &[u8]) -> Vec<u8> {
    bytes(&[&[0x91], name])
}
