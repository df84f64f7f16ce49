//! One connection to the server, from TCP to a joined namespace.
//!
//! Owns the handshakes, the heartbeat and the frames; hands Socket.IO packets to the scenario's [`Driver`] as the bytes
//! that came, because comparing bytes is all that the hot path can afford. It must not know what the packets mean.

use std::{io, ops::Range};

use bytes::{Bytes, BytesMut};
use kentongan_protocol::{
    limits::Limits,
    socket::{args::Parser, encode::client_connect},
    websocket::{
        Opcode,
        decode::{Decoder, Incoming, Role},
        encode,
        handshake::{self, HandshakeError},
    },
};
use mio::{Registry, Token};

use crate::{
    clock,
    stream::{Got, Stream},
    target::Target,
    worker::Driver,
};

/// A connection and how far it has come.
#[derive(Debug)]
pub(crate) struct Link {
    /// Number among the connections of the run.
    pub(crate) index: usize,
    /// Number among the connections of its worker.
    pub(crate) slot: usize,
    stage: Stage,
    stream: Option<Stream>,
    /// The beginning of a frame, or of the HTTP response, whose rest has not come.
    tail: Vec<u8>,
    decoder: Decoder,
    outbound: BytesMut,
    /// The CONNECT packet to send, in its text form.
    connect: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Closed,
    /// The upgrade request is on its way.
    Upgrading,
    /// The Engine.IO open packet is awaited.
    Opening,
    /// The namespace's answer is awaited.
    Joining,
    Joined,
    /// We have said goodbye.
    Leaving,
}

/// How a connection ended, if not by [`Link::close`].
#[derive(Debug)]
pub(crate) enum Ending {
    /// TCP did not come up.
    Unreachable(io::Error),
    /// The server said no: to the upgrade, to the session or to the namespace.
    Refused(String),
    /// It was closed, with this explanation.
    Closed(String),
    /// After [`Link::leave`], as it should be.
    Left,
}

enum Found {
    /// A whole text message; the range is its payload.
    Text(Range<usize>),
    /// Another whole frame; the length is that of all of it.
    Other(usize),
    /// More bytes are needed; so many in all, if known.
    Incomplete(usize),
}

impl Link {
    pub(crate) fn new(index: usize, slot: usize, target: &Target) -> Self {
        Self {
            index,
            slot,
            stage: Stage::Closed,
            stream: None,
            tail: Vec::new(),
            decoder: Decoder::new(Role::Client, false),
            outbound: BytesMut::new(),
            connect: client_connect(Parser::Json, &target.namespace, None)
                .polling()
                .clone(),
        }
    }

    /// Begins to connect.
    pub(crate) fn open(&mut self, target: &Target, registry: &Registry) -> Result<(), Ending> {
        self.close();
        let mut stream = Stream::connect(target, self.index, Token(self.slot), registry)
            .map_err(Ending::Unreachable)?;
        let request = format!(
            "GET {}?EIO=4&transport=websocket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
            target.path, target.authority
        );
        stream
            .write(request.as_bytes())
            .map_err(Ending::Unreachable)?;
        self.stream = Some(stream);
        self.stage = Stage::Upgrading;
        Ok(())
    }

    /// Cuts the connection: the server is told nothing but the end of TCP.
    pub(crate) fn close(&mut self) {
        self.stream = None;
        self.stage = Stage::Closed;
        self.tail.clear();
        self.outbound.clear();
        self.decoder = Decoder::new(Role::Client, false);
    }

    /// Closes in order: a WebSocket close frame, then the server ends TCP. Comes back as [`Ending::Left`].
    pub(crate) fn leave(&mut self) {
        self.outbound
            .extend_from_slice(&encode::close_masked(Some(1000), "", self.mask()));
        self.stage = Stage::Leaving;
    }

