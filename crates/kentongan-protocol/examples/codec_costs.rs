//! Runs one codec operation many times, so that its instructions can be counted.
//!
//! `cargo xtask codec-costs` runs it under callgrind and holds the counts against `codec-costs.json`. Each operation is
//! one row of the table below; a new row needs a new baseline (`cargo xtask codec-costs --update`).
//!
//! `codec_costs --list`, or `codec_costs OPERATION TIMES`

use std::{
    error::Error,
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use kentongan_protocol::{
    engine::{
        packet::Packet as EnginePacket,
        payload,
        session::{Class, Session, SessionConfig, Transport},
    },
    frame::Frame,
    limits::Limits,
    socket::{
        args::{Args, Parser},
        decode::Decoder,
        encode,
    },
    websocket::{
        Opcode,
        decode::{Decoder as WebSocketDecoder, Incoming, Role},
        encode::message_masked,
    },
};

/// An operation: prepares, then does it so many times.
type Operation = fn(u64);

const OPERATIONS: &[(&str, Operation)] = &[
    ("socket_decode_echo_128", |times| decode(&[&echo()], times)),
    ("socket_decode_small", |times| {
        decode(
            &["27[\"chat\",{\"text\":\"good evening\",\"n\":-12.5}]"],
            times,
        );
    }),
    ("socket_decode_namespace", |times| {
        decode(&["2/admin,[\"save\",1,true,null,\"x\"]"], times);
    }),
    ("socket_decode_escapes", |times| {
        decode(
            &["2[\"chat\",\"line one\\nline two\\t\\u00fc \\\"quoted\\\" \u{1f600}\"]"],
            times,
        );
    }),
    ("socket_decode_ack", |times| decode(&["37[\"ok\"]"], times)),
    ("socket_decode_records_4k", |times| {
        decode(&[&records()], times)
    }),
    ("socket_decode_binary", decode_binary),
    ("msgpack_decode_echo_128", |times| {
        decode_msgpack(&msgpack_echo(), times)
    }),
    ("args_serialize_text_128", |times| {
        let text = "x".repeat(128);
        for _ in 0..times {
            black_box(Args::from_serialize(Parser::Json, &(black_box(&text),)).is_ok());
        }
    }),
    ("args_deserialize_text_128", |times| {
        let args = args(Parser::Json);
        for _ in 0..times {
            black_box(black_box(&args).argument::<String>(0).is_ok());
        }
    }),
    ("socket_encode_event_128", |times| {
        let args = args(Parser::Json);
        for _ in 0..times {
            black_box(encode::event("/", black_box("echo"), &args, None, None));
        }
    }),
    ("socket_encode_event_ack", |times| {
        let args = args(Parser::Json);
        for id in 0..times {
            let frame = encode::event(
                "/admin",
                black_box("echo"),
                &args,
                Some(1000 + id % 8),
                None,
            );
            black_box(frame);
        }
    }),
    ("socket_encode_ack", |times| {
        let args = Args::from_serialize(Parser::Json, &("ok",)).expect("text is always JSON");
        for id in 0..times {
            black_box(encode::ack("/", 1000 + id % 8, black_box(&args)));
        }
    }),
    ("socket_encode_binary", |times| {
        let data = (Bytes::from(vec![7; 512]),);
        let args = Args::from_serialize(Parser::Json, &data).expect("one attachment is allowed");
        for _ in 0..times {
            black_box(encode::event("/", black_box("image"), &args, None, None));
        }
    }),
    ("msgpack_encode_event_128", |times| {
        let args = args(Parser::Msgpack);
        for _ in 0..times {
            black_box(encode::event("/", black_box("echo"), &args, Some(7), None));
        }
    }),
    ("websocket_decode_138", |times| websocket(&[138], times)),
    ("websocket_decode_16_of_20", |times| {
        websocket(&[20; 16], times)
    }),
    ("websocket_decode_64k", |times| websocket(&[65_536], times)),
    ("engine_payload_decode_16", |times| {
        let body = vec!["42[\"chat\",\"good evening\"]"; 16].join("\u{1e}");
        let limits = Limits::default();
        for _ in 0..times {
            let packets = payload::decode(black_box(body.as_bytes()), &limits);
            black_box(
                packets
                    .expect("the body is valid")
                    .filter(Result::is_ok)
                    .count(),
            );
        }
    }),
    ("session_send_1", |times| session(1, times)),
    ("session_send_16", |times| session(16, times)),
    ("echo_128", whole_echo),
];

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => {
            for (name, _) in OPERATIONS {
                println!("{name}");
            }
        }
        [wanted, times] => {
            let (_, operation) = OPERATIONS
                .iter()
                .find(|(name, _)| *name == wanted)
                .ok_or_else(|| format!("no operation {wanted}"))?;
            operation(times.parse()?);
        }
        _ => return Err("codec_costs --list | codec_costs OPERATION TIMES".into()),
    }
    Ok(())
}

fn echo() -> String {
    format!("2[\"echo\",\"{}\"]", "x".repeat(128))
}

