//! Counters of what the server saw and did, and a snapshot of them that an application can export.
//!
//! Label values are a closed set from our own tables, never a text that a client chose (CVE-2022-21698).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::reason::DisconnectReason;

/// Something was refused; each has a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalCode {
    /// Engine.IO error 0: the transport is unknown or switched off.
    TransportUnknown,
    /// Engine.IO error 1: no session has this id.
    SessionUnknown,
    /// Engine.IO error 2: a handshake that is not a GET.
    HandshakeMethod,
    /// Engine.IO error 3: the request does not fit the session.
    BadRequest,
    /// Engine.IO error 4: a hook or the Origin list refused the handshake.
    Forbidden,
    /// Engine.IO error 5: a protocol revision other than 4.
    ProtocolVersion,
    /// The server is full or shutting down.
    Unavailable,
    /// A polling body above the message limit.
    PayloadTooLarge,
    /// Two polls, or two bodies, at once for one session.
    Overlap,
    /// Bytes that are not WebSocket, or a message above its limits.
    WebSocket,
    /// Bytes that are not Engine.IO.
    EnginePacket,
    /// Bytes that are not Socket.IO.
    SocketPacket,
    /// A Socket.IO packet that does not fit the state of the connection.
    SocketState,
    /// A namespace that does not exist.
    NamespaceUnknown,
    /// A namespace's middleware said no.
    Middleware,
    /// An event's middleware said no.
    EventMiddleware,
    /// Arguments that do not fit the handler's types.
    InvalidArguments,
    /// A request head, a handshake, an upgrade, a namespace or attachments did not come in time.
    Timeout,
    /// An event or ack could not be sent.
    Emit,
    /// A message of another node was no message, was not for this node, or was more than this node takes.
    ClusterMessage,
    /// A request line, or headers, above the limits of [`ServeConfig`](crate::ServeConfig).
    RequestHead,
    /// A TLS handshake failed, or did not come to its end in time.
    TlsHandshake,
    /// A polling body came in too slowly.
    BodyTooSlow,
    /// An event above the rate of its socket or address.
    RateLimited,
    /// Too many connections that have joined no namespace yet.
    UnauthenticatedTooMany,
    /// Too much for a connection that has joined no namespace yet.
    UnauthenticatedBytes,
}

/// What the server counts. Cheap to update; read it with [`Metrics::snapshot`].
#[derive(Debug, Default)]
pub struct Metrics {
    pub(crate) polling_opened: AtomicU64,
    pub(crate) websocket_opened: AtomicU64,
    pub(crate) polling_open: AtomicU64,
    pub(crate) websocket_open: AtomicU64,
    pub(crate) upgrades: AtomicU64,
    pub(crate) sockets_connected: AtomicU64,
    pub(crate) sockets_open: AtomicU64,
    pub(crate) events_in: AtomicU64,
    pub(crate) events_out: AtomicU64,
    pub(crate) acks_in: AtomicU64,
    pub(crate) acks_timed_out: AtomicU64,
    pub(crate) acks_unexpected: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) volatile_dropped: AtomicU64,
    pub(crate) slow_consumers: AtomicU64,
    pub(crate) handler_panics: AtomicU64,
    pub(crate) recovered: AtomicU64,
    pub(crate) not_recovered: AtomicU64,
    pub(crate) adapter_failures: AtomicU64,
    pub(crate) cluster_losses: AtomicU64,
    pub(crate) cluster_answers_missing: AtomicU64,
    pub(crate) reads_paused: AtomicU64,
    refusals: [AtomicU64; RefusalCode::ALL.len()],
    disconnects: [AtomicU64; DisconnectReason::ALL.len()],
}

/// The counters at one moment. `*_open` are gauges, all others only grow.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// Sessions that began with long-polling.
    pub polling_opened: u64,
    /// Sessions that began with WebSocket.
    pub websocket_opened: u64,
    /// Sessions now on long-polling.
    pub polling_open: u64,
    /// Sessions now on WebSocket.
    pub websocket_open: u64,
    /// Sessions that moved from polling to WebSocket.
    pub upgrades: u64,
    /// Namespace connections accepted.
    pub sockets_connected: u64,
    /// Namespace connections now open.
    pub sockets_open: u64,
    /// Events received.
    pub events_in: u64,
    /// Events queued for a client, one per recipient.
    pub events_out: u64,
    /// Acknowledgements received that somebody waited for.
    pub acks_in: u64,
    /// Acknowledgements that did not come in time.
    pub acks_timed_out: u64,
    /// Acknowledgements that nobody waited for, or repeated ones.
    pub acks_unexpected: u64,
    /// Bytes of messages received, without framing.
    pub bytes_in: u64,
    /// Bytes handed to the kernel or to a polling response.
    pub bytes_out: u64,
    /// Volatile events dropped because the transport was not writable.
    pub volatile_dropped: u64,
    /// Sessions ended because their outbox passed its bound.
    pub slow_consumers: u64,
    /// Handlers that panicked; the socket of each was disconnected.
    pub handler_panics: u64,
    /// Sockets that recovered completely.
    pub recovered: u64,
    /// Sockets that asked for recovery and did not get it.
    pub not_recovered: u64,
    /// Messages that the adapter could not pass on to other nodes.
    pub adapter_failures: u64,
    /// Times that the adapter told of messages between nodes that are lost, or may be.
    pub cluster_losses: u64,
    /// Nodes that were asked for something and did not answer, or not in time.
    pub cluster_answers_missing: u64,
    /// Times that a session was not read for a while, because it kept sending above its rate.
    pub reads_paused: u64,
    /// Refusals by code.
    pub refusals: Vec<(RefusalCode, u64)>,
    /// Ends of sockets by reason.
    pub disconnects: Vec<(DisconnectReason, u64)>,
}

