//! One WebSocket over a byte stream, as two halves: messages in, frames out.
//!
//! Owns left-over bytes only: reading goes through a buffer of the worker thread, writing straight from shared frames,
//! so an idle connection keeps no buffer. It must not know sessions or packets.

pub(crate) mod reader;
pub(crate) mod writer;

use bytes::Bytes;
use hyper::upgrade::Upgraded;

use self::{reader::WebSocketReader, writer::WebSocketWriter};
use super::io;

/// Both halves, as long as one task has them.
pub(crate) struct WebSocket {
    pub(crate) reader: WebSocketReader,
    pub(crate) writer: WebSocketWriter,
}

/// What the peer's frames oblige us to send.
pub(crate) enum Answer {
    /// The pong for its last ping (RFC 6455, section 5.5.3), as a finished frame.
    Pong(Bytes),
    /// The close frame for its close frame.
    Close(Option<u16>),
}

impl WebSocket {
    /// Takes the stream over from HTTP. `deflate`: whether permessage-deflate was negotiated; `base64`: whether the
    /// client wants binary data as text.
    pub(crate) fn new(upgraded: Upgraded, deflate: bool, base64: bool) -> Self {
        let (read, write, early) = io::from_upgraded(upgraded);
        Self {
            reader: WebSocketReader::new(read, early, deflate),
            writer: WebSocketWriter::new(write, deflate, base64),
        }
    }
}