fn args(parser: Parser) -> Args {
    Args::from_serialize(parser, &("x".repeat(128),)).expect("text can always be written")
}

fn records() -> String {
    let record =
        "{\"id\":123456,\"name\":\"Kartini\",\"tags\":[\"a\",\"b\"],\"score\":-12.5e3,\"on\":true}";
    format!("2[\"rows\",[{}]]", vec![record; 55].join(","))
}

/// The payload of a msgpack event as a frame carries it.
fn msgpack_echo() -> Bytes {
    let frame = encode::event("/", "echo", &args(Parser::Msgpack), Some(7), None);
    frame.websocket().slice(4..)
}

fn decode(texts: &[&str], times: u64) {
    let limits = Limits::default();
    let mut decoder = Decoder::new(Parser::Json);
    for _ in 0..times {
        for text in texts {
            let packet = decoder.handle_text(black_box(text), &limits);
            black_box(packet.expect("the packet is valid"));
        }
    }
}

fn decode_binary(times: u64) {
    let limits = Limits::default();
    let mut decoder = Decoder::new(Parser::Json);
    let header = "51-[\"image\",{\"_placeholder\":true,\"num\":0}]";
    for _ in 0..times {
        let none = decoder.handle_text(black_box(header), &limits);
        assert!(none.expect("the header is valid").is_none());
        let packet = decoder.handle_binary(black_box(&[7; 512]), &limits);
        black_box(packet.expect("the packet is valid"));
    }
}

fn decode_msgpack(data: &[u8], times: u64) {
    let limits = Limits::default();
    let mut decoder = Decoder::new(Parser::Msgpack);
    for _ in 0..times {
        let packet = decoder.handle_binary(black_box(data), &limits);
        black_box(packet.expect("the packet is valid"));
    }
}

/// One read that holds a masked text frame of each length. Restoring it is part of the count.
fn websocket(lengths: &[usize], times: u64) {
    let limits = Limits::default();
    let mut frames = BytesMut::new();
    for len in lengths {
        message_masked(Opcode::Text, &vec![b'4'; *len], [1, 2, 3, 4], &mut frames);
    }
    let mut input = frames.to_vec();
    let mut decoder = WebSocketDecoder::new(Role::Server, false);
    for _ in 0..times {
        restore(&mut input, &frames);
        let mut feed = decoder.feed(black_box(&mut input), &limits);
        while let Some(incoming) = feed.next() {
            black_box(incoming.is_ok());
        }
    }
}

/// In pieces, because callgrind counts each byte of a large copy as an instruction.
fn restore(input: &mut [u8], from: &[u8]) {
    for (piece, from) in input.chunks_mut(1024).zip(from.chunks(1024)) {
        piece.copy_from_slice(from);
    }
}

/// A burst of frames through the outbox.
fn session(burst: usize, times: u64) {
    let config = SessionConfig::default();
    let now = Instant::now();
    let mut session = Session::new(Transport::WebSocket, now);
    let frame = Frame::from_text("42[\"chat\",\"good evening\"]");
    for _ in 0..times {
        for _ in 0..burst {
            let sent = session.send(&config, now, black_box(frame.clone()), Class::Reliable);
            let _ = black_box(sent);
        }
        session.transmit_many(usize::MAX, usize::MAX, |frame| {
            black_box(frame.websocket().clone());
        });
        session.handle_transmit_done(now + Duration::from_millis(1));
    }
}

/// What one echo costs this crate: a masked frame in, the finished frame of the same event out.
fn whole_echo(times: u64) {
    let (limits, config, now) = (Limits::default(), SessionConfig::default(), Instant::now());
    let mut session = Session::new(Transport::WebSocket, now);
    let mut decoder = Decoder::new(Parser::Json);
    let mut websocket = WebSocketDecoder::new(Role::Server, false);
    let mut frame = BytesMut::new();
    let text = format!("4{}", echo());
    message_masked(Opcode::Text, text.as_bytes(), [1, 2, 3, 4], &mut frame);
    let mut input = frame.to_vec();
    for _ in 0..times {
        restore(&mut input, &frame);
        let mut feed = websocket.feed(black_box(&mut input), &limits);
        while let Some(Ok(Incoming::Text(text))) = feed.next() {
            let packet = EnginePacket::decode_text(text).expect("the packet is valid");
            let _ = black_box(session.handle_packet(&config, now, Transport::WebSocket, &packet));
            let EnginePacket::Text(text) = packet else {
                continue;
            };
            let packet = decoder.handle_text(text, &limits);
            if let Some(kentongan_protocol::socket::packet::Packet::Event {
                ns, name, args, ..
            }) = packet.expect("the packet is valid")
            {
                let frame = encode::event(&ns, &name, &args, None, None);
                let _ = black_box(session.send(&config, now, frame, Class::Reliable));
            }
        }
        session.transmit_many(usize::MAX, usize::MAX, |frame| {
            black_box(frame.websocket().clone());
        });
        session.handle_transmit_done(now);
    }
}
