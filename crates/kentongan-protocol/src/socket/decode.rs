//! Engine.IO messages into Socket.IO packets (Socket.IO 5, "Packet encoding"; protocol notes 4.1, 4.2).
//!
//! Owns the header, the rules per packet type, and the packet that waits for its attachments. It must not know
//! connection states or deadlines: the caller runs a deadline while [`Decoder::is_pending`].

use bytes::Bytes;
use bytestring::ByteString;

use super::args::{Args, Parser};
use super::json;
use super::msgpack;
use super::packet::{Packet, PacketType, ROOT_NAMESPACE, is_reserved};
use crate::limits::Limits;

mod error;
#[cfg(test)]
mod tests;

pub use error::DecodeError;

/// Decodes the messages of one session. After an error the session has to end.
#[derive(Debug)]
pub struct Decoder {
    parser: Parser,
    pending: Option<Box<Pending>>,
}

/// A binary packet whose attachments have not all arrived.
#[derive(Debug)]
struct Pending {
    packet: Packet,
    attachments: Vec<Bytes>,
    expected: usize,
    /// Bytes of the attachments so far. The header is a message of its own, as clients count it.
    bytes: usize,
}

impl Decoder {
    /// A decoder for a session that speaks `parser`.
    pub fn new(parser: Parser) -> Self {
        Self {
            parser,
            pending: None,
        }
    }

    /// A text message, without the Engine.IO digit. `None`: the packet waits for its attachments.
    ///
    /// # Errors
    /// The message is not a valid packet, or none was expected now.
    pub fn handle_text(
        &mut self,
        text: &str,
        limits: &Limits,
    ) -> Result<Option<Packet>, DecodeError> {
        if self.parser == Parser::Msgpack {
            return Err(DecodeError::UnexpectedText);
        }
        if self.pending.take().is_some() {
            return Err(DecodeError::TextWhilePending);
        }
        check_size(text.len(), limits)?;
        let header = Header::parse(text, limits)?;
        let expected = header.attachments;
        let packet = header.into_packet(limits)?;
        let Some(expected) = expected else {
            return Ok(Some(packet));
        };
        self.pending = Some(Box::new(Pending {
            packet,
            attachments: Vec::new(),
            expected,
            bytes: 0,
        }));
        Ok(None)
    }

    /// A binary message: the next attachment, or a whole msgpack packet.
    ///
    /// # Errors
    /// No attachment was announced (CVE-2026-69185), the packet has become too large, or it is not valid msgpack.
    pub fn handle_binary(
        &mut self,
        data: &[u8],
        limits: &Limits,
    ) -> Result<Option<Packet>, DecodeError> {
        if self.parser == Parser::Msgpack {
            check_size(data.len(), limits)?;
            return msgpack::decode_packet(data, limits).map(Some);
        }
        let mut pending = self.pending.take().ok_or(DecodeError::UnexpectedBinary)?;
        pending.bytes = pending.bytes.saturating_add(data.len());
        check_size(pending.bytes, limits)?;
        pending.attachments.push(Bytes::copy_from_slice(data));
        if pending.attachments.len() < pending.expected {
            self.pending = Some(pending);
            return Ok(None);
        }
        let Pending {
            mut packet,
            attachments,
            ..
        } = *pending;
        if let Packet::Event { args, .. } | Packet::Ack { args, .. } = &mut packet {
            args.set_attachments(attachments);
        }
        Ok(Some(packet))
    }

    /// Whether a header waits for attachments.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }
}

fn check_size(bytes: usize, limits: &Limits) -> Result<(), DecodeError> {
    let max = limits.message_bytes_max;
    if bytes > max {
        return Err(DecodeError::TooLarge { bytes, max });
    }
    Ok(())
}

/// What stands before the JSON, and the JSON.
struct Header<'t> {
    packet_type: PacketType,
    attachments: Option<usize>,
    ns: &'t str,
    id: Option<u64>,
    json: &'t str,
}

impl<'t> Header<'t> {
    fn parse(text: &'t str, limits: &Limits) -> Result<Self, DecodeError> {
        let digit = text.chars().next().ok_or(DecodeError::Empty)?;
        let (packet_type, binary) = match digit {
            '0' => (PacketType::Connect, false),
            '1' => (PacketType::Disconnect, false),
            '2' => (PacketType::Event, false),
            '3' => (PacketType::Ack, false),
            '4' => (PacketType::ConnectError, false),
            '5' => (PacketType::Event, true),
            '6' => (PacketType::Ack, true),
            _ => return Err(DecodeError::UnknownType),
        };
        let rest = text.get(1..).unwrap_or_default();
        let (attachments, rest) = if binary {
            let (count, rest) = attachment_count(rest, limits)?;
            (Some(count), rest)
        } else {
            (None, rest)
        };
        let (ns, rest) = namespace(rest, limits)?;
        let (digits, json) = split_digits(rest);
        let id = if digits.is_empty() {
            None
        } else {
            Some(decimal(digits).ok_or(DecodeError::Id)?)
        };
        Ok(Self {
            packet_type,
            attachments,
            ns,
            id,
            json,
        })
    }

