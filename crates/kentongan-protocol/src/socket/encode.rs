//! Socket.IO packets into finished frames (Socket.IO 5, "Packet encoding").
//!
//! Owns the headers. It must not know recipients: one frame serves all of them.

use super::args::{Args, Parser};
use super::json::escape;
use super::msgpack;
use super::packet::ROOT_NAMESPACE;
use super::value::Value;
use crate::frame::Frame;
use crate::inline::{Short, Sink as _};

/// The grant of a namespace. `pid` is the private id for connection state recovery.
pub fn connect(parser: Parser, ns: &str, sid: &str, pid: Option<&str>) -> Frame {
    if parser == Parser::Msgpack {
        return Frame::binary(&msgpack::encode_connect(ns, sid, pid));
    }
    let (ns, comma) = prefix(ns);
    let sid = escape(sid);
    let (pid_key, pid) = pid.map_or(("", "".into()), |pid| ("\",\"pid\":\"", escape(pid)));
    text(&["40", ns, comma, "{\"sid\":\"", &sid, pid_key, &pid, "\"}"])
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
    text(&[
        "44",
        ns,
        comma,
        "{\"message\":\"",
        &message,
        data_key,
        &data,
        "}",
    ])
}

/// The end of a namespace.
pub fn disconnect(parser: Parser, ns: &str) -> Frame {
    if parser == Parser::Msgpack {
        return Frame::binary(&msgpack::encode_disconnect(ns));
    }
    let (ns, comma) = prefix(ns);
    text(&["41", ns, comma])
}

/// An event, in the form that `args` have. `id` asks for an ack; `position` becomes one more last argument (connection
/// state recovery).
pub fn event(ns: &str, name: &str, args: &Args, id: Option<u64>, position: Option<&str>) -> Frame {
    let Some((text, attachments)) = args.json_parts() else {
        let (bytes, count) = args.msgpack_parts();
        return msgpack::encode_event(ns, name, bytes, count, id, position);
    };
    let name = escape(name);
    let (open, position, close) = position.map_or(("", "".into(), "]"), |position| {
        (",\"", escape(position), "\"]")
    });
    let quote = if args.is_empty() { "\"" } else { "\"," };
    let (head, ns, mid) = header(["42", "45"], ns, id, "[\"", attachments.len());
    let parts = [
        head.as_ref(),
        ns.as_bytes(),
        mid.as_ref(),
        name.as_bytes(),
        quote.as_bytes(),
        text.as_bytes(),
        open.as_bytes(),
        position.as_bytes(),
        close.as_bytes(),
    ];
    Frame::from_parts(&parts, attachments)
}

/// The answer to the event with that id, in the form that `args` have.
pub fn ack(ns: &str, id: u64, args: &Args) -> Frame {
    let Some((text, attachments)) = args.json_parts() else {
        let (bytes, count) = args.msgpack_parts();
        return msgpack::encode_ack(ns, id, bytes, count);
    };
    let (head, ns, mid) = header(["43", "46"], ns, Some(id), "[", attachments.len());
    let parts = [
        head.as_ref(),
        ns.as_bytes(),
        mid.as_ref(),
        text.as_bytes(),
        b"]",
    ];
    Frame::from_parts(&parts, attachments)
}

/// A client's request for a namespace. `auth` is one argument, an object, in the form of `parser`.
pub fn client_connect(parser: Parser, ns: &str, auth: Option<&Args>) -> Frame {
    if parser == Parser::Msgpack {
        let auth = auth.map(Args::msgpack_parts);
        return Frame::binary(&msgpack::encode_client_connect(ns, auth));
    }
    let (ns, comma) = prefix(ns);
    text(&["40", ns, comma, auth.and_then(Args::json).unwrap_or("")])
}

/// A packet without attachments, which are few and rare.
fn text<const N: usize>(parts: &[&str; N]) -> Frame {
    Frame::from_parts(&parts.map(str::as_bytes), &[])
}

/// The namespace as it stands in a header: the root namespace is left out.
fn prefix(ns: &str) -> (&str, &str) {
    if ns == ROOT_NAMESPACE {
        ("", "")
    } else {
        (ns, ",")
    }
}

/// What stands before the arguments of a packet, in three parts: the namespace is in the middle. `types` are the plain
/// and the binary form, each with the Engine.IO digit before it; `open` begins the JSON.
fn header<'n>(
    types: [&str; 2],
    ns: &'n str,
    id: Option<u64>,
    open: &str,
    attachments: usize,
) -> (Short, &'n str, Short) {
    let [plain, binary] = types;
    let (ns, comma) = prefix(ns);
    let (mut head, mut mid) = (Short::new(), Short::new());
    if attachments == 0 {
        head.put(plain.as_bytes());
    } else {
        head.put(binary.as_bytes());
        head.put_decimal(attachments as u64);
        head.put(b"-");
    }
    let rest = if ns.is_empty() { &mut head } else { &mut mid };
    rest.put(comma.as_bytes());
    if let Some(id) = id {
        rest.put_decimal(id);
    }
    rest.put(open.as_bytes());
    (head, ns, mid)
}
