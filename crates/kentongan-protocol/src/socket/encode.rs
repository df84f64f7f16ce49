//! Socket.IO packets into finished frames.

use super::args::{Args, Parser};
use super::value::Value;
use crate::frame::Frame;

/// The grant of a namespace.
pub fn connect(_parser: Parser, _ns: &str, _sid: &str, _pid: Option<&str>) -> Frame {
    unimplemented!()
}
/// The refusal of a namespace.
pub fn connect_error(_parser: Parser, _ns: &str, _message: &str, _data: Option<&Value>) -> Frame {
    unimplemented!()
}
/// The end of a namespace.
pub fn disconnect(_parser: Parser, _ns: &str) -> Frame {
    unimplemented!()
}
/// An event.
pub fn event(
    _ns: &str,
    _name: &str,
    _args: &Args,
    _id: Option<u64>,
    _position: Option<&str>,
) -> Frame {
    unimplemented!()
}
/// An ack.
pub fn ack(_ns: &str, _id: u64, _args: &Args) -> Frame {
    unimplemented!()
}
/// A client's request for a namespace.
pub fn client_connect(_parser: Parser, _ns: &str, _auth: Option<&Args>) -> Frame {
    unimplemented!()
}