    /// Queues an Engine.IO text message; it goes out with the next [`Self::flush`].
    pub(crate) fn send(&mut self, text: &[u8]) {
        let mask = self.mask();
        encode::message_masked(Opcode::Text, text, mask, &mut self.outbound);
    }

    /// Writes what is queued.
    pub(crate) fn flush(&mut self) -> Result<(), Ending> {
        if self.outbound.is_empty() {
            return Ok(());
        }
        if let Some(stream) = &mut self.stream {
            stream.write(&self.outbound).map_err(closed)?;
        }
        self.outbound.clear();
        Ok(())
    }

    /// The socket takes bytes.
    pub(crate) fn writable(&mut self) -> Result<(), Ending> {
        let stage = self.stage;
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        stream.writable().map_err(|error| match stage {
            Stage::Upgrading => Ending::Unreachable(error),
            _ => closed(error),
        })
    }

    /// The socket has bytes, or has ended. `buffer` is lent for the time of the call.
    pub(crate) fn readable<D: Driver>(
        &mut self,
        buffer: &mut [u8],
        has_ended: bool,
        driver: &mut D,
    ) -> Result<(), Ending> {
        loop {
            let kept = self.tail.len();
            let Some(stream) = &mut self.stream else {
                return Ok(());
            };
            let Some(room) = buffer.get_mut(kept..).filter(|room| !room.is_empty()) else {
                return Err(Ending::Closed("the server sends too much at once".into()));
            };
            let room_len = room.len();
            let got = stream.read(room).map_err(|error| match self.stage {
                Stage::Leaving => Ending::Left,
                Stage::Upgrading => Ending::Unreachable(error),
                _ => closed(error),
            })?;
            let len = match got {
                Got::Bytes(len) => len,
                Got::Nothing => break,
                Got::End if self.stage == Stage::Leaving => return Err(Ending::Left),
                Got::End => return Err(Ending::Closed("the server ended the connection".into())),
            };
            buffer[..kept].copy_from_slice(&self.tail);
            self.tail.clear();
            self.take(&mut buffer[..kept + len], driver)?;
            // Less than asked for means that the next arrival is a new event; except the end, which came with this one.
            if len < room_len && !has_ended {
                break;
            }
        }
        self.flush()
    }

    fn take<D: Driver>(&mut self, bytes: &mut [u8], driver: &mut D) -> Result<(), Ending> {
        let mut at = 0;
        if self.stage == Stage::Upgrading {
            let Some(len) = upgraded(bytes)? else {
                self.tail.extend_from_slice(bytes);
                return Ok(());
            };
            at = len;
            self.stage = Stage::Opening;
        }
        let now_ns = clock::now_ns();
        while at < bytes.len() && self.stage != Stage::Closed {
            let found = find(&bytes[at..]);
            match found {
                Found::Text(range) if !self.decoder.is_pending() => {
                    let end = at + range.end;
                    self.packet(&bytes[at + range.start..end], driver, now_ns)?;
                    at = end;
                }
                Found::Incomplete(len) if !self.decoder.is_pending() && len <= TAIL_BYTES_MAX => {
                    self.tail.extend_from_slice(&bytes[at..]);
                    return Ok(());
                }
                Found::Other(len) if !self.decoder.is_pending() => {
                    self.decode(&mut bytes[at..at + len], driver, now_ns)?;
                    at += len;
                }
                _ => return self.decode(&mut bytes[at..], driver, now_ns),
            }
        }
        Ok(())
    }

