//! WebSocket framing (RFC 6455) and permessage-deflate (RFC 7692), for both roles, over the caller's buffers.
//!
//! Bytes of a connection go through [`handshake`] once, then through [`decode`] (in) and [`encode`] (out). Nothing here
//! answers a peer by itself: pongs, close replies, deadlines and the rate of control frames are the caller's.

pub mod decode;
pub mod deflate;
pub mod encode;
pub mod handshake;
pub mod mask;
pub mod opcode;

pub use opcode::Opcode;
