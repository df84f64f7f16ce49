//! WebSocket frames to messages, for both roles.
//!
//! Bytes come in as they were read, in a buffer that the caller owns and lends; messages go out one by one. A frame that
//! lies whole in the buffer is unmasked there and handed out as a slice of it. Only what is cut off at the end of a read
//! is copied and kept, and only until its rest has come, so an idle [`Decoder`] owns no heap memory.
//!
//! It must not answer: pongs, close replies, the rate of control frames and the deadline for a message that does not
//! end ([`Decoder::is_pending`]) are the caller's.

mod error;
mod header;
mod partial;

use std::ops::Range;

use self::{
    header::Header,
    partial::{Partial, Received},
};
use super::{
    Opcode,
    deflate::{self, InflateError},
    encode, mask,
};
use crate::limits::Limits;

pub use self::error::ProtocolError;

/// Which side *we* are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Expects masked frames.
    Server,
    /// Expects unmasked frames.
    Client,
}

/// A message or control frame from the peer.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping, to be answered with a pong of the same payload (at most 125 bytes). Several in one read need one answer,
    /// to the last; how many are too many is the caller's decision.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// A close frame, to be answered with the same code. Nothing comes after it: what the peer sends on is ignored.
    Close {
        /// Absent if the frame was empty.
        code: Option<u16>,
        /// At most 123 bytes.
        reason: &'a str,
    },
}

/// The receiving half of a connection.
#[derive(Debug)]
pub struct Decoder {
    /// What a read ended with: an incomplete header or control frame (under 131 bytes), or whole frames if the caller
    /// dropped a [`Feed`] early. Still masked.
    stash: Vec<u8>,
    partial: Option<Box<Partial>>,
    role: Role,
    deflate: bool,
    /// A close frame or an error was handed out.
    ended: bool,
}

/// One read on its way through a [`Decoder`]: an iterator whose items borrow from it.
///
/// When dropped, what it did not consume is kept in the decoder for the next [`Decoder::feed`].
#[derive(Debug)]
pub struct Feed<'d> {
    decoder: &'d mut Decoder,
    input: Input<'d>,
    /// Bytes of `input` that are consumed.
    at: usize,
    limits: &'d Limits,
    /// The message that was last handed out, if it is not a slice of `input`.
    joined: Vec<u8>,
}

#[derive(Debug)]
enum Input<'d> {
    Lent(&'d mut [u8]),
    /// Behind the stash of the last read.
    Copied(Vec<u8>),
}

/// An item before it is turned into an [`Incoming`]: what it is, and where its bytes are.
struct Item {
    opcode: Opcode,
    place: Place,
}

enum Place {
    Input(Range<usize>),
    Joined,
}

impl Decoder {
    /// A decoder for a new connection. With `deflate` compressed messages are accepted, if negotiated (see
    /// [`super::handshake`]) without context takeover.
    pub fn new(role: Role, deflate: bool) -> Self {
        Self {
            stash: Vec::new(),
            partial: None,
            role,
            deflate,
            ended: false,
        }
    }

    /// Takes what was read. Call [`Feed::next`] until it returns `None`; the content of `input` is then garbage.
    pub fn feed<'d>(&'d mut self, input: &'d mut [u8], limits: &'d Limits) -> Feed<'d> {
        let input = if self.stash.is_empty() {
            Input::Lent(input)
        } else {
            let mut copied = std::mem::take(&mut self.stash);
            copied.extend_from_slice(input);
            Input::Copied(copied)
        };
        Feed {
            decoder: self,
            input,
            at: 0,
            limits,
            joined: Vec::new(),
        }
    }

    /// Whether something incomplete waits for more bytes: the caller runs a deadline, lest a peer stop there for good.
    pub fn is_pending(&self) -> bool {
        !self.stash.is_empty() || self.partial.is_some()
    }

    /// Heap bytes that are held for what is incomplete.
    pub fn heap_bytes(&self) -> usize {
        let partial = self
            .partial
            .as_ref()
            .map_or(0, |partial| size_of::<Partial>() + partial.data.capacity());
        self.stash.capacity() + partial
    }

    fn end(&mut self) {
        self.ended = true;
        self.stash = Vec::new();
        self.partial = None;
    }
}