    /// The rules per packet type.
    fn into_packet(self, limits: &Limits) -> Result<Packet, DecodeError> {
        let ns = if self.ns == ROOT_NAMESPACE {
            ByteString::from_static(ROOT_NAMESPACE)
        } else {
            ByteString::from(self.ns)
        };
        match self.packet_type {
            PacketType::Connect if self.json.is_empty() => Ok(Packet::Connect { ns, auth: None }),
            PacketType::Connect => {
                let auth = Some(single(self.json, &['{'], limits)?);
                Ok(Packet::Connect { ns, auth })
            }
            PacketType::Disconnect if self.json.is_empty() => Ok(Packet::Disconnect { ns }),
            PacketType::Disconnect => Err(DecodeError::Payload),
            PacketType::Event => {
                let (name, args) = event(self.json, self.attachments, limits)?;
                let id = self.id;
                Ok(Packet::Event { ns, id, name, args })
            }
            PacketType::Ack => {
                let id = self.id.ok_or(DecodeError::AckWithoutId)?;
                let parts = json::scan_array(self.json, limits, self.attachments)?;
                let start = if parts.count == 0 {
                    parts.end
                } else {
                    parts.first.0
                };
                let text = self.json.get(start..parts.end).unwrap_or_default();
                let args = Args::from_json(ByteString::from(text), parts.count);
                Ok(Packet::Ack { ns, id, args })
            }
            PacketType::ConnectError => {
                let data = single(self.json, &['{', '"'], limits)?;
                Ok(Packet::ConnectError { ns, data })
            }
        }
    }
}

/// A payload that is one value, which begins with one of `begins`.
fn single(text: &str, begins: &[char], limits: &Limits) -> Result<Args, DecodeError> {
    if !text.starts_with(begins) {
        return Err(DecodeError::Payload);
    }
    json::scan_value(text, limits)?;
    Ok(Args::from_json(ByteString::from(text), 1))
}

/// Name and arguments of an event.
fn event(
    text: &str,
    attachments: Option<usize>,
    limits: &Limits,
) -> Result<(ByteString, Args), DecodeError> {
    if text.is_empty() && attachments.is_none() {
        return Ok((ByteString::new(), Args::empty(Parser::Json)));
    }
    let parts = json::scan_array(text, limits, attachments)?;
    let (start, end) = parts.first;
    let first = text.get(start..end).unwrap_or_default();
    // Each its own copy: to share one they would need an allocation for the count of those who share.
    let part = |from: usize, to: usize| ByteString::from(text.get(from..to).unwrap_or_default());
    let name = match first.as_bytes().first() {
        None => return Err(DecodeError::Payload),
        Some(b'"') => {
            let escaped = first.contains('\\');
            match json::unquote(first, escaped).ok_or(DecodeError::Json { at: start })? {
                std::borrow::Cow::Borrowed(_) => part(start + 1, end - 1),
                std::borrow::Cow::Owned(name) => ByteString::from(name),
            }
        }
        Some(b'-' | b'0'..=b'9') => part(start, end),
        Some(_) => return Err(DecodeError::EventNameType),
    };
    let max = limits.event_name_bytes_max;
    if name.len() > max {
        let bytes = name.len();
        return Err(DecodeError::EventNameTooLong { bytes, max });
    }
    if is_reserved(&name) {
        return Err(DecodeError::EventNameReserved);
    }
    let args = Args::from_json(part(parts.rest, parts.end), parts.count - 1);
    Ok((name, args))
}

/// `<digits>-`
fn attachment_count<'t>(text: &'t str, limits: &Limits) -> Result<(usize, &'t str), DecodeError> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-').ok_or(DecodeError::AttachmentCount)?;
    if digits.is_empty() {
        return Err(DecodeError::AttachmentCount);
    }
    let max = limits.attachments_max;
    let count = decimal(digits)
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count <= max)
        .ok_or(DecodeError::TooManyAttachments { max })?;
    if count == 0 {
        return Err(DecodeError::ZeroAttachments);
    }
    Ok((count, rest))
}

/// The namespace up to the first comma or the end; without a leading slash it is left out.
fn namespace<'t>(text: &'t str, limits: &Limits) -> Result<(&'t str, &'t str), DecodeError> {
    if !text.starts_with('/') {
        return Ok((ROOT_NAMESPACE, text));
    }
    let (ns, rest) = text.split_once(',').unwrap_or((text, ""));
    let max = limits.namespace_bytes_max;
    if ns.len() > max {
        let bytes = ns.len();
        return Err(DecodeError::NamespaceTooLong { bytes, max });
    }
    if ns.chars().any(char::is_control) {
        return Err(DecodeError::Namespace);
    }
    Ok((ns, rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(digits).unwrap_or((text, ""))
}

/// Leading zeros count as digits: more than 20 digits are no u64.
fn decimal(digits: &str) -> Option<u64> {
    const U64_DIGITS_MAX: usize = 20;
    if digits.len() > U64_DIGITS_MAX {
        return None;
    }
    digits.parse().ok()
}