impl Metrics {
    /// The counters now.
    #[must_use]
    pub fn snapshot(&self) -> MetricsSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MetricsSnapshot {
            polling_opened: read(&self.polling_opened),
            websocket_opened: read(&self.websocket_opened),
            polling_open: read(&self.polling_open),
            websocket_open: read(&self.websocket_open),
            upgrades: read(&self.upgrades),
            sockets_connected: read(&self.sockets_connected),
            sockets_open: read(&self.sockets_open),
            events_in: read(&self.events_in),
            events_out: read(&self.events_out),
            acks_in: read(&self.acks_in),
            acks_timed_out: read(&self.acks_timed_out),
            acks_unexpected: read(&self.acks_unexpected),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            volatile_dropped: read(&self.volatile_dropped),
            slow_consumers: read(&self.slow_consumers),
            handler_panics: read(&self.handler_panics),
            recovered: read(&self.recovered),
            not_recovered: read(&self.not_recovered),
            adapter_failures: read(&self.adapter_failures),
            cluster_losses: read(&self.cluster_losses),
            cluster_answers_missing: read(&self.cluster_answers_missing),
            reads_paused: read(&self.reads_paused),
            refusals: RefusalCode::ALL
                .iter()
                .zip(&self.refusals)
                .map(|(code, counter)| (*code, read(counter)))
                .collect(),
            disconnects: DisconnectReason::ALL
                .iter()
                .zip(&self.disconnects)
                .map(|(reason, counter)| (*reason, read(counter)))
                .collect(),
        }
    }

    pub(crate) fn refused(&self, code: RefusalCode) {
        if let Some(counter) = self.refusals.get(code as usize) {
            add(counter, 1);
        }
    }

    pub(crate) fn disconnected(&self, reason: DisconnectReason) {
        if let Some(counter) = self.disconnects.get(reason.index()) {
            add(counter, 1);
        }
    }
}

impl MetricsSnapshot {
    /// How often `code` was the reason of a refusal.
    #[must_use]
    pub fn refused(&self, code: RefusalCode) -> u64 {
        self.refusals
            .iter()
            .find(|(each, _)| *each == code)
            .map_or(0, |(_, count)| *count)
    }

    /// How many sockets ended for `reason`.
    #[must_use]
    pub fn disconnected(&self, reason: DisconnectReason) -> u64 {
        self.disconnects
            .iter()
            .find(|(each, _)| *each == reason)
            .map_or(0, |(_, count)| *count)
    }
}

impl RefusalCode {
    /// Every code, in the order of the counters.
    pub const ALL: [Self; 26] = [
        Self::TransportUnknown,
        Self::SessionUnknown,
        Self::HandshakeMethod,
        Self::BadRequest,
        Self::Forbidden,
        Self::ProtocolVersion,
        Self::Unavailable,
        Self::PayloadTooLarge,
        Self::Overlap,
        Self::WebSocket,
        Self::EnginePacket,
        Self::SocketPacket,
        Self::SocketState,
        Self::NamespaceUnknown,
        Self::Middleware,
        Self::EventMiddleware,
        Self::InvalidArguments,
        Self::Timeout,
        Self::Emit,
        Self::ClusterMessage,
        Self::RequestHead,
        Self::TlsHandshake,
        Self::BodyTooSlow,
        Self::RateLimited,
        Self::UnauthenticatedTooMany,
        Self::UnauthenticatedBytes,
    ];

    /// The stable text of the code, for logs and exported labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransportUnknown => "transport_unknown",
            Self::SessionUnknown => "session_unknown",
            Self::HandshakeMethod => "handshake_method",
            Self::BadRequest => "bad_request",
            Self::Forbidden => "forbidden",
            Self::ProtocolVersion => "protocol_version",
            Self::Unavailable => "unavailable",
            Self::PayloadTooLarge => "payload_too_large",
            Self::Overlap => "overlap",
            Self::WebSocket => "websocket",
            Self::EnginePacket => "engine_packet",
            Self::SocketPacket => "socket_packet",
            Self::SocketState => "socket_state",
            Self::NamespaceUnknown => "namespace_unknown",
            Self::Middleware => "middleware",
            Self::EventMiddleware => "event_middleware",
            Self::InvalidArguments => "invalid_arguments",
            Self::Timeout => "timeout",
            Self::Emit => "emit",
            Self::ClusterMessage => "cluster_message",
            Self::RequestHead => "request_head",
            Self::TlsHandshake => "tls_handshake",
            Self::BodyTooSlow => "body_too_slow",
            Self::RateLimited => "rate_limited",
            Self::UnauthenticatedTooMany => "unauthenticated_too_many",
            Self::UnauthenticatedBytes => "unauthenticated_bytes",
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Ordering::Relaxed);
}

pub(crate) fn sub(counter: &AtomicU64, amount: usize) {
    counter.fetch_sub(amount as u64, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_code_has_its_own_counter() {
        let metrics = Metrics::default();
        for code in RefusalCode::ALL {
            metrics.refused(code);
        }
        for code in RefusalCode::ALL {
            assert_eq!(metrics.snapshot().refused(code), 1, "{code:?}");
        }
    }
}
