//! `Sec-WebSocket-Extensions`: its grammar (RFC 6455 section 9.1) and permessage-deflate in it (RFC 7692 section 7.1).

use super::{DeflateParams, HandshakeError, is_token_byte};
use crate::websocket::deflate;

/// The first offer of permessage-deflate in a request that we can do, if any.
pub(super) fn accept_offer(value: &[u8]) -> Result<Option<DeflateParams>, HandshakeError> {
    let mut accepted = None;
    let mut scanner = Scanner { rest: value };
    loop {
        let (name, params) = scanner.extension()?;
        if name.eq_ignore_ascii_case(b"permessage-deflate") && accepted.is_none() {
            accepted = params.and_then(Params::offered);
        }
        if !scanner.skip(b',') {
            break;
        }
    }
    if scanner.rest.is_empty() {
        Ok(accepted)
    } else {
        Err(HandshakeError::ExtensionsInvalid)
    }
}

/// Checks a response to [`super::DEFLATE_OFFER`]: exactly that extension, without context takeover by the server, since
/// a decoder keeps no context.
pub(super) fn check_response(value: &[u8]) -> Result<(), HandshakeError> {
    let mut scanner = Scanner { rest: value };
    let (name, params) = scanner.extension()?;
    let params = params.ok_or(HandshakeError::ExtensionsInvalid)?;
    let is_acceptable = name.eq_ignore_ascii_case(b"permessage-deflate")
        && params.server_no_context_takeover
        && params.client_max_window_bits.is_none()
        && params.server_max_window_bits != Some(Bits::Unset);
    if is_acceptable && scanner.rest.is_empty() {
        Ok(())
    } else {
        Err(HandshakeError::ExtensionsInvalid)
    }
}

/// The parameters of one permessage-deflate. Kept only if each is known, valid and there at most once.
#[derive(Default, Clone, Copy)]
struct Params {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<Bits>,
    client_max_window_bits: Option<Bits>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bits {
    /// The parameter without a value.
    Unset,
    /// 8 to 15.
    Set(u8),
}

impl Params {
    /// Takes one parameter; `None` if it makes the extension unacceptable.
    fn with(mut self, name: &[u8], value: Option<&[u8]>) -> Option<Self> {
        let is_new = if name.eq_ignore_ascii_case(b"server_no_context_takeover") {
            value.is_none() && !std::mem::replace(&mut self.server_no_context_takeover, true)
        } else if name.eq_ignore_ascii_case(b"client_no_context_takeover") {
            value.is_none() && !std::mem::replace(&mut self.client_no_context_takeover, true)
        } else if name.eq_ignore_ascii_case(b"server_max_window_bits") {
            self.server_max_window_bits
                .replace(window_bits(value)?)
                .is_none()
        } else if name.eq_ignore_ascii_case(b"client_max_window_bits") {
            self.client_max_window_bits
                .replace(window_bits(value)?)
                .is_none()
        } else {
            false
        };
        is_new.then_some(self)
    }

    /// What we answer an offer with. The client's window is its own affair: ours is always the largest.
    fn offered(self) -> Option<DeflateParams> {
        let server_max_window_bits = match self.server_max_window_bits {
            None => deflate::WINDOW_BITS_MAX,
            Some(Bits::Set(bits)) if bits >= deflate::WINDOW_BITS_MIN => bits,
            // 8 is valid, but zlib has no such compressor; without a value it is not (RFC 7692 section 7.1.2.1).
            Some(_) => return None,
        };
        Some(DeflateParams {
            server_max_window_bits,
        })
    }
}

/// 8 to 15 in decimal without leading zeros (RFC 7692 section 7.1.2).
fn window_bits(value: Option<&[u8]>) -> Option<Bits> {
    let bits = match value {
        None => return Some(Bits::Unset),
        Some(b"8") => 8,
        Some(b"9") => 9,
        Some([b'1', digit @ b'0'..=b'5']) => 10 + (digit - b'0'),
        Some(_) => return None,
    };
    Some(Bits::Set(bits))
}

/// A reader of the header value. Never goes back, so its time is linear.
struct Scanner<'v> {
    rest: &'v [u8],
}

impl<'v> Scanner<'v> {
    /// An extension with its parameters as those of permessage-deflate: `None` if they are not.
    fn extension(&mut self) -> Result<(&'v [u8], Option<Params>), HandshakeError> {
        let name = self.token()?;
        let mut params = Some(Params::default());
        while self.skip(b';') {
            let param = self.token()?;
            let value = if self.skip(b'=') {
                Some(self.value()?)
            } else {
                None
            };
            params = params.and_then(|params| params.with(param, value));
        }
        Ok((name, params))
    }

    /// A token or a quoted token. What is quoted must be a token once unquoted (RFC 6455 section 9.1), and a token
    /// needs no escapes, so they are refused.
    fn value(&mut self) -> Result<&'v [u8], HandshakeError> {
        let is_quoted = matches!(self.rest, [b'"', ..]);
        if !is_quoted {
            return self.token();
        }
        self.rest = self.rest.get(1..).unwrap_or_default();
        let value = self.run();
        match self.rest {
            [b'"', rest @ ..] if !value.is_empty() => self.rest = rest.trim_ascii_start(),
            _ => return Err(HandshakeError::ExtensionsInvalid),
        }
        Ok(value)
    }

    fn token(&mut self) -> Result<&'v [u8], HandshakeError> {
        self.rest = self.rest.trim_ascii_start();
        let token = self.run();
        self.rest = self.rest.trim_ascii_start();
        if token.is_empty() {
            Err(HandshakeError::ExtensionsInvalid)
        } else {
            Ok(token)
        }
    }

    fn run(&mut self) -> &'v [u8] {
        let len = self
            .rest
            .iter()
            .take_while(|byte| is_token_byte(**byte))
            .count();
        let (run, rest) = self.rest.split_at(len);
        self.rest = rest;
        run
    }

    /// Skips one separator and the blanks behind it, if it is there.
    fn skip(&mut self, separator: u8) -> bool {
        let Some((first, rest)) = self.rest.split_first() else {
            return false;
        };
        if *first != separator {
            return false;
        }
        self.rest = rest.trim_ascii_start();
        true
    }
}
