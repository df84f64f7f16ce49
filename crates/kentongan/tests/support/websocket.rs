//! The client's side of a WebSocket.

use std::{collections::VecDeque, net::SocketAddr};

use bytes::BytesMut;
use kentongan_protocol::{
    limits::Limits,
    websocket::{
        Opcode,
        decode::{Decoder, Incoming, Role},
        encode,
    },
};

use super::{
    http::{Answer, Connection, head},
    within,
};

/// What the server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame and its code.
    Close(Option<u16>),
    /// The stream ended, in order or not.
    End,
}

/// A WebSocket whose handshake went well.
pub(crate) struct WebSocket {
    pub(crate) connection: Connection,
    /// The 101.
    pub(crate) answer: Answer,
    decoder: Decoder,
    limits: Limits,
    queue: VecDeque<Received>,
}

/// Headers of the WebSocket handshake (RFC 6455, section 1.3).
pub(crate) const UPGRADE: [(&str, &str); 4] = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

impl WebSocket {
    /// Connects; panics with the answer when the server refuses.
    pub(crate) async fn connect(addr: SocketAddr, target: &str) -> Self {
        match Self::try_connect(addr, target, &[]).await {
            Ok(websocket) => websocket,
            Err(answer) => panic!("{target} refused: {answer:?}"),
        }
    }

    /// Connects with further headers.
    ///
    /// # Errors
    /// The answer, when it is not a 101.
    pub(crate) async fn try_connect(
        addr: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        Self::connect_pipelined(addr, target, headers, b"").await
    }

    /// Connects, with `behind` in the same write as the handshake.
    ///
    /// # Errors
    /// The answer, when it is not a 101.
    pub(crate) async fn connect_pipelined(
        addr: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
        behind: &[u8],
    ) -> Result<Self, Answer> {
        let headers: Vec<_> = UPGRADE.iter().chain(headers).copied().collect();
        let mut bytes = head("GET", target, &headers);
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(behind);
        let mut connection = Connection::open(addr).await;
        connection.send(&bytes).await;
        let answer = connection.answer().await;
        if answer.status != 101 {
            return Err(answer);
        }
        let deflate = answer.header("sec-websocket-extensions").is_some();
        let mut limits = Limits::default();
        limits.message_bytes_max = 64 << 20;
        Ok(Self {
            connection,
            answer,
            decoder: Decoder::new(Role::Client, deflate),
            limits,
            queue: VecDeque::new(),
        })
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_frame(Opcode::Text, text.as_bytes()).await;
    }

    pub(crate) async fn send_binary(&mut self, data: &[u8]) {
        self.send_frame(Opcode::Binary, data).await;
    }

    /// Sends one masked frame, whatever is in it.
    pub(crate) async fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        self.send_raw(&masked(opcode, payload)).await;
    }

    pub(crate) async fn send_close(&mut self, code: Option<u16>) {
        self.send_raw(&encode::close_masked(code, "", MASK)).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.connection.send(bytes).await;
    }

    /// The next message or control frame.
    pub(crate) async fn recv(&mut self) -> Received {
        within("a frame", self.next()).await
    }

    /// The next message, which must be text.
    pub(crate) async fn text(&mut self) -> String {
        match self.recv().await {
            Received::Text(text) => text,
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// Reads on until the connection is over: `Some(code)` for a close frame, `None` for an end without one.
    pub(crate) async fn close_code(&mut self) -> Option<Option<u16>> {
        loop {
            match self.recv().await {
                Received::Close(code) => return Some(code),
                Received::End => return None,
                _ => {}
            }
        }
    }

    async fn next(&mut self) -> Received {
        loop {
            if let Some(received) = self.queue.pop_front() {
                return received;
            }
            if self.connection.unread.is_empty() && !self.connection.fill().await {
                return Received::End;
            }
            let mut input = std::mem::take(&mut self.connection.unread);
            let mut feed = self.decoder.feed(&mut input, &self.limits);
            while let Some(incoming) = feed.next() {
                self.queue
                    .push_back(match incoming.expect("the server sends valid frames") {
                        Incoming::Text(text) => Received::Text(text.to_owned()),
                        Incoming::Binary(data) => Received::Binary(data.to_vec()),
                        Incoming::Ping(data) => Received::Ping(data.to_vec()),
                        Incoming::Pong(data) => Received::Pong(data.to_vec()),
                        Incoming::Close { code, .. } => Received::Close(code),
                    });
            }
        }
    }
}

/// One masked frame.
pub(crate) fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode::message_masked(opcode, payload, MASK, &mut out);
    out.to_vec()
}
