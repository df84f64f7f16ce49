//! The numbered packets that both sides send, and the little of the wire that the client needs to read them.
//!
//! A text is `t<seq>`, a binary `b<seq>`, and a packet with attachments the text `h<seq>:<count>` followed by the
//! binaries `a<seq>.<index>`, with nothing between.

use bytes::Bytes;
use kentongan_protocol::engine::packet::Packet;
use kentongan_protocol::frame::Frame;

use super::random::Random;

/// One Engine.IO packet as it travels on a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Text(String),
    Binary(Vec<u8>),
}

impl Message {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The packet inside. The world only makes valid ones, except for garbage.
    pub(super) fn packet(&self) -> Option<Packet<'_>> {
        match self {
            Self::Text(text) => Packet::decode_text(text).ok(),
            Self::Binary(data) => Some(Packet::Binary(data.as_slice().into())),
        }
    }

    /// The form in a polling payload.
    pub(super) fn polling(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Binary(data) => {
                let mut out = bytes::BytesMut::new();
                Packet::Binary(data.as_slice().into()).encode_text(&mut out);
                String::from_utf8_lossy(&out).into_owned()
            }
        }
    }
}

/// What one application sends as its packet `seq`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Text,
    Binary,
    Attachments(u64),
}

impl Shape {
    pub(super) fn any(random: &mut Random) -> Self {
        match random.below(4) {
            0 => Self::Binary,
            1 => Self::Attachments(1 + random.below(4)),
            _ => Self::Text,
        }
    }

    /// As the server sends it.
    pub(super) fn frame(self, seq: u64) -> Frame {
        match self {
            Self::Text => Frame::message(&format!("t{seq}"), &[]),
            Self::Binary => Frame::binary(format!("b{seq}").as_bytes()),
            Self::Attachments(count) => {
                let attachments: Vec<Bytes> = (0..count)
                    .map(|index| Bytes::from(format!("a{seq}.{index}")))
                    .collect();
                Frame::message(&format!("h{seq}:{count}"), &attachments)
            }
        }
    }

    /// As the client sends it.
    pub(super) fn messages(self, seq: u64) -> Vec<Message> {
        match self {
            Self::Text => vec![Message::Text(format!("4t{seq}"))],
            Self::Binary => vec![Message::Binary(format!("b{seq}").into_bytes())],
            Self::Attachments(count) => {
                let header = Message::Text(format!("4h{seq}:{count}"));
                let attachments =
                    (0..count).map(|index| Message::Binary(format!("a{seq}.{index}").into_bytes()));
                std::iter::once(header).chain(attachments).collect()
            }
        }
    }
}

/// Reads the numbered packets of one direction and insists on every one of them, in order.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    /// Packets that have arrived in full.
    pub(super) received: u64,
    /// The packet whose attachments are arriving: how many there are, and how many have come.
    pending: Option<(u64, u64)>,
}

impl Receiver {
    pub(super) fn handle(&mut self, packet: &Packet<'_>) -> Result<(), String> {
        let (text, binary) = match packet {
            Packet::Text(text) => ((*text).to_owned(), false),
            Packet::Binary(data) => (String::from_utf8_lossy(data).into_owned(), true),
            _ => return Err(format!("{packet:?} is no message")),
        };
        if binary != text.starts_with(['a', 'b']) {
            return Err(format!("{text} came in the wrong form"));
        }
        let seq = self.received;
        let expected = match self.pending {
            Some((_, index)) => format!("a{seq}.{index}"),
            None => match text.get(..1) {
                Some("h") => format!("h{seq}:{}", text.rsplit(':').next().unwrap_or_default()),
                Some("b") => format!("b{seq}"),
                _ => format!("t{seq}"),
            },
        };
        if text != expected {
            return Err(format!(
                "lost, doubled, reordered or torn: expected {expected}, got {text}"
            ));
        }
        self.pending = match self.pending {
            Some((count, index)) if index + 1 < count => Some((count, index + 1)),
            None if text.starts_with('h') => {
                let count = text.rsplit(':').next().and_then(|count| count.parse().ok());
                Some((count.ok_or("a header without a count")?, 0))
            }
            _ => None,
        };
        if self.pending.is_none() {
            self.received += 1;
        }
        Ok(())
    }
}

/// The messages in the bytes that the server wrote to a WebSocket: small, unmasked, whole frames.
pub(super) fn websocket_messages(mut bytes: &[u8]) -> Result<Vec<Message>, String> {
    let mut messages = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let length = usize::from(*length);
        if length > 125 || rest.len() < length {
            return Err(format!("a frame of {length} bytes in {} bytes", rest.len()));
        }
        let (data, rest) = rest.split_at(length);
        messages.push(match first {
            0x81 => Message::Text(String::from_utf8_lossy(data).into_owned()),
            0x82 => Message::Binary(data.to_vec()),
            _ => return Err(format!("frame header {first:#x}")),
        });
        bytes = rest;
    }
    if bytes.is_empty() {
        Ok(messages)
    } else {
        Err("half a frame".to_owned())
    }
}
