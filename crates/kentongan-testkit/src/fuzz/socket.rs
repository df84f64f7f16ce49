//! Socket.IO: both parsers with a round trip, and the table of namespaces.

use std::time::{Duration, Instant};

use bytestring::ByteString;
use kentongan_protocol::frame::Frame;
use kentongan_protocol::limits::Limits;
use kentongan_protocol::socket::args::{Args, IntoArgs, Parser};
use kentongan_protocol::socket::connection::{ConnectionConfig, Connections, Decision, PacketKind};
use kentongan_protocol::socket::decode::Decoder;
use kentongan_protocol::socket::encode;
use kentongan_protocol::socket::packet::{Packet, RESERVED_EVENTS};
use kentongan_protocol::socket::value::Value;
use kentongan_protocol::websocket::decode::{self as ws, Incoming, Role};

use super::Choices;

/// Stands between the messages of one input; it never occurs in UTF-8.
const MESSAGE_END: u8 = 0xff;
/// At the beginning of a message: hand it in as the other kind than the decoder waits for.
const OTHER_KIND: u8 = 0xfe;

/// The JSON parser: messages end with `ff`; they are text, or attachments while some are awaited.
pub fn socket_packet(data: &[u8]) {
    let limits = super::limits();
    // A header is a message of its own; its attachments are counted together.
    let held_max = 2 * limits.message_bytes_max;
    let mut decoder = Decoder::new(Parser::Json);
    let mut held = 0;
    for message in data.split(|byte| *byte == MESSAGE_END) {
        let (message, other) = match message.strip_prefix(&[OTHER_KIND]) {
            Some(message) => (message, true),
            None => (message, false),
        };
        held += message.len();
        let decoded = if decoder.is_pending() != other {
            decoder.handle_binary(message, &limits)
        } else {
            let Ok(text) = std::str::from_utf8(message) else {
                return;
            };
            decoder.handle_text(text, &limits)
        };
        match decoded {
            Ok(Some(packet)) => {
                assert!(!decoder.is_pending() && held <= held_max);
                check_packet(&packet, Parser::Json, held, &limits);
                held = 0;
            }
            Ok(None) => assert!(decoder.is_pending() && held <= held_max),
            Err(error) => {
                assert!(!error.code().is_empty());
                assert!(!decoder.is_pending(), "nothing is held after an error");
                return;
            }
        }
    }
}

/// The msgpack parser: the input is one binary message.
pub fn msgpack_packet(data: &[u8]) {
    let limits = super::limits();
    let mut decoder = Decoder::new(Parser::Msgpack);
    match decoder.handle_binary(data, &limits) {
        Ok(packet) => {
            let packet = packet.expect("msgpack has no attachments to wait for");
            assert!(data.len() <= limits.message_bytes_max);
            check_packet(&packet, Parser::Msgpack, data.len(), &limits);
        }
        Err(error) => assert!(!error.code().is_empty()),
    }
    assert!(!decoder.is_pending());
}

/// What holds for a decoded packet that came in `held` bytes.
fn check_packet(packet: &Packet, parser: Parser, held: usize, limits: &Limits) {
    // Normalised msgpack may be longer than what came: a date of 6 bytes becomes its text.
    let bytes_max = match parser {
        Parser::Json => held,
        Parser::Msgpack => held * 8,
    };
    assert!(packet.namespace().len() <= limits.namespace_bytes_max);
    if let Packet::Event { name, .. } = packet {
        assert!(name.len() <= limits.event_name_bytes_max);
        assert!(parser == Parser::Msgpack || !RESERVED_EVENTS.contains(&&**name));
    }
    if let Some(args) = args(packet) {
        assert!(args.bytes_len() <= bytes_max);
        assert_eq!(args.parser(), parser);
        check_args(args);
    }
    let again = decode_frame(&encode_packet(packet, parser), parser);
    match (packet, &again) {
        (Packet::ConnectError { ns, .. }, Packet::ConnectError { ns: other, .. }) => {
            assert_eq!(ns, other);
        }
        _ => assert_same(packet, &again),
    }
}

/// Reads arguments in every way that an application may.
fn check_args(args: &Args) {
    let values = args.values();
    // Whether they fit these types is the peer's business; that asking is safe is ours.
    drop(args.deserialize::<(Option<u64>, String)>());
    drop(args.deserialize::<Vec<Value>>());
    drop(args.argument::<Value>(1));
    assert_eq!(args.pushed_str("\"\u{1}").len(), args.len() + 1);
    let Ok(values) = values else {
        return;
    };
    assert_eq!(values.len(), args.len());
    drop(Args::from_values(args.parser(), &values));
    for parser in [Parser::Json, Parser::Msgpack] {
        if let Ok(converted) = args.into_args(parser) {
            assert_eq!(converted.len(), values.len());
        }
    }
}

fn args(packet: &Packet) -> Option<&Args> {
    match packet {
        Packet::Connect { auth, .. } => auth.as_ref(),
        Packet::Disconnect { .. } => None,
        Packet::Event { args, .. } | Packet::Ack { args, .. } => Some(args),
        Packet::ConnectError { data, .. } => Some(data),
    }
}

