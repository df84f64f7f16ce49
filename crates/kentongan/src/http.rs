//! The HTTP side: from a request to a handshake, a poll, a body or a WebSocket.
//!
//! Owns routing, CORS, error bodies and the way from hyper to a raw connection. It must not know namespaces, rooms or
//! handlers: it ends where a session begins.

pub(crate) mod bundles;
pub(crate) mod cors;
pub(crate) mod hooks;
pub(crate) mod serve;
pub(crate) mod service;
#[cfg(feature = "tls")]
pub(crate) mod tls;

pub(crate) mod body;
pub(crate) mod compression;
pub(crate) mod handshake;
pub(crate) mod polling;
pub(crate) mod query;
pub(crate) mod reply;
pub(crate) mod upgrade;
