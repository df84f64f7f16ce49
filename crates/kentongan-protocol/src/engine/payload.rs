//! A polling payload: packets joined by the record separator, and the JSON of the open packet.
//!
//! Owns the split and its limits. It must not know HTTP, nor what the packets mean.

use std::fmt::Write as _;

use super::packet::{Packet, PacketError};
use crate::limits::Limits;

/// Stands between two packets of a payload (U+001E). JSON escapes it, so it cannot occur inside a Socket.IO packet.
pub const SEPARATOR: u8 = 0x1e;

/// Why a body as a whole is refused, before any packet is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// More bytes than [`Limits::message_bytes_max`]. The answer is 413 and the session goes on.
    #[error("payload of {bytes} bytes, at most {max} are accepted")]
    TooLarge {
        /// Bytes of the body.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// More packets than [`Limits::payload_packets_max`] (CVE-2026-32689 in a peer).
    #[error("payload of {packets} packets, at most {max} are accepted")]
    TooManyPackets {
        /// Packets counted.
        packets: usize,
        /// The limit.
        max: usize,
    },
    /// The body is not UTF-8.
    #[error("payload is not UTF-8")]
    Utf8,
}

impl PayloadError {
    /// Stable name for metrics and logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "payload_too_large",
            Self::TooManyPackets { .. } => "payload_packets",
            Self::Utf8 => "payload_utf8",
        }
    }

    /// What a client may be told.
    pub const fn client_text(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "payload too large",
            Self::TooManyPackets { .. } => "too many packets",
            Self::Utf8 => "invalid payload",
        }
    }
}

/// Checks size, packet count and UTF-8 of a polling body, then yields its packets one by one without copying.
///
/// # Errors
/// When the body as a whole breaks a limit or is not UTF-8.
pub fn decode<'a>(body: &'a [u8], limits: &Limits) -> Result<PayloadIter<'a>, PayloadError> {
    if body.len() > limits.message_bytes_max {
        return Err(PayloadError::TooLarge {
            bytes: body.len(),
            max: limits.message_bytes_max,
        });
    }
    let packets = memchr::memchr_iter(SEPARATOR, body).count() + 1;
    if packets > limits.payload_packets_max {
        return Err(PayloadError::TooManyPackets {
            packets,
            max: limits.payload_packets_max,
        });
    }
    let text = simdutf8::basic::from_utf8(body).map_err(|_| PayloadError::Utf8)?;
    Ok(PayloadIter { rest: Some(text) })
}

/// The packets of a payload. Ends after the first error: earlier packets count, later ones do not (as in Node).
#[derive(Debug, Clone)]
pub struct PayloadIter<'a> {
    rest: Option<&'a str>,
}

impl<'a> Iterator for PayloadIter<'a> {
    type Item = Result<Packet<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest?;
        let entry = match rest.split_once(char::from(SEPARATOR)) {
            Some((entry, rest)) => {
                self.rest = Some(rest);
                entry
            }
            None => {
                self.rest = None;
                rest
            }
        };
        let packet = Packet::decode_text(entry);
        if packet.is_err() {
            self.rest = None;
        }
        Some(packet)
    }
}

/// The JSON of the open packet: exactly these five keys, in the documented order (Engine.IO 4, "Handshake").
///
/// `sid` and `upgrades` are ours and need no escaping. The times are in milliseconds, `max_payload` in bytes.
pub fn open_json(
    sid: &str,
    upgrades: &[&str],
    ping_interval_ms: u64,
    ping_timeout_ms: u64,
    max_payload: usize,
) -> String {
    let mut json = String::with_capacity(128 + sid.len());
    json.push_str("{\"sid\":\"");
    json.push_str(sid);
    json.push_str("\",\"upgrades\":[");
    for (index, upgrade) in upgrades.iter().enumerate() {
        json.push_str(if index == 0 { "\"" } else { ",\"" });
        json.push_str(upgrade);
        json.push('"');
    }
    write!(
        json,
        "],\"pingInterval\":{ping_interval_ms},\"pingTimeout\":{ping_timeout_ms},\"maxPayload\":{max_payload}}}"
    )
    .expect("writing to a String cannot fail");
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(body: &str) -> Vec<Result<String, &'static str>> {
        decode(body.as_bytes(), &Limits::default())
            .unwrap()
            .map(|packet| {
                packet
                    .map(|packet| format!("{packet:?}"))
                    .map_err(|error| error.code())
            })
            .collect()
    }

    #[test]
    fn splits_and_stops_at_the_first_error() {
        let ok = |text: &str| Ok(text.to_owned());
        let table: &[(&str, Vec<Result<String, &'static str>>)] = &[
            ("4hello", vec![ok("Text(\"hello\")")]),
            (
                "4hello\x1e2\x1ebAQIDBA==",
                vec![
                    ok("Text(\"hello\")"),
                    ok("Ping(\"\")"),
                    ok("Binary([1, 2, 3, 4])"),
                ],
            ),
            (
                "4a\x1eabc\x1e4b",
                vec![ok("Text(\"a\")"), Err("packet_type")],
            ),
            ("", vec![Err("packet_empty")]),
            ("4a\x1e", vec![ok("Text(\"a\")"), Err("packet_empty")]),
            ("\x1e4a", vec![Err("packet_empty")]),
        ];
        for (body, expected) in table {
            assert_eq!(&codes(body), expected, "{body:?}");
        }
    }

    #[test]
    fn size_limit_is_inclusive() {
        let limits = Limits {
            message_bytes_max: 10,
            ..Limits::default()
        };
        for (bytes, expected) in [(9, None), (10, None), (11, Some("payload_too_large"))] {
            let body = vec![b'4'; bytes];
            assert_eq!(
                decode(&body, &limits).err().map(|error| error.code()),
                expected,
                "{bytes}"
            );
        }
    }

    #[test]
    fn cve_2026_32689_payload_packet_count() {
        let limits = Limits::default();
        for (packets, expected) in [
            (16_383, None),
            (16_384, None),
            (16_385, Some("payload_packets")),
            (500_000, Some("payload_packets")),
        ] {
            let body = vec!["4"; packets].join("\x1e");
            let decoded = decode(body.as_bytes(), &limits);
            assert_eq!(
                decoded.as_ref().err().map(PayloadError::code),
                expected,
                "{packets}"
            );
            if let Ok(iter) = decoded {
                assert_eq!(iter.count(), packets);
            }
        }
    }

    #[test]
    fn refuses_invalid_utf8_anywhere() {
        for body in [
            &b"4\xff"[..],
            b"4a\x1e4\xc3",
            b"\xed\xa0\x80",
            b"4\xf4\x90\x80\x80",
        ] {
            assert_eq!(
                decode(body, &Limits::default()).err(),
                Some(PayloadError::Utf8),
                "{body:?}"
            );
        }
    }

    #[test]
    fn open_packet_has_the_documented_keys() {
        assert_eq!(
            open_json(
                "rD0QToCO9-9N91k1AAAA",
                &["websocket"],
                25_000,
                20_000,
                1_000_000
            ),
            r#"{"sid":"rD0QToCO9-9N91k1AAAA","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
        assert_eq!(
            open_json("s", &[], 1, 2, 3),
            r#"{"sid":"s","upgrades":[],"pingInterval":1,"pingTimeout":2,"maxPayload":3}"#
        );
        assert!(
            open_json("s", &["websocket", "webtransport"], 1, 2, 3)
                .contains(r#"["websocket","webtransport"]"#)
        );
    }
}
