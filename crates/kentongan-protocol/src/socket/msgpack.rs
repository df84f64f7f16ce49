//! (msgpack)
#![allow(
    unused_variables,
    dead_code,
    missing_docs,
    reason = "replaced at the merge"
)]
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::args::ArgsError;
use super::decode::DecodeError;
use super::packet::Packet;
use super::value::Value;
use crate::limits::Limits;

fn none<T>() -> Result<T, ArgsError> {
    Err(ArgsError::Serialize("msgpack".to_owned()))
}
pub(crate) fn decode_packet(data: &[u8], limits: &Limits) -> Result<Packet, DecodeError> {
    Err(DecodeError::Empty)
}
pub(crate) fn args_from_serialize<T: Serialize + ?Sized>(
    value: &T,
) -> Result<(Bytes, u32), ArgsError> {
    none()
}
pub(crate) fn args_deserialize<T: DeserializeOwned>(
    bytes: &[u8],
    count: u32,
) -> Result<T, ArgsError> {
    none()
}
pub(crate) fn argument<T: DeserializeOwned>(
    bytes: &[u8],
    count: u32,
    index: usize,
) -> Result<T, ArgsError> {
    none()
}
pub(crate) fn values(bytes: &[u8], count: u32) -> Result<Vec<Value>, ArgsError> {
    none()
}
pub(crate) fn from_values(values: &[Value]) -> Result<(Bytes, u32), ArgsError> {
    none()
}
pub(crate) fn push_str(bytes: &[u8], text: &str) -> Bytes {
    Bytes::new()
}
pub(crate) fn encode_event(
    ns: &str,
    name: &str,
    args: &[u8],
    count: u32,
    id: Option<u64>,
    position: Option<&str>,
) -> Vec<u8> {
    Vec::new()
}
pub(crate) fn encode_ack(ns: &str, id: u64, args: &[u8], count: u32) -> Vec<u8> {
    Vec::new()
}
pub(crate) fn encode_connect(ns: &str, sid: &str, pid: Option<&str>) -> Vec<u8> {
    Vec::new()
}
pub(crate) fn encode_connect_error(ns: &str, message: &str, data: Option<&Value>) -> Vec<u8> {
    Vec::new()
}
pub(crate) fn encode_disconnect(ns: &str) -> Vec<u8> {
    Vec::new()
}
pub(crate) fn encode_client_connect(ns: &str, auth: Option<(&[u8], u32)>) -> Vec<u8> {
    Vec::new()
}
