//! Tables for the opening handshake and its extension negotiation.

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The headers of a valid request, with some replaced (or removed, by `None`) and some added.
fn request(
    changes: &[(&'static str, Option<&'static [u8]>)],
) -> Vec<(&'static str, &'static [u8])> {
    let mut headers: Vec<(&'static str, &'static [u8])> = vec![
        ("Host", b"localhost"),
        ("Upgrade", b"websocket"),
        ("Connection", b"Upgrade"),
        ("Sec-WebSocket-Key", KEY.as_bytes()),
        ("Sec-WebSocket-Version", b"13"),
    ];
    for (name, value) in changes {
        headers.retain(|(present, _)| present != name);
        headers.extend(value.map(|value| (*name, value)));
    }
    headers
}

#[test]
fn rfc_6455_section_1_3_example() {
    assert_eq!(accept_key(KEY), ACCEPT);
    let expected = Handshake {
        accept: ACCEPT.to_owned(),
        protocol: None,
        deflate: None,
    };
    assert_eq!(validate(request(&[]), true), Ok(expected));
}

#[test]
fn required_headers() {
    fn check(name: &'static str, value: Option<&'static [u8]>, expected: Option<HandshakeError>) {
        let result = validate(request(&[(name, value)]), false);
        assert_eq!(result.err(), expected, "{name}: {value:?}");
    }
    use HandshakeError::*;
    check("Upgrade", None, Some(UpgradeMissing));
    check("Upgrade", Some(b"h2c"), Some(UpgradeMissing));
    check("Upgrade", Some(b"websocket2"), Some(UpgradeMissing));
    check("Upgrade", Some(b"h2c, WebSocket"), None);
    check("Connection", None, Some(ConnectionMissing));
    check("Connection", Some(b"keep-alive"), Some(ConnectionMissing));
    check("Connection", Some(b"keep-alive, Upgrade"), None);
    check("Connection", Some(b"upgrade"), None);
    check("Sec-WebSocket-Version", None, Some(VersionUnsupported));
    check(
        "Sec-WebSocket-Version",
        Some(b"8"),
        Some(VersionUnsupported),
    );
    check(
        "Sec-WebSocket-Version",
        Some(b"13, 8"),
        Some(VersionUnsupported),
    );
    check("Sec-WebSocket-Version", Some(b" 13 "), None);
    check("Sec-WebSocket-Key", None, Some(KeyInvalid));
    check("Sec-WebSocket-Key", Some(b""), Some(KeyInvalid));
    check(
        "Sec-WebSocket-Key",
        Some(b"dGhlIHNhbXBsZSBub25jZQ="),
        Some(KeyInvalid),
    );
    check(
        "Sec-WebSocket-Key",
        Some(b"dGhlIHNhbXBsZSBub25jZ==="),
        Some(KeyInvalid),
    );
    check(
        "Sec-WebSocket-Key",
        Some(b"dGhlIHNhbXBsZSBub25jZQAA"),
        Some(KeyInvalid),
    );
    check(
        "Sec-WebSocket-Key",
        Some(b"dGhlIHNhbXBsZSBub25jZ\xff=="),
        Some(KeyInvalid),
    );
    check("Sec-WebSocket-Key", Some(b"dGhlIHNhbXBsZSBub25jZR=="), None);
}

#[test]
fn names_are_compared_without_case_and_doubles_refused() {
    let lower = request(&[])
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect::<Vec<_>>();
    assert!(
        validate(
            lower.iter().map(|(name, value)| (name.as_str(), *value)),
            false
        )
        .is_ok()
    );
    for name in ["Sec-WebSocket-Key", "Sec-WebSocket-Version"] {
        let mut headers = request(&[]);
        let double = headers
            .iter()
            .find(|(present, _)| *present == name)
            .copied()
            .unwrap();
        headers.push(double);
        assert!(validate(headers, false).is_err(), "{name} twice");
    }
    let mut lines = request(&[("Connection", Some(b"keep-alive"))]);
    lines.push(("Connection", b"Upgrade"));
    assert!(validate(lines, false).is_ok());
}

#[test]
fn errors_have_a_status() {
    assert_eq!(HandshakeError::VersionUnsupported.status(), 426);
    assert_eq!(HandshakeError::KeyInvalid.status(), 400);
}

