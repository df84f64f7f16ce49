//! The WebSocket handshake, and the first look at what the server sends.
//!
//! Owns the fast way to tell whole text messages from everything else; the rest is for the protocol's decoder.

use std::ops::Range;

use kentongan_protocol::websocket::handshake::{self, DEFLATE_OFFER, HandshakeError};

use crate::{link::Ending, target::Target};

/// What a buffer begins with.
pub(crate) enum Found {
    /// A whole text message; the range is its payload.
    Text(Range<usize>),
    /// Another whole frame; the length is that of all of it.
    Other(usize),
    /// More bytes are needed; so many in all, if known.
    Incomplete(usize),
}

/// The upgrade request.
pub(crate) fn upgrade(target: &Target) -> String {
    let extensions = if target.deflate {
        format!("Sec-WebSocket-Extensions: {DEFLATE_OFFER}\r\n")
    } else {
        String::new()
    };
    format!(
        "GET {}?EIO=4&transport=websocket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{extensions}\r\n",
        target.path, target.authority
    )
}

/// Looks at the first frame. The server's frames are not masked; the decoder judges whatever is odd.
pub(crate) fn find(bytes: &[u8]) -> Found {
    let (header, len) = match bytes {
        [_, len @ 0..=125, ..] => (2, usize::from(*len)),
        [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [_, 127, length @ ..] if length.len() >= 8 => {
            let length = length.first_chunk::<8>().copied().unwrap_or_default();
            let len = usize::try_from(u64::from_be_bytes(length)).unwrap_or(usize::MAX);
            (10, len.min(usize::MAX - 10))
        }
        [_, 128..=255, ..] => return Found::Other(bytes.len()),
        _ => return Found::Incomplete(0),
    };
    let end = header + len;
    if bytes.len() < end {
        return Found::Incomplete(end);
    }
    if bytes[0] == FINAL_TEXT {
        Found::Text(header..end)
    } else {
        Found::Other(end)
    }
}

/// The length of the response's head, once it is all here. With `target.deflate` the server must have agreed to it: what is
/// called compressed must be.
pub(crate) fn upgraded(bytes: &[u8], target: &Target) -> Result<Option<usize>, Ending> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let refused = |text: String| Err(Ending::Refused(text));
    let len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return refused(format!("what it sends is no HTTP: {error}")),
    };
    let status = response.code.unwrap_or(0);
    let headers = response.headers.iter();
    match handshake::confirm(
        status,
        headers.map(|header| (header.name, header.value)),
        KEY,
        target.deflate,
    ) {
        Ok(false) if target.deflate => refused("the server does not compress".to_owned()),
        Ok(_) => Ok(Some(len)),
        Err(HandshakeError::NotSwitched) => {
            let body = String::from_utf8_lossy(&bytes[len..]);
            refused(format!("HTTP status {status} {}", body.trim()))
        }
        Err(error) => refused(error.to_string()),
    }
}

const FINAL_TEXT: u8 = 0x81;
/// The nonce of the handshake tells caches from servers; nothing depends on its being random.
const KEY: &str = "a2VudG9uZ2FuLWxvYWQgMQ==";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Transport;

    fn target() -> Target {
        Target {
            addr: ([127, 0, 0, 1], 1).into(),
            authority: "localhost".to_owned(),
            tls: None,
            deflate: false,
            transport: Transport::Websocket,
            path: "/socket.io/".to_owned(),
            namespace: "/".to_owned(),
        }
    }

    #[test]
    fn finds_frames() {
        let text = |bytes: &[u8]| match find(bytes) {
            Found::Text(range) => Some(range),
            _ => None,
        };
        assert_eq!(text(b"\x81\x02ab\x81"), Some(2..4));
        let mut long = vec![0x81, 126, 1, 0];
        long.resize(4 + 256, b'x');
        assert_eq!(text(&long), Some(4..260));
        assert!(matches!(find(&long[..200]), Found::Incomplete(260)));
        assert!(matches!(find(b"\x81"), Found::Incomplete(0)));
        assert!(matches!(find(b"\x81\x7e\x01"), Found::Incomplete(0)));
        assert!(matches!(find(b"\x89\x00"), Found::Other(2)));
        assert!(matches!(find(b"\x01\x01x"), Found::Other(3)));
        assert!(matches!(find(b"\x81\xff\xff"), Found::Other(3)));
    }

    #[test]
    fn the_response_is_checked() {
        let mut target = target();
        let accept = handshake::accept_key(KEY);
        let good = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        assert_eq!(
            upgraded(good.as_bytes(), &target).unwrap(),
            Some(good.len())
        );
        assert_eq!(upgraded(&good.as_bytes()[..30], &target).unwrap(), None);
        for bad in [
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert!(
                matches!(upgraded(bad.as_bytes(), &target), Err(Ending::Refused(_))),
                "{bad}"
            );
        }
        target.deflate = true;
        assert!(upgrade(&target).contains(DEFLATE_OFFER));
        assert!(matches!(
            upgraded(good.as_bytes(), &target),
            Err(Ending::Refused(_))
        ));
        let agreed = good.replacen(
            "\r\n\r\n",
            &format!("\r\nSec-WebSocket-Extensions: {DEFLATE_OFFER}\r\n\r\n"),
            1,
        );
        assert_eq!(
            upgraded(agreed.as_bytes(), &target).unwrap(),
            Some(agreed.len())
        );
    }
}
