//! The msgpack form of packets (socket.io-msgpack-parser 3): one binary message holds a whole packet as a map.
//!
//! Owns the way from such a message to a [`Packet`] and back. Arguments are kept in a normalised form, plain msgpack
//! without extensions, so that everything behind it reads them with any msgpack reader. It must not know sessions or
//! the JSON form.

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use super::args::Args;
use super::decode::DecodeError;
use super::packet::{Packet, PacketType, ROOT_NAMESPACE, is_reserved};
use crate::limits::Limits;

mod date;
mod deserialize;
mod normalise;
mod read;
mod serialize;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use deserialize::{args_deserialize, argument, values};
pub(crate) use serialize::{args_from_serialize, from_values};
pub(crate) use write::{
    encode_ack, encode_client_connect, encode_connect, encode_connect_error, encode_disconnect,
    encode_event, push_str,
};

use normalise::{copy_value, refuse_duplicates};
use read::{Head, Reader};

/// What msgpack writes for nothing.
const NIL: [u8; 1] = [0xc0];

/// Decodes one message. Every length in it is held against the bytes that are there; nothing is reserved from it.
pub(crate) fn decode_packet(data: &[u8], limits: &Limits) -> Result<Packet, DecodeError> {
    if data.is_empty() {
        return Err(DecodeError::Empty);
    }
    if data.len() > limits.message_bytes_max {
        return Err(DecodeError::TooLarge {
            bytes: data.len(),
            max: limits.message_bytes_max,
        });
    }
    let fields = Fields::read(data, limits)?;
    let kind = fields.kind.ok_or(DecodeError::UnknownType)?;
    let ns = namespace(fields.ns.ok_or(DecodeError::Namespace)?, limits)?;
    let data = fields.data;
    match kind {
        PacketType::Connect => Ok(Packet::Connect {
            ns,
            auth: data.map(object).transpose()?,
        }),
        // python-socketio writes a nil there.
        PacketType::Disconnect if data.as_ref().is_some_and(|data| *data != NIL) => {
            Err(DecodeError::Payload)
        }
        PacketType::Disconnect => Ok(Packet::Disconnect { ns }),
        PacketType::Event => {
            let (name, args) = event(data.ok_or(DecodeError::Payload)?, limits)?;
            Ok(Packet::Event {
                ns,
                id: fields.id,
                name,
                args,
            })
        }
        PacketType::Ack => {
            let data = data.ok_or(DecodeError::Payload)?;
            let mut reader = Reader::new(&data);
            let Head::Array(count) = reader.head()? else {
                return Err(DecodeError::Payload);
            };
            let from = reader.at();
            Ok(Packet::Ack {
                ns,
                id: fields.id.ok_or(DecodeError::AckWithoutId)?,
                args: Args::from_msgpack(Bytes::from(data).slice(from..), count),
            })
        }
        PacketType::ConnectError => {
            let data = data.ok_or(DecodeError::Payload)?;
            match Reader::new(&data).head()? {
                Head::Map(_) | Head::Str(_) => Ok(Packet::ConnectError {
                    ns,
                    data: Args::from_msgpack(Bytes::from(data), 1),
                }),
                _ => Err(DecodeError::Payload),
            }
        }
    }
}

/// The members of the packet map that mean something; a value of `undefined` counts as absent.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<PacketType>,
    ns: Option<&'a str>,
    id: Option<u64>,
    /// Normalised.
    data: Option<Vec<u8>>,
}

