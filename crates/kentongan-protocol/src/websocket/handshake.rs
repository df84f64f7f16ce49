//! The opening handshake of RFC 6455 section 4, as headers in and a decision out, for both roles.
//!
//! Owns the WebSocket headers of an upgrade request and of its answer. It must not know the HTTP library: the caller has
//! checked method and HTTP version, and writes the response. All parsing is one pass over the header values.

mod extensions;

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};
use thiserror::Error;

use super::deflate;

/// An upgrade request that may be answered with 101.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Value of `Sec-WebSocket-Accept`.
    pub accept: String,
    /// The subprotocol to answer with in `Sec-WebSocket-Protocol`: the first that was asked for, since browsers drop a
    /// connection whose subprotocols were all ignored. `None` if none was asked for.
    pub protocol: Option<String>,
    /// Answer with this in `Sec-WebSocket-Extensions`; `None`: no compression, no such header.
    pub deflate: Option<DeflateParams>,
}

/// An agreed permessage-deflate, always without context takeover in both directions. `Display` is the value of
/// `Sec-WebSocket-Extensions` in the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateParams {
    /// Base-2 logarithm of the window that the server may use, 9 to 15. Below 15 the shared frames of
    /// [`deflate::compress_message`] may not be sent: compress with [`deflate::compress`], or send plain.
    pub server_max_window_bits: u8,
}

/// Why an upgrade was refused. `Display` is for the log; the peer gets [`Self::status`] and [`Self::code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// No `Upgrade: websocket`.
    #[error("no websocket in the Upgrade header")]
    UpgradeMissing,
    /// No `Connection: Upgrade`.
    #[error("no upgrade in the Connection header")]
    ConnectionMissing,
    /// `Sec-WebSocket-Version` is not exactly 13. The response must carry `Sec-WebSocket-Version: 13`.
    #[error("Sec-WebSocket-Version is not 13")]
    VersionUnsupported,
    /// `Sec-WebSocket-Key` is missing, there twice, or not the base64 form of 16 bytes.
    #[error("Sec-WebSocket-Key is missing or malformed")]
    KeyInvalid,
    /// `Sec-WebSocket-Protocol` is not a list of tokens.
    #[error("Sec-WebSocket-Protocol is malformed")]
    ProtocolInvalid,
    /// `Sec-WebSocket-Extensions` breaks the grammar, or (in a response) names what was not offered.
    #[error("Sec-WebSocket-Extensions is malformed or unacceptable")]
    ExtensionsInvalid,
    /// The response is not 101 (client role).
    #[error("the server did not switch protocols")]
    NotSwitched,
    /// `Sec-WebSocket-Accept` does not belong to our key (client role).
    #[error("Sec-WebSocket-Accept does not match the key")]
    AcceptMismatch,
}

impl HandshakeError {
    /// The HTTP status of the refusal: 426 for an unknown version, else 400.
    pub fn status(self) -> u16 {
        match self {
            Self::VersionUnsupported => 426,
            _ => 400,
        }
    }

    /// A stable name, for metrics and for the response body.
    pub fn code(self) -> &'static str {
        match self {
            Self::UpgradeMissing => "upgrade_missing",
            Self::ConnectionMissing => "connection_missing",
            Self::VersionUnsupported => "version_unsupported",
            Self::KeyInvalid => "key_invalid",
            Self::ProtocolInvalid => "protocol_invalid",
            Self::ExtensionsInvalid => "extensions_invalid",
            Self::NotSwitched => "not_switched",
            Self::AcceptMismatch => "accept_mismatch",
        }
    }
}

impl fmt::Display for DeflateParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permessage-deflate; server_no_context_takeover; client_no_context_takeover")?;
        if self.server_max_window_bits < deflate::WINDOW_BITS_MAX {
            write!(
                f,
                "; server_max_window_bits={}",
                self.server_max_window_bits
            )?;
        }
        Ok(())
    }
}

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2).
pub fn accept_key(key: &str) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(ACCEPT_GUID);
    STANDARD.encode(sha1.finalize())
}

