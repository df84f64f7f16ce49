//! One Engine.IO packet: a type digit and its data, or binary data alone.
//!
//! Owns the text form (a WebSocket text frame, or one entry of a polling payload). A binary WebSocket frame carries the
//! raw data without a type and never comes through here. It must not know what is inside a message.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use bytes::BytesMut;

/// The seven packet types, with the digit that stands for each on the wire (Engine.IO 4, "Packet encoding").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// Handshake data, server to client.
    Open = 0,
    /// The transport is to be closed.
    Close = 1,
    /// Heartbeat, or the probe of an upgrade.
    Ping = 2,
    /// Answer to a ping.
    Pong = 3,
    /// Application data.
    Message = 4,
    /// The client has switched to the new transport.
    Upgrade = 5,
    /// Ends a parked poll without data.
    Noop = 6,
}

impl PacketType {
    /// The ASCII digit on the wire.
    pub const fn digit(self) -> char {
        match self {
            Self::Open => '0',
            Self::Close => '1',
            Self::Ping => '2',
            Self::Pong => '3',
            Self::Message => '4',
            Self::Upgrade => '5',
            Self::Noop => '6',
        }
    }
}

/// A decoded packet. Text borrows from the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Handshake data as JSON text.
    Open(&'a str),
    /// Close; data that a peer may have added is dropped.
    Close,
    /// Ping with its data: empty for a heartbeat, `probe` for an upgrade.
    Ping(&'a str),
    /// Pong with its data.
    Pong(&'a str),
    /// A message with text data, possibly empty.
    Text(&'a str),
    /// A message with binary data. Owned when it came as base64.
    Binary(Cow<'a, [u8]>),
    /// Upgrade.
    Upgrade,
    /// Noop.
    Noop,
}

/// Why a text is not a packet. All are the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// No type digit: an empty WebSocket frame, or an empty entry of a payload.
    #[error("empty packet")]
    Empty,
    /// The first character is neither a digit from 0 to 6 nor `b`.
    #[error("unknown packet type {0:?}")]
    UnknownType(char),
    /// The data after `b` is not base64.
    #[error("invalid base64: {0}")]
    Base64(base64::DecodeError),
}

impl PacketError {
    /// Stable name for metrics and logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "packet_empty",
            Self::UnknownType(_) => "packet_type",
            Self::Base64(_) => "packet_base64",
        }
    }

    /// What a client may be told.
    pub const fn client_text(&self) -> &'static str {
        "invalid packet"
    }
}

impl<'a> Packet<'a> {
    /// Decodes a WebSocket text frame or one entry of a polling payload.
    ///
    /// # Errors
    /// When `text` is empty, begins with an unknown type, or holds invalid base64.
    pub fn decode_text(text: &'a str) -> Result<Packet<'a>, PacketError> {
        let mut chars = text.chars();
        let first = chars.next().ok_or(PacketError::Empty)?;
        let data = chars.as_str();
        Ok(match first {
            '0' => Packet::Open(data),
            '1' => Packet::Close,
            '2' => Packet::Ping(data),
            '3' => Packet::Pong(data),
            '4' => Packet::Text(data),
            '5' => Packet::Upgrade,
            '6' => Packet::Noop,
            'b' => Packet::Binary(Cow::Owned(decode_base64(data)?)),
            other => return Err(PacketError::UnknownType(other)),
        })
    }

    /// Appends the text form; binary becomes `b` and standard base64.
    pub fn encode_text(&self, out: &mut BytesMut) {
        let mut digit = [0; 4];
        let data = match self {
            Packet::Binary(data) => {
                out.extend_from_slice(encode_base64(data).as_bytes());
                return;
            }
            Packet::Open(data) | Packet::Ping(data) | Packet::Pong(data) | Packet::Text(data) => {
                data
            }
            Packet::Close | Packet::Upgrade | Packet::Noop => "",
        };
        out.extend_from_slice(
            self.packet_type()
                .digit()
                .encode_utf8(&mut digit)
                .as_bytes(),
        );
        out.extend_from_slice(data.as_bytes());
    }

    /// The type; binary data is a message.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Packet::Open(_) => PacketType::Open,
            Packet::Close => PacketType::Close,
            Packet::Ping(_) => PacketType::Ping,
            Packet::Pong(_) => PacketType::Pong,
            Packet::Text(_) | Packet::Binary(_) => PacketType::Message,
            Packet::Upgrade => PacketType::Upgrade,
            Packet::Noop => PacketType::Noop,
        }
    }
}

/// `b` followed by the base64 of `data`.
pub(crate) fn encode_base64(data: &[u8]) -> String {
    let mut text = String::with_capacity(1 + data.len().div_ceil(3) * 4);
    text.push('b');
    STANDARD.encode_string(data, &mut text);
    text
}

/// Node's decoder takes the url-safe alphabet and missing padding too, so some clients send them.
fn decode_base64(text: &str) -> Result<Vec<u8>, PacketError> {
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const LENIENT: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    const LENIENT_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
    let url_safe = memchr::memchr2(b'-', b'_', text.as_bytes()).is_some();
    let engine = if url_safe { LENIENT_URL_SAFE } else { LENIENT };
    engine.decode(text).map_err(PacketError::Base64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_every_type() {
        let binary = |bytes: &[u8]| Packet::Binary(Cow::Owned(bytes.to_vec()));
        let table: &[(&str, Packet<'_>)] = &[
            ("0{\"sid\":\"x\"}", Packet::Open("{\"sid\":\"x\"}")),
            ("1", Packet::Close),
            ("1ignored", Packet::Close),
            ("2", Packet::Ping("")),
            ("2probe", Packet::Ping("probe")),
            ("3probe", Packet::Pong("probe")),
            ("4", Packet::Text("")),
            ("4€", Packet::Text("€")),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
            ("b", binary(&[])),
            ("bAQIDBA==", binary(&[1, 2, 3, 4])),
            ("bAQIDBA", binary(&[1, 2, 3, 4])),
            ("b+/8=", binary(&[0xfb, 0xff])),
            ("b-_8", binary(&[0xfb, 0xff])),
        ];
        for (text, expected) in table {
            assert_eq!(Packet::decode_text(text).as_ref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_packet() {
        for (text, code) in [
            ("", "packet_empty"),
            ("7", "packet_type"),
            ("a", "packet_type"),
            (" 4x", "packet_type"),
            ("\u{feff}4x", "packet_type"),
            ("b4", "packet_base64"),
            ("bAQ ID", "packet_base64"),
            ("b€", "packet_base64"),
        ] {
            assert_eq!(
                Packet::decode_text(text).map_err(|error| error.code()),
                Err(code),
                "{text:?}"
            );
        }
    }

    #[test]
    fn encodes_what_it_decodes() {
        for text in [
            "0{}",
            "1",
            "2",
            "2probe",
            "3",
            "4",
            "4hello€",
            "5",
            "6",
            "bAQIDBA==",
            "b",
        ] {
            let mut out = BytesMut::new();
            Packet::decode_text(text).unwrap().encode_text(&mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