impl<'a> Fields<'a> {
    fn read(data: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let Head::Map(members) = reader.head()? else {
            return Err(DecodeError::Msgpack { at: 0 });
        };
        normalise::check_keys(members, limits)?;
        let mut fields = Self::default();
        let mut names: SmallVec<[&str; 8]> = SmallVec::new();
        let mut skipped = Vec::new();
        for _ in 0..members {
            let name = reader.key()?;
            names.push(name);
            if reader.skip_undefined() {
                continue;
            }
            match name {
                "type" => fields.kind = Some(packet_type(reader.head()?)?),
                "nsp" => {
                    let Head::Str(len) = reader.head()? else {
                        return Err(DecodeError::Namespace);
                    };
                    fields.ns = Some(reader.text(len)?);
                }
                "id" => {
                    let Head::Unsigned(id) = reader.head()? else {
                        return Err(DecodeError::Id);
                    };
                    fields.id = Some(id);
                }
                "data" => {
                    let mut copy = Vec::with_capacity(reader.rest());
                    copy_value(&mut reader, &mut copy, limits)?;
                    fields.data = Some(copy);
                }
                // Clients send their `options` along; they mean nothing here, but must be well-formed to be skipped.
                _ => {
                    skipped.clear();
                    copy_value(&mut reader, &mut skipped, limits)?;
                }
            }
        }
        refuse_duplicates(&mut names)?;
        if reader.rest() > 0 {
            return Err(DecodeError::TrailingData);
        }
        Ok(fields)
    }
}

fn packet_type(head: Head) -> Result<PacketType, DecodeError> {
    match head {
        Head::Unsigned(0) => Ok(PacketType::Connect),
        Head::Unsigned(1) => Ok(PacketType::Disconnect),
        Head::Unsigned(2) => Ok(PacketType::Event),
        Head::Unsigned(3) => Ok(PacketType::Ack),
        Head::Unsigned(4) => Ok(PacketType::ConnectError),
        _ => Err(DecodeError::UnknownType),
    }
}

fn namespace(ns: &str, limits: &Limits) -> Result<ByteString, DecodeError> {
    if ns == ROOT_NAMESPACE {
        return Ok(ByteString::from_static(ROOT_NAMESPACE));
    }
    if ns.len() > limits.namespace_bytes_max {
        return Err(DecodeError::NamespaceTooLong {
            bytes: ns.len(),
            max: limits.namespace_bytes_max,
        });
    }
    // A comma ends the name in the text form: the same name must mean the same in both.
    if !ns.starts_with('/') || ns.chars().any(|c| c.is_control() || c == ',') {
        return Err(DecodeError::Namespace);
    }
    Ok(ns.into())
}

/// The one argument of a CONNECT.
fn object(data: Vec<u8>) -> Result<Args, DecodeError> {
    match Reader::new(&data).head()? {
        Head::Map(_) => Ok(Args::from_msgpack(Bytes::from(data), 1)),
        _ => Err(DecodeError::Payload),
    }
}

/// Splits `[name, ...args]`. A number becomes its decimal text, as JavaScript makes it a property name.
fn event(data: Vec<u8>, limits: &Limits) -> Result<(ByteString, Args), DecodeError> {
    let mut reader = Reader::new(&data);
    let Head::Array(len) = reader.head()? else {
        return Err(DecodeError::Payload);
    };
    let Some(count) = len.checked_sub(1) else {
        return Err(DecodeError::Payload);
    };
    let max = limits.event_name_bytes_max;
    let name = match reader.head()? {
        Head::Str(bytes) if bytes > max => {
            return Err(DecodeError::EventNameTooLong { bytes, max });
        }
        Head::Str(bytes) => ByteString::from(reader.text(bytes)?),
        Head::Unsigned(number) => number.to_string().into(),
        Head::Negative(number) => number.to_string().into(),
        // Adding zero turns -0 into 0.
        Head::Float(number) => (number + 0.0).to_string().into(),
        _ => return Err(DecodeError::EventNameType),
    };
    // The text of a float may be longer than any name: 1e300 has 301 digits.
    if name.len() > max {
        let bytes = name.len();
        return Err(DecodeError::EventNameTooLong { bytes, max });
    }
    // The JavaScript parser reserves no names here, but no stock client can send one: its `emit` throws.
    if is_reserved(&name) {
        return Err(DecodeError::EventNameReserved);
    }
    let from = reader.at();
    Ok((
        name,
        Args::from_msgpack(Bytes::from(data).slice(from..), count),
    ))
}
