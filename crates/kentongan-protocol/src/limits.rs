//! Every limit of the wire, in one struct: name, default, reason.
//!
//! Untrusted input is held against these while it grows and before memory is taken for it.

/// Limits on what one peer may send. All are inclusive: a value equal to the limit is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one message: a WebSocket message, a polling body, a packet, or all its attachments together.
    /// 1,000,000 is what Engine.IO announces as `maxPayload` by default.
    pub message_bytes_max: usize,
    /// Packets in one polling body (CVE-2026-32689). Stock clients put all that they have buffered into one body, so a
    /// burst of small events must fit.
    pub payload_packets_max: usize,
    /// Fragments of one WebSocket message (ws CVE-2026-48779).
    pub fragments_max: usize,
    /// Binary attachments of one packet, at least 1 (CVE-2026-33151, CVE-2026-69185). Stock clients refuse more than 10.
    pub attachments_max: usize,
    /// Bytes of a namespace name.
    pub namespace_bytes_max: usize,
    /// Bytes of an event name.
    pub event_name_bytes_max: usize,
    /// Nesting of JSON or msgpack values.
    pub depth_max: usize,
    /// Keys of one JSON or msgpack object.
    pub object_keys_max: usize,
    /// Namespaces that one session may be connected to at a time (CVE-2026-56811 in a peer).
    pub namespaces_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 1_000_000,
            payload_packets_max: 16_384,
            fragments_max: 1024,
            attachments_max: 10,
            namespace_bytes_max: 128,
            event_name_bytes_max: 256,
            depth_max: 64,
            object_keys_max: 10_000,
            namespaces_max: 32,
        }
    }
}

/// Attachments in one packet that a stock JavaScript client still accepts (socket.io-parser 4.2.6 and later). A server
/// that sends more makes every such client close with "parse error", so this bounds what we send, not what we accept.
pub const SENT_ATTACHMENTS_MAX: usize = 10;

/// Ceiling on [`Limits::depth_max`]: values are read by recursion, and serde_json itself stops at 128.
pub const DEPTH_CEILING: usize = 120;
