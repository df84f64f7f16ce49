//! Bodies of the fuzz targets: one for each decoder, one for a whole session.
//!
//! Each takes arbitrary bytes, runs a part of the protocol on them with small limits, and panics only when an
//! invariant is broken. The entries for libFuzzer are in `fuzz/`; a stable test replays the seeds through the same
//! functions. It must not know libFuzzer, files or real time.

mod engine;
mod socket;
mod websocket;

pub use self::engine::{engine_packet, engine_payload, engine_session};
pub use self::socket::{connections, msgpack_packet, socket_packet};
pub use self::websocket::{inflate, websocket_frames, websocket_handshake};

use kentongan_protocol::limits::Limits;

/// The body of one target.
pub type Target = fn(&[u8]);

/// Every target by the name of its entry and of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("connections", connections),
    ("engine_packet", engine_packet),
    ("engine_payload", engine_payload),
    ("engine_session", engine_session),
    ("inflate", inflate),
    ("msgpack_packet", msgpack_packet),
    ("socket_packet", socket_packet),
    ("websocket_frames", websocket_frames),
    ("websocket_handshake", websocket_handshake),
];

/// So small that short inputs reach every one of them.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.message_bytes_max = 2048;
    limits.payload_packets_max = 16;
    limits.fragments_max = 8;
    limits.attachments_max = 3;
    limits.namespace_bytes_max = 16;
    limits.event_name_bytes_max = 24;
    limits.depth_max = 8;
    limits.object_keys_max = 8;
    limits.namespaces_max = 3;
    limits
}

/// Reads choices from the input; past its end every choice is zero.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }
}