    /// The way of everything that is not a text message in one frame, not cut off.
    fn decode<D: Driver>(
        &mut self,
        bytes: &mut [u8],
        driver: &mut D,
        now_ns: u64,
    ) -> Result<(), Ending> {
        let limits = Limits::default();
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(Role::Client, false));
        let mut feed = decoder.feed(bytes, &limits);
        while let Some(incoming) = feed.next() {
            match incoming.map_err(|error| Ending::Closed(error.to_string()))? {
                Incoming::Text(text) => self.packet(text.as_bytes(), driver, now_ns)?,
                Incoming::Binary(_) => driver.unexpected(),
                Incoming::Ping(payload) => {
                    let pong = encode::pong_masked(payload, self.mask());
                    self.outbound.extend_from_slice(&pong);
                }
                Incoming::Pong(_) => {}
                Incoming::Close { .. } if self.stage == Stage::Leaving => return Err(Ending::Left),
                Incoming::Close { code, reason } => {
                    let code = code.map_or(String::new(), |code| format!(" {code}"));
                    return Err(Ending::Closed(format!(
                        "closed by the server{code} {reason}"
                    )));
                }
            }
        }
        drop(feed);
        self.decoder = decoder;
        Ok(())
    }

    /// An Engine.IO packet.
    fn packet<D: Driver>(
        &mut self,
        packet: &[u8],
        driver: &mut D,
        now_ns: u64,
    ) -> Result<(), Ending> {
        match (self.stage, packet) {
            (Stage::Joined, [b'4', kind, ..]) if *kind != b'1' => {
                driver.packet(self, packet, now_ns);
            }
            (Stage::Leaving | Stage::Closed, _) | (_, b"6") => {}
            (_, b"2") => self.send(b"3"),
            (Stage::Opening, [b'0', ..]) => {
                let connect = self.connect.clone();
                self.send(&connect);
                self.stage = Stage::Joining;
            }
            (Stage::Joining, [b'4', b'0', reply @ ..]) => {
                self.stage = Stage::Joined;
                driver.joined(self, reply, now_ns);
            }
            (Stage::Joining, [b'4', b'4', ..]) => {
                return Err(Ending::Refused(
                    String::from_utf8_lossy(packet).into_owned(),
                ));
            }
            (_, b"1") => return Err(Ending::Closed("closed by the server".into())),
            (_, [b'4', b'1', ..]) => {
                return Err(Ending::Closed("disconnected from the namespace".into()));
            }
            _ => driver.unexpected(),
        }
        Ok(())
    }

    /// Whether the connection is on its way into the namespace.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(
            self.stage,
            Stage::Upgrading | Stage::Opening | Stage::Joining
        )
    }

    /// Unpredictable masks protect proxies from scripts in browsers (RFC 6455 section 10.3); here nobody needs that, but
    /// the server has to unmask, so it is not zero.
    fn mask(&self) -> [u8; 4] {
        let [_, _, high, low] = (self.index as u32).to_be_bytes();
        [0x5a, high, low, 0xa5]
    }
}

/// Looks at the first frame. The server's frames are not masked; the decoder judges whatever is odd.
fn find(bytes: &[u8]) -> Found {
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

/// The length of the response's head, once it is all here.
fn upgraded(bytes: &[u8]) -> Result<Option<usize>, Ending> {
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
        false,
    ) {
        Ok(_) => Ok(Some(len)),
        Err(HandshakeError::NotSwitched) => {
            let body = String::from_utf8_lossy(&bytes[len..]);
            refused(format!("HTTP status {status} {}", body.trim()))
        }
        Err(error) => refused(error.to_string()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn closed(error: io::Error) -> Ending {
    Ending::Closed(error.to_string())
}

const FINAL_TEXT: u8 = 0x81;
/// The nonce of the handshake tells caches from servers; nothing depends on its being random.
const KEY: &str = "a2VudG9uZ2FuLWxvYWQgMQ==";
/// A longer frame goes through the decoder piece by piece.
const TAIL_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

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
        let accept = handshake::accept_key(KEY);
        let good = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        assert_eq!(upgraded(good.as_bytes()).unwrap(), Some(good.len()));
        assert_eq!(upgraded(&good.as_bytes()[..30]).unwrap(), None);
        for bad in [
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert!(
                matches!(upgraded(bad.as_bytes()), Err(Ending::Refused(_))),
                "{bad}"
            );
        }
    }
}