/// Validates the headers of an upgrade request (RFC 6455 section 4.2.1). With `deflate`, permessage-deflate is agreed to
/// if the client offers it in a form that we can do; an offer that we cannot do is declined, not refused.
///
/// Names are compared without regard to case; a header may come in several lines where HTTP allows that.
pub fn validate<'h>(
    headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    deflate: bool,
) -> Result<Handshake, HandshakeError> {
    let mut seen = Seen::default();
    for (name, value) in headers {
        seen.take(name, value);
        if deflate && name.eq_ignore_ascii_case("sec-websocket-extensions") {
            let accepted = extensions::accept_offer(value)?;
            seen.deflate = seen.deflate.or(accepted);
        } else if name.eq_ignore_ascii_case("sec-websocket-protocol") {
            let first = first_token(value).ok_or(HandshakeError::ProtocolInvalid)?;
            seen.protocol.get_or_insert_with(|| first.to_owned());
        }
    }
    seen.check_switch()?;
    if seen.version != Once::One(b"13") {
        return Err(HandshakeError::VersionUnsupported);
    }
    let key = match seen.key {
        Once::One(key) => std::str::from_utf8(key).ok().filter(|key| is_key(key)),
        _ => None,
    };
    let accept = accept_key(key.ok_or(HandshakeError::KeyInvalid)?);
    Ok(Handshake {
        accept,
        protocol: seen.protocol,
        deflate: seen.deflate,
    })
}

/// What a client offers in `Sec-WebSocket-Extensions` to get compression that [`confirm`] accepts.
pub const DEFLATE_OFFER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Validates the response to a client's own upgrade request (RFC 6455 section 4.1): `key` is the value that it sent,
/// `deflate` whether it sent [`DEFLATE_OFFER`]. Returns whether compression is on.
pub fn confirm<'h>(
    status: u16,
    headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    key: &str,
    deflate: bool,
) -> Result<bool, HandshakeError> {
    if status != 101 {
        return Err(HandshakeError::NotSwitched);
    }
    let mut seen = Seen::default();
    let mut compressed = false;
    for (name, value) in headers {
        seen.take(name, value);
        if name.eq_ignore_ascii_case("sec-websocket-extensions") {
            if !deflate || compressed {
                return Err(HandshakeError::ExtensionsInvalid);
            }
            extensions::check_response(value)?;
            compressed = true;
        }
    }
    seen.check_switch()?;
    if seen.accept != Once::One(accept_key(key).as_bytes()) {
        return Err(HandshakeError::AcceptMismatch);
    }
    Ok(compressed)
}

/// What was found in the headers so far.
#[derive(Default)]
struct Seen<'h> {
    upgrade: bool,
    connection: bool,
    version: Once<'h>,
    key: Once<'h>,
    accept: Once<'h>,
    protocol: Option<String>,
    deflate: Option<DeflateParams>,
}

/// A header that may be there once.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Once<'h> {
    #[default]
    Absent,
    One(&'h [u8]),
    Many,
}

impl<'h> Seen<'h> {
    fn take(&mut self, name: &str, value: &'h [u8]) {
        if name.eq_ignore_ascii_case("upgrade") {
            self.upgrade |= has_token(value, b"websocket");
        } else if name.eq_ignore_ascii_case("connection") {
            self.connection |= has_token(value, b"upgrade");
        } else if name.eq_ignore_ascii_case("sec-websocket-version") {
            self.version.set(value);
        } else if name.eq_ignore_ascii_case("sec-websocket-key") {
            self.key.set(value);
        } else if name.eq_ignore_ascii_case("sec-websocket-accept") {
            self.accept.set(value);
        }
    }

    fn check_switch(&self) -> Result<(), HandshakeError> {
        if !self.upgrade {
            return Err(HandshakeError::UpgradeMissing);
        }
        if !self.connection {
            return Err(HandshakeError::ConnectionMissing);
        }
        Ok(())
    }
}

impl<'h> Once<'h> {
    fn set(&mut self, value: &'h [u8]) {
        *self = if *self == Self::Absent {
            Self::One(value.trim_ascii())
        } else {
            Self::Many
        };
    }
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value
        .split(|byte| *byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

/// The first token of a comma-separated list, if the whole list is made of tokens.
fn first_token(value: &[u8]) -> Option<&str> {
    let mut tokens = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let first = tokens.next().filter(|token| is_token(token))?;
    if !tokens.all(is_token) {
        return None;
    }
    std::str::from_utf8(first).ok()
}

/// A token of RFC 9110 section 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// 16 bytes in base64. The unused bits of the last digit are not looked at: some clients fill them at random.
fn is_key(key: &str) -> bool {
    let digits = key.strip_suffix("==").unwrap_or_default();
    digits.len() == 22
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests;
