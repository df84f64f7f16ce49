//! One connection to the server, from TCP to a joined namespace.
//!
//! Owns the handshakes, the heartbeat and the frames; hands Socket.IO packets to the scenario's [`Driver`] as the bytes
//! that came, because comparing bytes is all that the hot path can afford. It must not know what the packets mean.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use kentongan_protocol::{
    limits::Limits,
    socket::{
        args::{Args, Parser},
        encode::client_connect,
    },
    websocket::{
        Opcode,
        decode::{Decoder, Incoming, Role},
        encode,
    },
};
use mio::{Registry, Token};

use crate::{
    clock,
    options::Transport,
    polling::{self, Polling},
    stream::{Got, Stream},
    target::Target,
    websocket::{self, Found},
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
    /// Set if packets travel by polling: then `stream` carries the GETs.
    polling: Option<Box<Polling>>,
    reach: Arc<Reach>,
}

/// What it takes to open a connection.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) target: Target,
    pub(crate) registry: Registry,
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

impl Link {
    pub(crate) fn new(index: usize, slot: usize, reach: Arc<Reach>) -> Self {
        Self {
            index,
            slot,
            stage: Stage::Closed,
            stream: None,
            tail: Vec::new(),
            decoder: Decoder::new(Role::Client, false),
            outbound: BytesMut::new(),
            connect: client_connect(Parser::Json, &reach.target.namespace, None)
                .polling()
                .clone(),
            polling: None,
            reach,
        }
    }

    /// Begins to connect.
    pub(crate) fn open(&mut self) -> Result<(), Ending> {
        self.close();
        let target = &self.reach.target;
        let mut stream = Stream::connect(
            target,
            self.index,
            Token(self.slot * 2),
            &self.reach.registry,
        )
        .map_err(Ending::Unreachable)?;
        let request = match target.transport {
            Transport::Websocket => websocket::upgrade(target),
            Transport::Polling => self.polling.insert(Box::default()).get(target),
        };
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
        self.polling = None;
        self.stage = Stage::Closed;
        self.tail.clear();
        self.outbound.clear();
        self.decoder = Decoder::new(Role::Client, false);
    }

    /// Closes in order: a WebSocket close frame, then the server ends TCP; or an Engine.IO close packet, posted. Comes back
    /// as [`Ending::Left`].
    pub(crate) fn leave(&mut self) {
        match &mut self.polling {
            Some(polling) => polling.send(b"1"),
            None => {
                self.outbound
                    .extend_from_slice(&encode::close_masked(Some(1000), "", self.mask()))
            }
        }
        self.stage = Stage::Leaving;
    }

    /// What the next [`Self::open`] sends to join the namespace.
    pub(crate) fn set_auth(&mut self, auth: &serde_json::Value) {
        let args = Args::from_serialize(Parser::Json, auth).ok();
        let namespace = &self.reach.target.namespace;
        self.connect = client_connect(Parser::Json, namespace, args.as_ref())
            .polling()
            .clone();
    }

    /// Queues an Engine.IO text message; it goes out with the next [`Self::flush`].
    pub(crate) fn send(&mut self, text: &[u8]) {
        if let Some(polling) = &mut self.polling {
            return polling.send(text);
        }
        let mask = self.mask();
        encode::message_masked(Opcode::Text, text, mask, &mut self.outbound);
    }

    /// Writes what is queued.
    pub(crate) fn flush(&mut self) -> Result<(), Ending> {
        if let Some(polling) = &mut self.polling {
            return polling.flush(self.index, Token(self.slot * 2 + 1), &self.reach);
        }
        if self.outbound.is_empty() {
            return Ok(());
        }
        if let Some(stream) = &mut self.stream {
            stream.write(&self.outbound).map_err(closed)?;
        }
        self.outbound.clear();
        Ok(())
    }

    /// The connection for POSTs has something, or takes more.
    pub(crate) fn post_ready(&mut self, buffer: &mut [u8]) -> Result<(), Ending> {
        let Some(polling) = &mut self.polling else {
            return Ok(());
        };
        if polling.readable(buffer)? && self.stage == Stage::Leaving {
            return Err(Ending::Left);
        }
        self.flush()
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
            let is_all = len < room_len && self.stream.as_ref().is_some_and(|it| !it.is_tls());
            if is_all && !has_ended {
                break;
            }
        }
        self.flush()
    }

    fn take<D: Driver>(&mut self, bytes: &mut [u8], driver: &mut D) -> Result<(), Ending> {
        if self.polling.is_some() {
            return self.take_response(bytes, driver);
        }
        let mut at = 0;
        if self.stage == Stage::Upgrading {
            let Some(len) = websocket::upgraded(bytes, &self.reach.target)? else {
                self.tail.extend_from_slice(bytes);
                return Ok(());
            };
            at = len;
            self.decoder = Decoder::new(Role::Client, self.reach.target.deflate);
            self.stage = Stage::Opening;
        }
        let now_ns = clock::now_ns();
        while at < bytes.len() && self.stage != Stage::Closed {
            let found = websocket::find(&bytes[at..]);
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

    /// The answer to a GET: its packets, and the next GET.
    fn take_response<D: Driver>(&mut self, bytes: &[u8], driver: &mut D) -> Result<(), Ending> {
        let Some((body, end)) = polling::response(bytes)? else {
            self.tail.extend_from_slice(bytes);
            return Ok(());
        };
        self.tail.extend_from_slice(&bytes[end..]);
        if self.stage == Stage::Upgrading {
            self.stage = Stage::Opening;
        }
        let now_ns = clock::now_ns();
        for packet in polling::packets(&bytes[body]) {
            self.packet(packet, driver, now_ns)?;
        }
        if let (Some(polling), Some(stream)) = (&self.polling, &mut self.stream)
            && self.stage != Stage::Leaving
        {
            let request = polling.get(&self.reach.target);
            stream.write(request.as_bytes()).map_err(closed)?;
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
            (Stage::Opening, [b'0', open @ ..]) => {
                if let Some(polling) = &mut self.polling {
                    polling.sid = sid(open)?;
                }
                let connect = self.connect.clone();
                self.send(&connect);
                self.stage = Stage::Joining;
            }
            (Stage::Joining, [b'4', b'0', reply @ ..]) => {
                self.stage = Stage::Joined;
                driver.joined(self, reply, now_ns);
            }
            // Servers replay what was missed before they answer; stock clients keep it until then.
            (Stage::Joining, [b'4', b'2', ..]) => driver.packet(self, packet, now_ns),
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

/// The session id in an open packet.
fn sid(open: &[u8]) -> Result<String, Ending> {
    let open: serde_json::Value = serde_json::from_slice(open).unwrap_or_default();
    let sid = open["sid"].as_str().map(str::to_owned);
    sid.ok_or_else(|| Ending::Refused("an open packet without sid".into()))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn closed(error: io::Error) -> Ending {
    Ending::Closed(error.to_string())
}

/// A longer frame goes through the decoder piece by piece.
const TAIL_BYTES_MAX: usize = 64 * 1024;
