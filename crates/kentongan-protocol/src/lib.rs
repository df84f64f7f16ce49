//! Engine.IO v4, Socket.IO v5 and WebSocket (RFC 6455, RFC 7692) as pure code.
//!
//! Owns the way from bytes to packets and back, and the session state machines. It must not know sockets, clocks,
//! randomness or async: the world comes in through `handle_*` with `now` as an argument, what is to be done goes
//! out through `poll_*`. The same code serves the server, the test clients and the load generator.

pub mod engine;
pub mod frame;
mod inline;
pub mod limits;
pub mod socket;
pub mod websocket;
