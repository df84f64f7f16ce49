//! From the request of a client to a WebSocket: the answer and the open packet in one piece.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest as _, Sha1};

use crate::frame::append_text;

/// RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How far the request is.
#[derive(Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The head of the request is not complete.
    Partial,
    /// The connection is a WebSocket; this many bytes of the input are done with, and the answer was appended.
    Done(usize),
    /// Not a request for a WebSocket.
    Refused,
}

/// Reads the request at the start of `input` and appends the answer to `out`.
pub fn handshake(input: &[u8], out: &mut Vec<u8>) -> Handshake {
    let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
        return Handshake::Partial;
    };
    let head = input.get(..end).unwrap_or_default();
    let Some(key) = key(head) else {
        out.extend_from_slice(
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        );
        return Handshake::Refused;
    };
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(STANDARD.encode(hash.finalize()).as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    append_text(
        out,
        &[
            b"0{\"sid\":\"",
            &id(),
            b"\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}",
        ],
    );
    Handshake::Done(end + 4)
}

fn key(head: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"sec-websocket-key:";
    head.split(|byte| *byte == b'\n')
        .find(|line| {
            line.get(..NAME.len())
                .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
        })
        .and_then(|line| Some(line.get(NAME.len()..)?.trim_ascii()))
}

/// An id of the usual length. Only counted: nobody has to guess it, and chance would cost time.
pub(crate) fn id() -> [u8; 20] {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut rest = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut id = [b'0'; 20];
    for digit in id.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_that_of_the_specification() {
        let mut out = Vec::new();
        let request = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        assert_eq!(handshake(request, &mut out), Handshake::Done(request.len()));
        let text = String::from_utf8_lossy(&out);
        assert!(
            text.contains("Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
            "{text}"
        );
        assert!(text.ends_with("\"maxPayload\":1000000}"), "{text}");
    }

    #[test]
    fn half_a_request_waits_and_a_plain_one_is_refused() {
        let mut out = Vec::new();
        assert_eq!(
            handshake(b"GET / HTTP/1.1\r\nHost: a\r\n", &mut out),
            Handshake::Partial
        );
        assert!(out.is_empty());
        assert_eq!(
            handshake(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &mut out),
            Handshake::Refused
        );
    }
}
