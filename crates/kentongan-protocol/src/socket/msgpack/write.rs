//! Packets into msgpack, in the shapes of the JavaScript server (protocol notes 10); `undefined` members are left out.
//!
//! It must not know how arguments came to be: they arrive as finished msgpack, concatenated.

use std::io::Write;

use bytes::Bytes;
use rmp::encode;

use super::serialize::write_value;
use crate::frame::Frame;
use crate::inline::Short;
use crate::socket::value::Value;

const INTO_MEMORY: &str = "writing into memory cannot fail";

pub(super) fn nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

pub(super) fn text(out: &mut impl Write, text: &str) {
    encode::write_str(out, text).expect(INTO_MEMORY);
}

pub(super) fn bin(out: &mut Vec<u8>, data: &[u8]) {
    encode::write_bin(out, data).expect(INTO_MEMORY);
}

fn unsigned(out: &mut impl Write, value: u64) {
    encode::write_uint(out, value).expect(INTO_MEMORY);
}

fn map(out: &mut impl Write, len: usize) {
    let len = u32::try_from(len).expect("packets have few members");
    encode::write_map_len(out, len).expect(INTO_MEMORY);
}

fn array(out: &mut impl Write, len: u32) {
    encode::write_array_len(out, len).expect(INTO_MEMORY);
}

/// A packet map of `members` members, with its type; room for `more` bytes besides.
fn packet(members: usize, packet_type: u8, ns: &str, more: usize) -> Vec<u8> {
    // Keys, lengths, type and id take at most 40 bytes.
    let mut out = Vec::with_capacity(40 + ns.len() + more);
    packet_head(&mut out, members, packet_type);
    out
}

/// The map of `members` members and the first of them, its type.
fn packet_head(out: &mut impl Write, members: usize, packet_type: u8) {
    map(out, members);
    text(out, "type");
    unsigned(out, packet_type.into());
}

/// The last members of a packet, up to the bytes of the namespace.
fn packet_tail(id: Option<u64>, ns: &str) -> Short {
    let mut tail = Short::new();
    if let Some(id) = id {
        text(&mut tail, "id");
        unsigned(&mut tail, id);
    }
    text(&mut tail, "nsp");
    text_head(&mut tail, ns);
    tail
}

/// What stands before the bytes of a string.
fn text_head(out: &mut impl Write, text: &str) {
    let len = u32::try_from(text.len()).expect("names are far shorter");
    encode::write_str_len(out, len).expect(INTO_MEMORY);
}

fn namespace(out: &mut Vec<u8>, ns: &str) {
    text(out, "nsp");
    text(out, ns);
}

/// The arguments `bytes` with one more string behind them.
pub(crate) fn push_str(bytes: &[u8], pushed: &str) -> Bytes {
    let mut out = Vec::with_capacity(bytes.len() + pushed.len() + 5);
    out.extend_from_slice(bytes);
    text(&mut out, pushed);
    out.into()
}

/// An event; `position` is one more argument (connection state recovery).
pub(crate) fn encode_event(
    ns: &str,
    name: &str,
    args: &[u8],
    count: u32,
    id: Option<u64>,
    position: Option<&str>,
) -> Frame {
    let mut head = Short::new();
    packet_head(&mut head, 3 + usize::from(id.is_some()), 2);
    text(&mut head, "data");
    array(
        &mut head,
        count.saturating_add(1 + u32::from(position.is_some())),
    );
    text_head(&mut head, name);
    let mut mid = Short::new();
    if let Some(position) = position {
        text_head(&mut mid, position);
    }
    let tail = packet_tail(id, ns);
    Frame::binary_from_parts(&[
        head.as_ref(),
        name.as_bytes(),
        args,
        mid.as_ref(),
        position.unwrap_or_default().as_bytes(),
        tail.as_ref(),
        ns.as_bytes(),
    ])
}

/// The answer to event `id`.
pub(crate) fn encode_ack(ns: &str, id: u64, args: &[u8], count: u32) -> Frame {
    let mut head = Short::new();
    packet_head(&mut head, 4, 3);
    text(&mut head, "data");
    array(&mut head, count);
    let tail = packet_tail(Some(id), ns);
    Frame::binary_from_parts(&[head.as_ref(), args, tail.as_ref(), ns.as_bytes()])
}

/// The server's consent; `pid` only with connection state recovery.
pub(crate) fn encode_connect(ns: &str, sid: &str, pid: Option<&str>) -> Vec<u8> {
    let more = sid.len() + pid.map_or(0, str::len) + 20;
    let mut out = packet(3, 0, ns, more);
    text(&mut out, "data");
    map(&mut out, 1 + usize::from(pid.is_some()));
    text(&mut out, "sid");
    text(&mut out, sid);
    if let Some(pid) = pid {
        text(&mut out, "pid");
        text(&mut out, pid);
    }
    namespace(&mut out, ns);
    out
}

/// The server's refusal.
pub(crate) fn encode_connect_error(ns: &str, message: &str, data: Option<&Value>) -> Vec<u8> {
    let mut out = packet(3, 4, ns, message.len() + 20);
    text(&mut out, "data");
    map(&mut out, 1 + usize::from(data.is_some()));
    text(&mut out, "message");
    text(&mut out, message);
    if let Some(data) = data {
        text(&mut out, "data");
        write_value(&mut out, data);
    }
    namespace(&mut out, ns);
    out
}

/// The end of a namespace, from either side.
pub(crate) fn encode_disconnect(ns: &str) -> Vec<u8> {
    let mut out = packet(2, 1, ns, 0);
    namespace(&mut out, ns);
    out
}

/// A client's request; `auth` is one argument and its count, left out if the count is not 1.
pub(crate) fn encode_client_connect(ns: &str, auth: Option<(&[u8], u32)>) -> Vec<u8> {
    let auth = auth.and_then(|(bytes, count)| (count == 1).then_some(bytes));
    let mut out = packet(
        2 + usize::from(auth.is_some()),
        0,
        ns,
        auth.map_or(0, <[u8]>::len),
    );
    if let Some(auth) = auth {
        text(&mut out, "data");
        out.extend_from_slice(auth);
    }
    namespace(&mut out, ns);
    out
}