impl Feed<'_> {
    /// The next message or control frame; `None` when the rest of the input is incomplete.
    ///
    /// After an error or a close frame there is nothing more, from this or any later feed.
    #[expect(
        clippy::should_implement_trait,
        reason = "an Iterator cannot lend from itself"
    )]
    pub fn next(&mut self) -> Option<Result<Incoming<'_>, ProtocolError>> {
        let item = match self.advance() {
            Ok(item) => item?,
            Err(error) => {
                self.decoder.end();
                return Some(Err(error));
            }
        };
        let bytes = match item.place {
            Place::Input(range) => self.input.bytes().get(range).unwrap_or_default(),
            Place::Joined => &self.joined,
        };
        let incoming = incoming(item.opcode, bytes);
        if incoming.is_err() || item.opcode == Opcode::Close {
            self.decoder.end();
        }
        Some(incoming)
    }

    fn advance(&mut self) -> Result<Option<Item>, ProtocolError> {
        loop {
            if self.decoder.ended {
                return Ok(None);
            }
            if self
                .decoder
                .partial
                .as_ref()
                .is_some_and(|partial| partial.is_within_frame())
            {
                match self.receive()? {
                    Received::Within => return Ok(None),
                    Received::Between => {}
                    Received::Whole => return self.finish().map(Some),
                }
            }
            let unread = self.input.bytes().get(self.at..).unwrap_or_default();
            let unread_len = unread.len();
            let Some(header) = header::parse(unread, self.decoder.role, self.decoder.deflate)?
            else {
                return Ok(None);
            };
            let available = unread_len - header.size;
            let is_whole = usize::try_from(header.len).is_ok_and(|len| len <= available);
            if header.opcode.is_control() {
                return Ok(if is_whole {
                    Some(self.take(&header))
                } else {
                    None
                });
            }
            match (header.opcode, &self.decoder.partial) {
                (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
                (Opcode::Text | Opcode::Binary, Some(_)) => {
                    return Err(ProtocolError::ExpectedContinuation);
                }
                (Opcode::Text | Opcode::Binary, None) if header.fin && is_whole => {
                    return self.single(&header).map(Some);
                }
                _ => self.begin_frame(&header)?,
            }
        }
    }

    /// A message in one frame that is all here: no copy, unless it must be inflated.
    fn single(&mut self, header: &Header) -> Result<Item, ProtocolError> {
        partial::checked_len(header, 0, header.compressed, self.limits)?;
        let item = self.take(header);
        let Place::Input(range) = &item.place else {
            return Ok(item);
        };
        if !header.compressed {
            return Ok(item);
        }
        let payload = self.input.bytes().get(range.clone()).unwrap_or_default();
        inflate(payload, &mut self.joined, self.limits)?;
        Ok(Item {
            opcode: header.opcode,
            place: Place::Joined,
        })
    }

    /// Consumes a frame that is all here, and unmasks it where it is.
    fn take(&mut self, header: &Header) -> Item {
        let begin = self.at + header.size;
        let end = begin + header.len as usize;
        if let Some(payload) = self.input.bytes_mut().get_mut(begin..end) {
            mask::apply(payload, header.mask);
        }
        self.at = end;
        Item {
            opcode: header.opcode,
            place: Place::Input(begin..end),
        }
    }

    fn begin_frame(&mut self, header: &Header) -> Result<(), ProtocolError> {
        let partial = self
            .decoder
            .partial
            .get_or_insert_with(|| Box::new(Partial::new(header)));
        partial.begin_frame(header, self.limits)?;
        self.at += header.size;
        Ok(())
    }

    fn receive(&mut self) -> Result<Received, ProtocolError> {
        let Some(partial) = &mut self.decoder.partial else {
            return Ok(Received::Between);
        };
        let unread = self
            .input
            .bytes_mut()
            .get_mut(self.at..)
            .unwrap_or_default();
        let (taken, received) = partial.receive(unread, self.limits)?;
        self.at += taken;
        Ok(received)
    }

    fn finish(&mut self) -> Result<Item, ProtocolError> {
        let partial = self
            .decoder
            .partial
            .take()
            .expect("a message ends only after it began");
        let Partial {
            opcode,
            compressed,
            data,
            ..
        } = *partial;
        if compressed {
            inflate(&data, &mut self.joined, self.limits)?;
        } else {
            self.joined = data;
        }
        Ok(Item {
            opcode,
            place: Place::Joined,
        })
    }
}

impl Drop for Feed<'_> {
    fn drop(&mut self) {
        if !self.decoder.ended
            && let Some(rest) = self.input.bytes().get(self.at..)
        {
            self.decoder.stash = rest.to_vec();
        }
    }
}

impl Input<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

fn incoming(opcode: Opcode, bytes: &[u8]) -> Result<Incoming<'_>, ProtocolError> {
    Ok(match opcode {
        Opcode::Text => Incoming::Text(utf8(bytes)?),
        Opcode::Binary => Incoming::Binary(bytes),
        Opcode::Ping => Incoming::Ping(bytes),
        Opcode::Pong => Incoming::Pong(bytes),
        Opcode::Close => return close(bytes),
        Opcode::Continuation => return Err(ProtocolError::UnexpectedContinuation),
    })
}

fn close(payload: &[u8]) -> Result<Incoming<'_>, ProtocolError> {
    match payload.split_first_chunk::<2>() {
        Some((code, reason)) => {
            let code = u16::from_be_bytes(*code);
            if !encode::is_close_code(code) {
                return Err(ProtocolError::CloseCodeInvalid);
            }
            Ok(Incoming::Close {
                code: Some(code),
                reason: utf8(reason)?,
            })
        }
        None if payload.is_empty() => Ok(Incoming::Close {
            code: None,
            reason: "",
        }),
        None => Err(ProtocolError::CloseTruncated),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, ProtocolError> {
    simdutf8::basic::from_utf8(bytes).map_err(|_error| ProtocolError::InvalidUtf8)
}

fn inflate(payload: &[u8], out: &mut Vec<u8>, limits: &Limits) -> Result<(), ProtocolError> {
    deflate::inflate(payload, out, limits.message_bytes_max).map_err(|error| match error {
        InflateError::Invalid => ProtocolError::InvalidDeflate,
        InflateError::TooBig => ProtocolError::MessageTooBig,
    })
}

#[cfg(test)]
mod tests;
