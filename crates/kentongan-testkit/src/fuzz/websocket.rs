//! WebSocket: frames however they are cut, inflation within its bound, and the handshake of both roles.

use kentongan_protocol::limits::Limits;
use kentongan_protocol::websocket::decode::{Decoder, Incoming, ProtocolError, Role};
use kentongan_protocol::websocket::deflate::{self, InflateError};
use kentongan_protocol::websocket::handshake;

use super::Choices;

/// A received message, or why there are no more.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Error(&'static str),
}

/// Frames: the same bytes mean the same, whole, in pieces, or with each message taken by a read of its own.
///
/// The first byte chooses role and compression, the second how to cut.
pub fn websocket_frames(data: &[u8]) {
    let mut choices = Choices(data);
    let mode = choices.byte();
    let cuts = choices.byte();
    let input = choices.rest();
    let role = if mode & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    let deflate = mode & 2 == 0;
    let limits = super::limits();

    let mut decoder = Decoder::new(role, deflate);
    let whole = read(&mut decoder, [input], &limits);
    let whole_pending = decoder.is_pending();

    let mut decoder = Decoder::new(role, deflate);
    let chunked = read(&mut decoder, chunks(input, cuts), &limits);
    assert_eq!(whole, chunked, "the cuts do not matter");
    assert_eq!(whole_pending, decoder.is_pending());

    let mut decoder = Decoder::new(role, deflate);
    assert_eq!(whole, read_one_by_one(&mut decoder, input, &limits));
    assert_eq!(whole_pending, decoder.is_pending());
}

fn read<'i>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'i [u8]>,
    limits: &Limits,
) -> Vec<Seen> {
    let mut all = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut feed = decoder.feed(&mut piece, limits);
        while let Some(incoming) = feed.next() {
            all.push(seen(&incoming, limits));
        }
        drop(feed);
        check_held(decoder, limits);
    }
    all
}

/// Drops the feed after each message: the rest waits in the decoder.
fn read_one_by_one(decoder: &mut Decoder, input: &[u8], limits: &Limits) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut piece = input.to_vec();
    loop {
        let mut feed = decoder.feed(&mut piece, limits);
        let Some(incoming) = feed.next() else {
            break;
        };
        all.push(seen(&incoming, limits));
        drop(feed);
        piece.clear();
    }
    check_held(decoder, limits);
    all
}

/// What waits is a cut-off frame head, or a message within the limit.
fn check_held(decoder: &Decoder, limits: &Limits) {
    const HEAD_BYTES: usize = 512;
    assert!(decoder.heap_bytes() <= limits.message_bytes_max + HEAD_BYTES);
    assert!(decoder.is_pending() || decoder.heap_bytes() == 0);
}

fn seen(incoming: &Result<Incoming<'_>, ProtocolError>, limits: &Limits) -> Seen {
    let control = |payload: &[u8]| {
        assert!(payload.len() <= 125);
        payload.to_vec()
    };
    match incoming {
        Ok(Incoming::Text(text)) => {
            assert!(text.len() <= limits.message_bytes_max);
            Seen::Text((*text).to_owned())
        }
        Ok(Incoming::Binary(data)) => {
            assert!(data.len() <= limits.message_bytes_max);
            Seen::Binary(data.to_vec())
        }
        Ok(Incoming::Ping(payload)) => Seen::Ping(control(payload)),
        Ok(Incoming::Pong(payload)) => Seen::Pong(control(payload)),
        Ok(Incoming::Close { code, reason }) => {
            assert!(reason.len() <= 123);
            Seen::Close(*code, (*reason).to_owned())
        }
        Err(error) => {
            assert!(matches!(error.close_code(), 1002 | 1007 | 1009));
            Seen::Error(error.code())
        }
    }
}

/// Pieces of 0 to 15 bytes, and now and then a long one, as the seed says.
fn chunks(mut input: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u32::from(seed) | 0x100;
    let mut pieces = Vec::new();
    while !input.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let len = match state >> 24 {
            0..16 => 200,
            byte => byte as usize & 15,
        };
        let (piece, rest) = input.split_at_checked(len).unwrap_or((input, &[]));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

/// Inflation: never past the bound, and the inverse of compression.
pub fn inflate(data: &[u8]) {
    let mut choices = Choices(data);
    let bytes_max = usize::from(choices.byte()) * 16;
    let window_bits = choices.byte();
    let payload = choices.rest();
    let mut out = Vec::new();
    match deflate::inflate(payload, &mut out, bytes_max) {
        Ok(()) => {
            assert!(out.len() <= bytes_max);
            if !out.is_empty() {
                let short = deflate::inflate(payload, &mut Vec::new(), out.len() - 1);
                assert_eq!(short, Err(InflateError::TooBig));
            }
            let compressed = deflate::compress(&out, window_bits);
            let mut again = Vec::new();
            assert_eq!(deflate::inflate(&compressed, &mut again, out.len()), Ok(()));
            assert_eq!(again, out);
        }
        Err(InflateError::TooBig) => assert_eq!(out.len(), bytes_max + 1),
        // The stream may turn out to be invalid right behind the first byte over.
        Err(_) => assert!(out.len() <= bytes_max + 1),
    }
    assert!(out.capacity() <= bytes_max + 1, "no room past the bound");
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The handshake: the first byte chooses compression, each line is a header. What the server agrees to, a client takes.
pub fn websocket_handshake(data: &[u8]) {
    let mut choices = Choices(data);
    let deflate = choices.byte() & 1 == 0;
    let headers: Vec<(&str, &[u8])> = choices
        .rest()
        .split(|byte| *byte == b'\n')
        .filter_map(header)
        .collect();
    if let Ok(compressed) = handshake::confirm(101, headers.iter().copied(), KEY, deflate) {
        assert!(deflate || !compressed);
    }
    let agreed = match handshake::validate(headers.iter().copied(), deflate) {
        Ok(agreed) => agreed,
        Err(error) => {
            assert!(matches!(error.status(), 400 | 426) && !error.code().is_empty());
            return;
        }
    };
    let key = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .and_then(|(_, value)| std::str::from_utf8(value.trim_ascii()).ok())
        .expect("a handshake needs a key");
    if let Some(protocol) = &agreed.protocol {
        assert!(protocol.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    let Some(params) = agreed.deflate else {
        answer(&agreed.accept, key, None);
        return;
    };
    assert!(deflate && (9..=15).contains(&params.server_max_window_bits));
    // A smaller window is only agreed to when asked for, and our own client does not ask.
    if params.server_max_window_bits == 15 {
        answer(&agreed.accept, key, Some(&params.to_string()));
    }
}

/// Our client takes our server's answer.
fn answer(accept: &str, key: &str, extensions: Option<&str>) {
    let mut response = vec![
        ("Upgrade", &b"websocket"[..]),
        ("Connection", b"Upgrade"),
        ("Sec-WebSocket-Accept", accept.as_bytes()),
    ];
    response.extend(extensions.map(|value| ("Sec-WebSocket-Extensions", value.as_bytes())));
    assert_eq!(
        handshake::confirm(101, response, key, extensions.is_some()),
        Ok(extensions.is_some())
    );
}

fn header(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    Some((std::str::from_utf8(name).ok()?, value.get(1..)?))
}
