//! Messages between nodes as bytes: a version byte, then msgpack. Bad bytes are an error with a code, never a panic.
//!
//! Arguments travel in the form in which clients send and get them, JSON text with its attachments or msgpack, and are
//! read by the decoder that reads clients' packets: what a node takes from another one is held to the same rules.

use bytes::Bytes;
use kentongan_protocol::limits::DEPTH_CEILING;
use serde::{Deserialize, Serialize};

use super::{config::ClusterLimits, message::ClusterMessage};

/// Version of the form that [`encode`] writes, its first byte. A node refuses all others.
pub const CLUSTER_VERSION: u8 = 1;

/// Bytes that are no message between nodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterDecodeError {
    /// No bytes.
    #[error("an empty message")]
    Empty,
    /// More bytes than [`ClusterLimits::message_bytes_max`].
    #[error("{bytes} bytes, {max} are allowed")]
    TooLarge {
        /// Bytes of the message.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Of another version of the software.
    #[error("version {0} of the messages between nodes, {CLUSTER_VERSION} is spoken here")]
    Version(u8),
    /// More rooms than [`ClusterLimits::message_rooms_max`].
    #[error("{rooms} rooms, {max} are allowed")]
    TooManyRooms {
        /// Rooms that the message names.
        rooms: usize,
        /// The limit.
        max: usize,
    },
    /// No message.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Bytes behind the message.
    #[error("{0} bytes behind the message")]
    Trailing(usize),
    /// A message of this node, come back.
    #[error("a message of this very node")]
    Own,
    /// A message for another node.
    #[error("a message for another node")]
    Misdirected,
}

impl ClusterDecodeError {
    /// Stable name for metrics and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "cluster_empty",
            Self::TooLarge { .. } => "cluster_too_large",
            Self::Version(_) => "cluster_version",
            Self::TooManyRooms { .. } => "cluster_too_many_rooms",
            Self::Malformed(_) => "cluster_malformed",
            Self::Trailing(_) => "cluster_trailing",
            Self::Own => "cluster_own",
            Self::Misdirected => "cluster_misdirected",
        }
    }
}

/// A message as bytes.
///
/// # Errors
/// [`ClusterDecodeError::TooLarge`]: the other nodes would not take it.
pub fn encode(
    message: &ClusterMessage,
    limits: &ClusterLimits,
) -> Result<Bytes, ClusterDecodeError> {
    let mut bytes = vec![CLUSTER_VERSION];
    message
        .serialize(&mut rmp_serde::Serializer::new(&mut bytes))
        .map_err(|error| ClusterDecodeError::Malformed(error.to_string()))?;
    checked_size(bytes.len(), limits)?;
    Ok(bytes.into())
}

/// Bytes as a message.
///
/// # Errors
/// [`ClusterDecodeError`] says what is wrong with them.
pub fn decode(bytes: &[u8], limits: &ClusterLimits) -> Result<ClusterMessage, ClusterDecodeError> {
    checked_size(bytes.len(), limits)?;
    let (version, body) = bytes.split_first().ok_or(ClusterDecodeError::Empty)?;
    if *version != CLUSTER_VERSION {
        return Err(ClusterDecodeError::Version(*version));
    }
    let mut reader = rmp_serde::Deserializer::new(body);
    // The data of a socket is the deepest thing in a message, a few levels below its top.
    reader.set_max_depth(DEPTH_CEILING + 8);
    let message = ClusterMessage::deserialize(&mut reader)
        .map_err(|error| ClusterDecodeError::Malformed(error.to_string()))?;
    let trailing = reader.get_ref().len();
    if trailing > 0 {
        return Err(ClusterDecodeError::Trailing(trailing));
    }
    let (rooms, max) = (message.rooms_len(), limits.message_rooms_max);
    if rooms > max {
        return Err(ClusterDecodeError::TooManyRooms { rooms, max });
    }
    Ok(message)
}

fn checked_size(bytes: usize, limits: &ClusterLimits) -> Result<(), ClusterDecodeError> {
    let max = limits.message_bytes_max;
    if bytes > max {
        return Err(ClusterDecodeError::TooLarge { bytes, max });
    }
    Ok(())
}

