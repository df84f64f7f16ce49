//! The packets of the scenarios: written from parts, and recognised by their bytes.
//!
//! An arrival that looks exactly as expected is never parsed; whatever differs goes through the protocol's decoder, so
//! that a server which writes its JSON in another way is measured too, only at a higher cost for us.

use std::{borrow::Cow, io::Write};

use kentongan_protocol::{
    limits::Limits,
    socket::{
        args::{Args, Parser},
        decode::Decoder,
        packet::{Packet, ROOT_NAMESPACE},
    },
};

use crate::payload::Stamp;

/// Writes packets for one namespace and payload size.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    /// The namespace as it stands in a packet: nothing for `/`.
    prefix: String,
    size: usize,
    scratch: Vec<u8>,
}

/// Recognises an event or its acknowledgement that carries a payload.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    head: Vec<u8>,
    namespace: String,
    name: Option<&'static str>,
    size: usize,
}

/// A payload that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrival<'p> {
    pub(crate) stamp: Stamp,
    /// The id of an acknowledgement.
    pub(crate) id: Option<u64>,
    /// The position that a server with connection state recovery appends.
    pub(crate) position: Option<Cow<'p, str>>,
}

impl Wire {
    pub(crate) fn new(namespace: &str, size: usize) -> Self {
        Self {
            prefix: prefix(namespace),
            size,
            scratch: Vec::new(),
        }
    }

    /// `echo(payload)`, with an id if it is to be acknowledged.
    pub(crate) fn echo(&mut self, stamp: Stamp, id: Option<u64>) -> &[u8] {
        self.open(id);
        self.scratch.extend_from_slice(b"[\"echo\",\"");
        stamp.write(self.size, &mut self.scratch);
        self.scratch.extend_from_slice(b"\"]");
        &self.scratch
    }

    /// `join(room)`, to be acknowledged under `id`.
    pub(crate) fn join(&mut self, room: &str, id: u64) -> &[u8] {
        self.open(Some(id));
        self.scratch.extend_from_slice(b"[\"join\",\"");
        self.scratch.extend_from_slice(room.as_bytes());
        self.scratch.extend_from_slice(b"\"]");
        &self.scratch
    }

    /// `bcast(room, payload)`, or `bcastn(room, payload, count)`.
    pub(crate) fn broadcast(&mut self, room: &str, stamp: Stamp, count: Option<u32>) -> &[u8] {
        self.open(None);
        let name: &[u8] = if count.is_some() { b"bcastn" } else { b"bcast" };
        for part in [b"[\"", name, b"\",\"", room.as_bytes(), b"\",\""] {
            self.scratch.extend_from_slice(part);
        }
        stamp.write(self.size, &mut self.scratch);
        self.scratch.push(b'"');
        if let Some(count) = count {
            // Writing to a vector cannot fail.
            let _ = write!(self.scratch, ",{count}");
        }
        self.scratch.push(b']');
        &self.scratch
    }

    fn open(&mut self, id: Option<u64>) {
        self.scratch.clear();
        self.scratch.extend_from_slice(b"42");
        self.scratch.extend_from_slice(self.prefix.as_bytes());
        if let Some(id) = id {
            let _ = write!(self.scratch, "{id}");
        }
    }
}

impl Expected {
    /// Events of that name.
    pub(crate) fn event(namespace: &str, name: &'static str, size: usize) -> Self {
        Self {
            head: format!("42{}[\"{name}\",\"", prefix(namespace)).into_bytes(),
            namespace: namespace.to_owned(),
            name: Some(name),
            size,
        }
    }

    /// Acknowledgements.
    pub(crate) fn ack(namespace: &str, size: usize) -> Self {
        Self {
            head: format!("43{}", prefix(namespace)).into_bytes(),
            namespace: namespace.to_owned(),
            name: None,
            size,
        }
    }

