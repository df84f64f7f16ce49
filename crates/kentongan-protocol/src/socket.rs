//! Socket.IO protocol revision 5: packets, their JSON and msgpack forms, and the arguments of an event.

pub mod args;
pub mod connection;
pub mod decode;
pub mod encode;
pub(crate) mod json;
pub(crate) mod msgpack;
pub mod packet;
pub mod value;