/// A long list of subprotocols is read once, and a malformed one refused (ws CVE-2021-32640, a quadratic pattern).
#[test]
fn cve_2021_32640_protocol_header() {
    fn check(value: &[u8], expected: Result<Option<&str>, HandshakeError>) {
        let mut headers: Vec<(&str, &[u8])> = request(&[]);
        headers.push(("Sec-WebSocket-Protocol", value));
        let result = validate(headers, false).map(|handshake| handshake.protocol);
        assert_eq!(
            result
                .as_ref()
                .map(Option::as_deref)
                .map_err(|error| *error),
            expected
        );
    }
    check(b"chat", Ok(Some("chat")));
    check(b"chat, superchat", Ok(Some("chat")));
    check(b"v1.chat_x~", Ok(Some("v1.chat_x~")));
    let invalid = Err(HandshakeError::ProtocolInvalid);
    check(b"", invalid);
    check(b"chat,", invalid);
    check(b",chat", invalid);
    check(b"ch at", invalid);
    check(b"chat\r\nX: y", invalid);
    check(b"ch\x00at", invalid);
    check(b"ch\xfct", invalid);
    let blanks = [&b"a"[..], &b" ".repeat(1 << 20), b"b"].concat();
    check(&blanks, invalid);
    check(&b"a,".repeat(1 << 20), invalid);
    check(&[&b"a,".repeat(1 << 20)[..], b"b"].concat(), Ok(Some("a")));
}

#[test]
fn deflate_offers() {
    fn check(value: &[u8], expected: Option<u8>) {
        let mut headers: Vec<(&str, &[u8])> = request(&[]);
        headers.push(("Sec-WebSocket-Extensions", value));
        let result = validate(headers, true).map(|handshake| handshake.deflate);
        let expected = expected.map(|server_max_window_bits| DeflateParams {
            server_max_window_bits,
        });
        assert_eq!(result, Ok(expected), "{:?}", String::from_utf8_lossy(value));
    }
    check(b"permessage-deflate", Some(15));
    check(b"permessage-deflate; client_max_window_bits", Some(15));
    check(b"permessage-deflate; client_max_window_bits=9", Some(15));
    check(
        b"permessage-deflate;client_max_window_bits=\"15\"",
        Some(15),
    );
    check(
        b"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        Some(15),
    );
    check(b"permessage-deflate; server_max_window_bits=15", Some(15));
    check(
        b"permessage-deflate; server_max_window_bits=9; client_max_window_bits",
        Some(9),
    );
    check(
        b"permessage-deflate; server_max_window_bits=\"10\"",
        Some(10),
    );
    check(b"x-webkit-deflate-frame, Permessage-Deflate", Some(15));
    // Declined, and the next offer taken.
    check(
        b"permessage-deflate; server_max_window_bits=8, permessage-deflate",
        Some(15),
    );
    check(
        b"permessage-deflate; server_max_window_bits=10, permessage-deflate",
        Some(10),
    );
    check(
        b"permessage-deflate; future=1 , permessage-deflate",
        Some(15),
    );
    // Declined: unknown, double or invalid parameters (RFC 7692 section 7.1).
    check(b"permessage-bzip2; level=9", None);
    check(b"permessage-deflate; future", None);
    check(
        b"permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        None,
    );
    check(b"permessage-deflate; server_no_context_takeover=1", None);
    check(b"permessage-deflate; client_no_context_takeover=true", None);
    check(
        b"permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        None,
    );
    check(b"permessage-deflate; server_max_window_bits=8", None);
}

#[test]
fn deflate_is_only_agreed_to_when_wanted_and_over_several_lines() {
    let offer = request(&[("Sec-WebSocket-Extensions", Some(b"permessage-deflate"))]);
    assert_eq!(validate(offer.clone(), false).unwrap().deflate, None);
    let mut lines = request(&[("Sec-WebSocket-Extensions", Some(b"permessage-other"))]);
    lines.push((
        "Sec-WebSocket-Extensions",
        b"permessage-deflate; server_max_window_bits=12",
    ));
    let deflate = validate(lines, true).unwrap().deflate.unwrap();
    assert_eq!(
        deflate.to_string(),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12"
    );
    assert_eq!(
        validate(offer, true).unwrap().deflate.unwrap().to_string(),
        DEFLATE_OFFER
    );
}

/// Any value of a window size is declined or answered, never a crash (undici CVE-2026-2229).
#[test]
fn cve_2026_2229_window_bits() {
    let values: [&[u8]; 16] = [
        b"",
        b"=",
        b"=0",
        b"=7",
        b"=08",
        b"=015",
        b"=16",
        b"=99",
        b"=256",
        b"=-1",
        b"=+9",
        b"=9.0",
        b"=1e1",
        b"=0x9",
        b"=\"\"",
        b"=18446744073709551617",
    ];
    for value in values {
        for name in ["server_max_window_bits", "client_max_window_bits"] {
            let offer = [b"permessage-deflate; ", name.as_bytes(), value].concat();
            let mut headers: Vec<(&str, &[u8])> = request(&[]);
            headers.push(("Sec-WebSocket-Extensions", &offer));
            let is_hint = value.is_empty() && name == "client_max_window_bits";
            let result = validate(headers, true);
            let accepted = result.is_ok_and(|handshake| handshake.deflate.is_some());
            assert_eq!(accepted, is_hint, "{}", String::from_utf8_lossy(&offer));

            let answer = [DEFLATE_OFFER.as_bytes(), b"; ", name.as_bytes(), value].concat();
            assert_eq!(
                response(&answer, true),
                Err(HandshakeError::ExtensionsInvalid)
            );
        }
    }
}

