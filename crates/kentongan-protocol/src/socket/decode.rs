//! Engine.IO messages into Socket.IO packets.

use super::args::Parser;
use super::packet::Packet;
use crate::limits::Limits;

mod error;

pub use error::DecodeError;

/// Decodes the messages of one session.
#[derive(Debug)]
pub struct Decoder {
    parser: Parser,
    pending: Option<Box<()>>,
}

impl Decoder {
    /// A decoder for a session that speaks `parser`.
    pub fn new(parser: Parser) -> Self {
        Self {
            parser,
            pending: None,
        }
    }
    /// A text message, without the Engine.IO digit.
    pub fn handle_text(
        &mut self,
        _text: &str,
        _limits: &Limits,
    ) -> Result<Option<Packet>, DecodeError> {
        unimplemented!("{:?}", self.parser)
    }
    /// A binary message.
    pub fn handle_binary(
        &mut self,
        _data: &[u8],
        _limits: &Limits,
    ) -> Result<Option<Packet>, DecodeError> {
        unimplemented!()
    }
    /// Whether a header waits for attachments.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }
}