fn encode_packet(packet: &Packet, parser: Parser) -> Frame {
    match packet {
        Packet::Connect { ns, auth } => encode::client_connect(parser, ns, auth.as_ref()),
        Packet::Disconnect { ns } => encode::disconnect(parser, ns),
        Packet::Event { ns, id, name, args } => encode::event(ns, name, args, *id, None),
        Packet::Ack { ns, id, args } => encode::ack(ns, *id, args),
        Packet::ConnectError { ns, data } => {
            let value = data.argument::<Value>(0).ok();
            encode::connect_error(parser, ns, "\"no\"\n", value.as_ref())
        }
    }
}

/// What a client with ordinary limits reads from a frame.
fn decode_frame(frame: &Frame, parser: Parser) -> Packet {
    let limits = Limits::default();
    let mut bytes = frame.websocket().to_vec();
    let mut frames = ws::Decoder::new(Role::Client, false);
    let mut feed = frames.feed(&mut bytes, &limits);
    let mut decoder = Decoder::new(parser);
    let mut packet = None;
    while let Some(incoming) = feed.next() {
        assert!(packet.is_none(), "nothing follows the last attachment");
        let decoded = match incoming.expect("a finished frame is valid") {
            Incoming::Text(text) => {
                let text = text.strip_prefix('4').expect("text is a message");
                decoder.handle_text(text, &limits)
            }
            Incoming::Binary(data) => decoder.handle_binary(data, &limits),
            other => panic!("not a message: {other:?}"),
        };
        packet = decoded.expect("what was encoded decodes");
    }
    packet.expect("the frame holds a whole packet")
}

fn assert_same(packet: &Packet, again: &Packet) {
    assert_eq!(packet.namespace(), again.namespace());
    assert_eq!(PacketKind::from(packet), PacketKind::from(again));
    let header = |packet: &Packet| match packet {
        Packet::Event { id, name, .. } => (*id, Some(name.clone())),
        Packet::Ack { id, .. } => (Some(*id), None),
        _ => (None, None),
    };
    assert_eq!(header(packet), header(again));
    match (args(packet), args(again)) {
        (Some(one), Some(other)) => {
            assert_eq!(one.len(), other.len());
            assert_eq!(one.json(), other.json());
            assert_eq!(one.msgpack(), other.msgpack());
            assert_eq!(one.attachments(), other.attachments());
            assert_eq!(one.values().ok(), other.values().ok());
        }
        (one, other) => assert!(one.is_none() && other.is_none()),
    }
}

const NAMESPACES: [&str; 4] = ["/", "/a", "/b", "/c"];

/// The table of namespaces: each byte is a packet, a report of the server, or time.
pub fn connections(data: &[u8]) {
    let limits = super::limits();
    let config = ConnectionConfig::default();
    let mut now = Instant::now();
    let mut table = Connections::new(now);
    let mut choices = Choices(data);
    while let Some(op) = choices.next() {
        let ns = ByteString::from_static(NAMESPACES[usize::from(op >> 6)]);
        match op & 0x0f {
            kind @ 0..=5 => {
                if !check_decision(&mut table, kind, &ns, &limits) {
                    return;
                }
            }
            6 | 7 => {
                if table.accept(&ns) {
                    assert!(table.is_connected(&ns));
                }
            }
            8 => {
                let was_connected = table.is_connected(&ns);
                let refused = table.refuse(&ns);
                assert!(!(was_connected && refused));
                assert_eq!(table.is_connected(&ns), was_connected);
            }
            9 | 10 => {
                let was_connected = table.is_connected(&ns);
                let left = table.disconnect(&ns, &limits);
                assert!(left || !was_connected);
                assert!(!table.is_connected(&ns) && !table.accept(&ns));
            }
            11 => table.set_attachments_pending(now, true),
            12 => table.set_attachments_pending(now, false),
            _ => {
                now += Duration::from_millis(u64::from(choices.byte()) * 100);
                if table.handle_timeout(&config, now).is_some() {
                    return;
                }
                let next = table.poll_timeout(&config);
                assert!(next.is_none_or(|at| at > now), "a served timer is not due");
            }
        }
        check_table(&table, &limits);
    }
}

/// False when the session has to end.
fn check_decision(table: &mut Connections, kind: u8, ns: &ByteString, limits: &Limits) -> bool {
    let kind = match kind {
        0 | 5 => PacketKind::Connect,
        1 => PacketKind::Disconnect,
        2 => PacketKind::Event,
        3 => PacketKind::Ack,
        _ => PacketKind::ConnectError,
    };
    let before = table.connected().count();
    let was_connected = table.is_connected(ns);
    match table.handle(kind, ns, limits) {
        Decision::Connect | Decision::Refuse => {
            assert!(kind == PacketKind::Connect && !was_connected);
            assert!(
                !table.is_connected(ns),
                "connected only once it is accepted"
            );
        }
        Decision::Deliver => assert!(was_connected && table.is_connected(ns)),
        Decision::Disconnect => {
            assert!(was_connected && !table.is_connected(ns));
            assert_eq!(table.connected().count() + 1, before);
        }
        Decision::Ignore => assert!(!was_connected && kind != PacketKind::Connect),
        Decision::Violation(violation) => {
            assert!(!violation.code().is_empty());
            return false;
        }
    }
    true
}

fn check_table(table: &Connections, limits: &Limits) {
    let connected: Vec<_> = table.connected().collect();
    assert!(connected.len() <= limits.namespaces_max);
    for (index, ns) in connected.iter().enumerate() {
        assert!(table.is_connected(ns));
        assert!(!connected.iter().skip(index + 1).any(|other| other == ns));
    }
}