    /// Reads a packet; `None` if it is another one, or its payload is damaged.
    pub(crate) fn read<'p>(&self, packet: &'p [u8]) -> Option<Arrival<'p>> {
        self.read_exact(packet).or_else(|| self.decode(packet))
    }

    fn read_exact<'p>(&self, packet: &'p [u8]) -> Option<Arrival<'p>> {
        let rest = packet.strip_prefix(self.head.as_slice())?;
        let (id, rest) = if self.name.is_some() {
            (None, rest)
        } else {
            let (id, rest) = digits(rest)?;
            (Some(id), rest.strip_prefix(b"[\"")?)
        };
        let (payload, end) = rest.split_at_checked(self.size)?;
        let position = match end {
            b"\"]" => None,
            _ => {
                let position = end.strip_prefix(b"\",\"")?.strip_suffix(b"\"]")?;
                let position = std::str::from_utf8(position).ok()?;
                Some(Cow::Borrowed(position)).filter(|it| !it.contains(['"', '\\']))
            }
        };
        Some(Arrival {
            stamp: Stamp::read(payload)?,
            id,
            position,
        })
    }

    #[cold]
    fn decode<'p>(&self, packet: &[u8]) -> Option<Arrival<'p>> {
        let packet = decode(packet).filter(|packet| *packet.namespace() == *self.namespace)?;
        let (id, args) = match (packet, self.name) {
            (Packet::Event { name, args, .. }, Some(expected)) if name == expected => (None, args),
            (Packet::Ack { id, args, .. }, None) => (Some(id), args),
            _ => return None,
        };
        let payload: String = args.argument(0).ok()?;
        Some(Arrival {
            stamp: Stamp::read(payload.as_bytes()).filter(|_| payload.len() == self.size)?,
            id,
            position: last_string(&args, 1).map(Cow::Owned),
        })
    }
}

/// Decodes an Engine.IO message that is a Socket.IO packet.
pub(crate) fn decode(packet: &[u8]) -> Option<Packet> {
    let text = std::str::from_utf8(packet).ok()?.strip_prefix('4')?;
    Decoder::new(Parser::Json)
        .handle_text(text, &Limits::default())
        .ok()?
}

/// The last argument, if it is a string and there are more than `below` arguments.
pub(crate) fn last_string(args: &Args, below: usize) -> Option<String> {
    let last = args.len().checked_sub(1).filter(|last| *last >= below)?;
    args.argument(last).ok()
}

fn prefix(namespace: &str) -> String {
    if namespace == ROOT_NAMESPACE {
        String::new()
    } else {
        format!("{namespace},")
    }
}

fn digits(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let len = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, rest) = bytes.split_at(len);
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        sequence: 3,
        sent_ns: 5,
        sender: 1,
    };

    fn payload() -> String {
        let mut out = Vec::new();
        STAMP.write(48, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes() {
        let p = payload();
        let mut wire = Wire::new("/", 48);
        let check = |written: &[u8], expected: String| {
            assert_eq!(std::str::from_utf8(written).unwrap(), expected);
        };
        check(wire.echo(STAMP, None), format!("42[\"echo\",\"{p}\"]"));
        check(
            wire.echo(STAMP, Some(17)),
            format!("4217[\"echo\",\"{p}\"]"),
        );
        check(wire.join("r", 0), "420[\"join\",\"r\"]".to_owned());
        check(
            wire.broadcast("r", STAMP, None),
            format!("42[\"bcast\",\"r\",\"{p}\"]"),
        );
        let mut wire = Wire::new("/a", 48);
        check(
            wire.broadcast("r", STAMP, Some(9)),
            format!("42/a,[\"bcastn\",\"r\",\"{p}\",9]"),
        );
    }

    #[test]
    fn reads_what_it_expects_and_what_means_the_same() {
        let p = payload();
        let position = || Some(Cow::Owned("xyz".to_owned()));
        let msg = Expected::event("/", "msg", 48);
        let ack = Expected::ack("/a", 48);
        let some = |id, position| {
            Some(Arrival {
                stamp: STAMP,
                id,
                position,
            })
        };
        for (expected, text, arrival) in [
            (&msg, format!("42[\"msg\",\"{p}\"]"), some(None, None)),
            (&msg, format!("42[ \"msg\", \"{p}\" ]"), some(None, None)),
            (
                &msg,
                format!("42[\"msg\",\"{p}\",\"xyz\"]"),
                some(None, position()),
            ),
            (
                &msg,
                format!("42[\"msg\", \"{p}\",\"xyz\"]"),
                some(None, position()),
            ),
            (&msg, format!("42[\"msg\",\"{p}x\"]"), None),
            (&msg, format!("42[\"echo\",\"{p}\"]"), None),
            (&msg, format!("42/a,[\"msg\",\"{p}\"]"), None),
            (&msg, "42[\"msg\"]".to_owned(), None),
            (&ack, format!("43/a,12[\"{p}\"]"), some(Some(12), None)),
            (&ack, format!("43/a,12[\"{p}\" ]"), some(Some(12), None)),
            (&ack, "43/a,12[]".to_owned(), None),
        ] {
            assert_eq!(expected.read(text.as_bytes()), arrival, "{text}");
        }
    }
}
