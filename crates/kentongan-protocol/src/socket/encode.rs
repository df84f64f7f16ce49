//! Socket.IO packets into finished frames (Socket.IO 5, "Packet encoding").
//!
//! Owns the headers. It must not know recipients: one frame serves all of them.

use std::io::Write as _;

use bytes::Bytes;

use super::args::{Args, Parser};
use super::json::escape;
use super::msgpack;
use super::packet::ROOT_NAMESPACE;
use super::value::Value;
use crate::frame::Frame;

/// The grant of a namespace. `pid` is the private id for connection state recovery.
pub fn connect(parser: Parser, ns: &str, sid: &str, pid: Option<&str>) -> Frame {
    if parser == Parser::Msgpack {
        return Frame::binary(&msgpack::encode_connect(ns, sid, pid));
    }
    let (ns, comma) = prefix(ns);
    let sid = escape(sid);
    let (pid_key, pid) = pid.map_or(("", "".into()), |pid| ("\",\"pid\":\"", escape(pid)));
    Frame::from_parts(
        &["0", ns, comma, "{\"sid\":\"", &sid, pid_key, &pid, "\"}"],
        &[],
    )
}

/// The refusal of a namespace. `data` reaches the client as `error.data`; it cannot hold binary in JSON, which becomes
/// an array of numbers.
pub fn connect_error(parser: Parser, ns: &str, message: &str, data: Option<&Value>) -> Frame {
    if parser == Parser::Msgpack {
        return Frame::binary(&msgpack::encode_connect_error(ns, message, data));
    }
    let (ns, comma) = prefix(ns);
    let message = escape(message);
    let (data_key, data) = data.map_or(("\"", String::new()), |data| {
        let text =
            serde_json::to_string(data).expect("a Value has text keys only, so it is always JSON");
        ("\",\"data\":", text)
    });
    Frame::from_parts(
        &[
            "4",
            ns,
            comma,
            "{\"message\":\"",
            &message,
            data_key,
            &data,
            "}",
        ],
        &[],
    )
}

/// The end of a namespace.
pub fn disconnect(parser: Parser, ns: &str) -> Frame {
    if parser == Parser::Msgpack {
        return Frame::binary(&msgpack::encode_disconnect(ns));
    }
    let (ns, comma) = prefix(ns);
    Frame::from_parts(&["1", ns, comma], &[])
}

/// An event, in the form that `args` have. `id` asks for an ack; `position` becomes one more last argument (connection
/// state recovery).
pub fn event(ns: &str, name: &str, args: &Args, id: Option<u64>, position: Option<&str>) -> Frame {
    let Some((text, attachments)) = args.json_parts() else {
        let (bytes, count) = args.msgpack_parts();
        return Frame::binary(&msgpack::encode_event(ns, name, bytes, count, id, position));
    };
    let name = escape(name);
    let (open, position, close) = position.map_or(("", "".into(), "]"), |position| {
        (",\"", escape(position), "\"]")
    });
    let comma = if args.is_empty() { "" } else { "," };
    payload(
        ["2", "5"],
        ns,
        id,
        &["[\"", &name, "\"", comma, text, open, &position, close],
        attachments,
    )
}

/// The answer to the event with that id, in the form that `args` have.
pub fn ack(ns: &str, id: u64, args: &Args) -> Frame {
    let Some((text, attachments)) = args.json_parts() else {
        let (bytes, count) = args.msgpack_parts();
        return Frame::binary(&msgpack::encode_ack(ns, id, bytes, count));
    };
    payload(["3", "6"], ns, Some(id), &["[", text, "]"], attachments)
}

/// A client's request for a namespace. `auth` is one argument, an object, in the form of `parser`.
pub fn client_connect(parser: Parser, ns: &str, auth: Option<&Args>) -> Frame {
    if parser == Parser::Msgpack {
        let auth = auth.map(Args::msgpack_parts);
        return Frame::binary(&msgpack::encode_client_connect(ns, auth));
    }
    let (ns, comma) = prefix(ns);
    Frame::from_parts(
        &["0", ns, comma, auth.and_then(Args::json).unwrap_or("")],
        &[],
    )
}

/// The namespace as it stands in a header: the root namespace is left out.
fn prefix(ns: &str) -> (&str, &str) {
    if ns == ROOT_NAMESPACE {
        ("", "")
    } else {
        (ns, ",")
    }
}

/// A packet with arguments: `types` are its plain and its binary form.
fn payload(
    types: [&str; 2],
    ns: &str,
    id: Option<u64>,
    json: &[&str],
    attachments: &[Bytes],
) -> Frame {
    const JSON_PARTS_MAX: usize = 8;
    const HEADER_PARTS: usize = 6;
    let [plain, binary] = types;
    let (ns, comma) = prefix(ns);
    let (mut count_digits, mut id_digits) = ([0; 20], [0; 20]);
    let id = id.map_or("", |id| decimal(id, &mut id_digits));
    let header = if attachments.is_empty() {
        [plain, "", "", ns, comma, id]
    } else {
        let count = decimal(attachments.len() as u64, &mut count_digits);
        [binary, count, "-", ns, comma, id]
    };
    let mut parts = [""; HEADER_PARTS + JSON_PARTS_MAX];
    debug_assert!(json.len() <= JSON_PARTS_MAX);
    for (slot, part) in parts.iter_mut().zip(header.iter().chain(json)) {
        *slot = part;
    }
    Frame::from_parts(&parts, attachments)
}

/// The decimal text of `number`, without an allocation.
fn decimal(number: u64, digits: &mut [u8; 20]) -> &str {
    let mut free = &mut digits[..];
    write!(free, "{number}").expect("a u64 has at most 20 digits");
    let len = 20 - free.len();
    digits
        .get(..len)
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .expect("digits are ASCII")
}