/// A crafted extension header is refused in linear time, without a crash (GHSA-5v72-xg48-5rpm, ws 1.1.5 and 3.3.1).
#[test]
fn ghsa_5v72_xg48_5rpm_extension_header() {
    fn check(value: &[u8]) {
        let mut headers: Vec<(&str, &[u8])> = request(&[]);
        headers.push(("Sec-WebSocket-Extensions", value));
        assert_eq!(
            validate(headers, true).err(),
            Some(HandshakeError::ExtensionsInvalid)
        );
    }
    for name in ["constructor", "__proto__", "hasOwnProperty", "toString"] {
        for value in [
            format!("{name}; {name}=1"),
            format!("permessage-deflate; {name}"),
        ] {
            let mut headers: Vec<(&str, &[u8])> = request(&[]);
            headers.push(("Sec-WebSocket-Extensions", value.as_bytes()));
            assert_eq!(
                validate(headers, true).map(|handshake| handshake.deflate),
                Ok(None)
            );
        }
    }
    check(b"");
    check(b",");
    check(b"permessage-deflate,");
    check(b"permessage-deflate;");
    check(b"permessage-deflate; =1");
    check(b"permessage-deflate; client_max_window_bits=");
    check(b"permessage-deflate; client_max_window_bits=\"");
    check(b"permessage-deflate; client_max_window_bits=\"9");
    check(b"permessage-deflate; client_max_window_bits=\"\\9\"");
    check(b"permessage-deflate; a b");
    check(b"permessage deflate");
    check(b"permessage-deflate\r\nX: y");
    check(b"permessage-deflate\x00");
    check(&b"a;".repeat(1 << 20));
    check(&b"a,".repeat(1 << 20));
    check(&[&b"a"[..], &b" ".repeat(1 << 20), b"b"].concat());
    check(&[&b"a; b=\""[..], &b"c".repeat(1 << 20)].concat());
}

fn response(extensions: &[u8], deflate: bool) -> Result<bool, HandshakeError> {
    let mut headers: Vec<(&str, &[u8])> = vec![
        ("upgrade", b"websocket"),
        ("connection", b"upgrade"),
        ("sec-websocket-accept", ACCEPT.as_bytes()),
    ];
    if !extensions.is_empty() {
        headers.push(("sec-websocket-extensions", extensions));
    }
    confirm(101, headers, KEY, deflate)
}

#[test]
fn client_checks_the_response() {
    let ours = DeflateParams {
        server_max_window_bits: 15,
    }
    .to_string();
    assert_eq!(response(b"", true), Ok(false));
    assert_eq!(response(ours.as_bytes(), true), Ok(true));
    assert_eq!(
        response(b"permessage-deflate; server_no_context_takeover", true),
        Ok(true)
    );
    assert_eq!(
        response(
            b"permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
            true
        ),
        Ok(true)
    );
    let unacceptable = Err(HandshakeError::ExtensionsInvalid);
    assert_eq!(
        response(ours.as_bytes(), false),
        unacceptable,
        "never offered"
    );
    assert_eq!(
        response(b"permessage-deflate", true),
        unacceptable,
        "the server would keep context"
    );
    assert_eq!(
        response(b"permessage-deflate; server_no_context_takeover, x", true),
        unacceptable
    );
    assert_eq!(
        response(
            b"permessage-deflate; server_no_context_takeover; client_max_window_bits=9",
            true
        ),
        unacceptable
    );

    assert_eq!(
        confirm(200, [], KEY, false),
        Err(HandshakeError::NotSwitched)
    );
    assert_eq!(
        confirm(101, [], KEY, false),
        Err(HandshakeError::UpgradeMissing)
    );
    let wrong: [(&str, &[u8]); 3] = [
        ("Upgrade", b"websocket"),
        ("Connection", b"Upgrade"),
        ("Sec-WebSocket-Accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOp="),
    ];
    assert_eq!(
        confirm(101, wrong, KEY, false),
        Err(HandshakeError::AcceptMismatch)
    );
}