/// Arguments inside a message: `[text, attachments]` for JSON, `[bytes, count]` for msgpack.
pub(super) mod wire_args {
    use bytes::Bytes;
    use kentongan_protocol::{
        limits::{DEPTH_CEILING, Limits},
        socket::{
            args::{Args, Parser},
            decode::Decoder,
            packet::Packet,
            value::Value,
        },
    };
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(args: &Args, to: S) -> Result<S::Ok, S::Error> {
        match (args.json(), args.msgpack()) {
            (Some(text), _) => (text, args.binaries()).serialize(to),
            (None, Some(bytes)) => {
                let bytes = Value::Binary(Bytes::copy_from_slice(bytes));
                (bytes, args.len() as u64).serialize(to)
            }
            (None, None) => Err(serde::ser::Error::custom(
                "arguments in a form without a name",
            )),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Args, D::Error> {
        let packet = match <(Value, Value)>::deserialize(from)? {
            (Value::String(text), Value::Array(attachments)) => json(&text, attachments),
            (Value::Binary(bytes), Value::Number(count)) => {
                let count = count.as_u64().and_then(|count| u32::try_from(count).ok());
                msgpack(&bytes, count.ok_or_else(|| D::Error::custom("a count"))?)
            }
            _ => return Err(D::Error::custom("arguments in no known form")),
        };
        match packet.map_err(D::Error::custom)? {
            Some(Packet::Ack { args, .. }) => Ok(args),
            _ => Err(D::Error::custom("arguments that are none")),
        }
    }

    type Decoded = Result<Option<Packet>, String>;

    /// Reads them as those of an ack, the one packet that is nothing but arguments.
    fn json(text: &str, attachments: Vec<Value>) -> Decoded {
        let limits = limits();
        let mut decoder = Decoder::new(Parser::Json);
        let header = match attachments.len() {
            0 => format!("30[{text}]"),
            count => format!("6{count}-0[{text}]"),
        };
        let mut packet = decoder
            .handle_text(&header, &limits)
            .map_err(|error| error.to_string())?;
        for attachment in attachments {
            let Value::Binary(data) = attachment else {
                return Err("an attachment that is not binary".to_owned());
            };
            packet = decoder
                .handle_binary(&data, &limits)
                .map_err(|error| error.to_string())?;
        }
        Ok(packet)
    }

    fn msgpack(bytes: &[u8], count: u32) -> Decoded {
        // {type: 3, nsp: "/", id: 0, data: array of `count`}
        let mut packet = b"\x84\xa4type\x03\xa3nsp\xa1/\xa2id\x00\xa4data\xdd".to_vec();
        packet.extend_from_slice(&count.to_be_bytes());
        packet.extend_from_slice(bytes);
        Decoder::new(Parser::Msgpack)
            .handle_binary(&packet, &limits())
            .map_err(|error| error.to_string())
    }

    /// The size of the whole message has been checked; what is left is what would cost more than its bytes.
    fn limits() -> Limits {
        let mut limits = Limits::default();
        limits.message_bytes_max = usize::MAX;
        limits.attachments_max = 10_000;
        limits.object_keys_max = 1_000_000;
        limits.depth_max = DEPTH_CEILING;
        limits
    }
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;
    use kentongan_protocol::socket::{
        args::{Args, Parser},
        value::Value,
    };

    use super::*;
    use crate::{
        adapter::message::{
            AckRequest, Answer, Audience, Body, DisconnectScope, Fault, Flags, NodeId, RequestId,
            SocketRecord,
        },
        id::Sid,
    };

    fn args(parser: Parser) -> Args {
        let value = Value::Object(vec![
            ("text".into(), Value::from("h\u{e9}llo \"x\"")),
            (
                "data".into(),
                Value::Binary(Bytes::from_static(b"\x00\xff")),
            ),
            ("list".into(), Value::Array(vec![Value::Null, 1.5.into()])),
        ]);
        Args::from_values(parser, &[value, Value::from(7)]).unwrap()
    }

    fn samples() -> Vec<ClusterMessage> {
        let audience = || Audience {
            rooms: vec!["a".into(), "b".into()],
            except: vec!["c".into()],
        };
        let request = || RequestId::new("r").unwrap();
        let broadcast = |parser, ack| Body::Broadcast {
            audience: audience(),
            event: "news".into(),
            args: args(parser),
            flags: Flags {
                volatile: true,
                compress: false,
            },
            ack,
        };
        let rooms = || vec![ByteString::from("x")];
        let bodies = vec![
            broadcast(Parser::Json, None),
            broadcast(
                Parser::Msgpack,
                Some(AckRequest {
                    request: request(),
                    timeout_ms: 5,
                }),
            ),
            Body::SocketsJoin {
                audience: audience(),
                rooms: rooms(),
            },
            Body::SocketsLeave {
                audience: audience(),
                rooms: rooms(),
            },
            Body::DisconnectSockets {
                audience: audience(),
                scope: DisconnectScope::Session,
            },
            Body::FetchSockets {
                request: request(),
                audience: audience(),
            },
            Body::FetchSocketsReply {
                request: request(),
                sockets: vec![SocketRecord {
                    id: Sid::random(),
                    rooms: rooms(),
                    data: Value::Object(vec![("a".into(), Value::Null)]),
                }],
                last: true,
            },
            Body::ServerSideEmit {
                request: Some(request()),
                event: "refresh".into(),
                args: Args::empty(Parser::Json),
            },
            Body::ServerSideReply {
                request: request(),
                answer: Answer::Failed(Fault::NoListener),
            },
            Body::BroadcastAckCount {
                request: request(),
                count: Some(2),
                sockets: vec![Sid::random(), Sid::random()],
            },
            Body::BroadcastAck {
                request: request(),
                socket: Sid::random(),
                answer: Answer::Given(args(Parser::Msgpack)),
            },
        ];
        let node = |name: &'static str| NodeId::new(name).unwrap();
        let message =
            |body| ClusterMessage::new(node("n1"), Some(node("n2")), "/chat".into(), body);
        bodies.into_iter().map(message).collect()
    }

    #[test]
    fn every_message_reads_back_and_keeps_to_its_bound() {
        let limits = ClusterLimits::default();
        for message in samples() {
            let bytes = encode(&message, &limits).unwrap();
            let read = decode(&bytes, &limits).unwrap();
            assert_eq!(format!("{read:?}"), format!("{message:?}"));
            assert_eq!(encode(&read, &limits).unwrap(), bytes);
            assert!(bytes.len() <= message.bytes_bound(), "{message:?}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let limits = ClusterLimits::default();
        for message in samples() {
            let good = encode(&message, &limits).unwrap();
            for end in 0..good.len() {
                assert!(decode(&good[..end], &limits).is_err(), "cut at {end}");
            }
            for at in 0..good.len() {
                for flipped in [0x00, 0x7f, 0x80, 0xc1, 0xdb, 0xdd, 0xdf, 0xff] {
                    let mut bad = good.to_vec();
                    bad[at] = flipped;
                    // Some of them are messages again, with another letter in a name.
                    let _ = decode(&bad, &limits);
                }
            }
        }
    }

    #[test]
    fn refusals_have_codes() {
        let limits = ClusterLimits::default();
        let good = encode(&samples()[0], &limits).unwrap();
        let mut few_bytes = ClusterLimits {
            message_bytes_max: good.len() - 1,
            ..ClusterLimits::default()
        };
        let mut few_rooms = ClusterLimits {
            message_rooms_max: 2,
            ..ClusterLimits::default()
        };
        let mut next_version = good.to_vec();
        next_version[0] += 1;
        let longer = [&good[..], &[0xc0]].concat();
        // A list of 2^32 - 1 rooms that are not there.
        let claim = b"\x01\x94\xa1a\xc0\xa1/\x81\xabSocketsJoin\x92\x92\xdd\xff\xff\xff\xff";
        for (bytes, limits, code) in [
            (&[][..], &limits, "cluster_empty"),
            (&good[..], &few_bytes, "cluster_too_large"),
            (&good[..], &few_rooms, "cluster_too_many_rooms"),
            (&next_version[..], &limits, "cluster_version"),
            (&longer[..], &limits, "cluster_trailing"),
            (&claim[..], &limits, "cluster_malformed"),
            (b"\x01garbage", &limits, "cluster_malformed"),
        ] {
            assert_eq!(decode(bytes, limits).unwrap_err().code(), code);
        }
        few_bytes.message_bytes_max = good.len();
        few_rooms.message_rooms_max = 3;
        assert!(decode(&good, &few_bytes).is_ok(), "the limit is inclusive");
        assert!(decode(&good, &few_rooms).is_ok(), "the limit is inclusive");
    }

    #[test]
    fn json_that_is_none_is_refused() {
        let limits = ClusterLimits::default();
        let mut bytes = encode(&samples()[0], &limits).unwrap().to_vec();
        let at = bytes
            .windows(7)
            .position(|window| window == b"{\"text\"")
            .unwrap();
        bytes[at] = b'[';
        assert_eq!(
            decode(&bytes, &limits).unwrap_err().code(),
            "cluster_malformed"
        );
    }
}
