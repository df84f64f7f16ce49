//! WebSocket framing (RFC 6455) and permessage-deflate (RFC 7692), for both roles, over the caller's buffers.

pub mod decode;
pub mod deflate;
pub mod encode;
pub mod handshake;
