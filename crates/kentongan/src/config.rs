//! Every setting of the server, with its default and the reason for it.
//!
//! Owns names, defaults and the relations between them; it must not know how any setting is carried out.

mod admission;

use std::{fmt, sync::Arc, time::Duration};

pub use ipnet::IpNet;
use kentongan_protocol::engine::session::SessionConfig;
pub use kentongan_protocol::{limits::Limits, socket::args::Parser};

pub use self::admission::{BodyRate, Rate, RateLimits, UnauthenticatedLimits};
use crate::{
    adapter::config::ClusterConfig,
    http::{cors::Cors, hooks::HttpHooks},
    recovery::RecoveryConfig,
};

/// Settings of a [`Server`](crate::Server). Start from `Config::default()` and change fields.
///
/// ```
/// let mut config = kentongan::Config::default();
/// config.ping_interval = std::time::Duration::from_secs(10);
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// Path that requests must start with when the server is used as a layer or on its own listener. `/socket.io/`.
    pub path: String,
    /// Whether `path` is also matched without its trailing slash (Node: `addTrailingSlash: false`). Off.
    pub path_without_slash: bool,
    /// Transports that clients may use. Both.
    pub transports: Transports,
    /// Whether a polling session may move to WebSocket. On.
    pub allow_upgrades: bool,
    /// Time between two heartbeats. 25 s, as in Node.
    pub ping_interval: Duration,
    /// How long a pong may take. 20 s, as in Node.
    pub ping_timeout: Duration,
    /// How long a probing WebSocket may take to complete the upgrade. 10 s, as in Node.
    pub upgrade_timeout: Duration,
    /// How long a closing session may wait for its client to fetch what is left. 30 s, as in Node.
    pub close_timeout: Duration,
    /// How long a handshake may take from its request to the open session, with `hooks.allow_request`. 5 s.
    pub open_timeout: Duration,
    /// How long a session may stay without any namespace. 45 s, as in Node.
    pub connect_timeout: Duration,
    /// How long the attachments of one packet may take to arrive after its header. 10 s.
    pub attachments_timeout: Duration,
    /// How long an acknowledgement may take when the call does not say. 30 s: an ack without a deadline leaks.
    pub ack_timeout: Duration,
    /// How long a namespace's middleware may take before the connection is refused. 30 s.
    pub middleware_timeout: Duration,
    /// What one peer may send.
    pub limits: Limits,
    /// What one session, and the server as a whole, may hold.
    pub held: HeldLimits,
    /// How slowly a polling body may come in. 1 KiB per second after 5 s; `None` sets no bound.
    pub body_rate: Option<BodyRate>,
    /// How many events clients may send per second. No limit: see [`RateLimits::recommended`].
    pub rates: RateLimits,
    /// Limits on connections that have joined no namespace yet.
    pub unauthenticated: UnauthenticatedLimits,
    /// Proxies in front of the server, whose `X-Forwarded-For` is believed. None: then the address of a client is that
    /// of the peer.
    pub trusted_proxies: Vec<IpNet>,
    /// The packet format. JSON; msgpack needs the clients to use `socket.io-msgpack-parser`.
    pub parser: Parser,
    /// A cookie with the session id on polling handshakes, for load balancers. None.
    pub cookie: Option<Cookie>,
    /// Which web origins may connect, and the CORS headers for them. Same origin only (CVE-2020-28481).
    pub cors: Cors,
    /// permessage-deflate for WebSockets. Off: it costs CPU, and memory in the clients.
    pub deflate: Option<Deflate>,
    /// Bytes from which polling responses are compressed (gzip, deflate), and client bundles (gzip). 1,024 as in Node; `None` turns it off.
    pub http_compression_bytes_min: Option<usize>,
    /// The stock client's files, served below `path` (Node: `serveClient`). None: this crate holds no third-party code.
    pub client_bundles: Option<crate::http::bundles::ClientBundles>,
    /// Connection state recovery. Off.
    pub recovery: Option<RecoveryConfig>,
    /// Makes the server a node of a cluster. Off.
    pub cluster: Option<ClusterConfig>,
    /// Whether a namespace that was made by a pattern goes away with its last socket. Off, as in Node.
    pub cleanup_empty_child_namespaces: bool,
    /// How long the request's headers stay available in `Handshake`. For the life of the session.
    pub handshake_retention: HandshakeRetention,
    /// Hooks on HTTP requests and responses.
    pub hooks: HttpHooks,
}

/// Limits on what is held in memory for clients. All are inclusive.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HeldLimits {
    /// Open sessions of the whole server; a handshake beyond it is answered with 503. 1,000,000.
    pub sessions_max: usize,
    /// Bytes waiting to be written to one session. 1 MiB; beyond it the session ends as a slow consumer, recoverable.
    pub outbox_bytes_max: usize,
    /// How long a non-empty outbox may make no progress. 30 s; then the session ends as a slow consumer.
    pub outbox_age_max: Duration,
    /// Bytes of received events that wait for their handlers; beyond it the server stops reading from the session. 1 MiB.
    pub inbox_bytes_max: usize,
    /// Received events that wait for their handlers, likewise. 1,024.
    pub inbox_events_max: usize,
    /// Rooms that one socket may be in. 1,000.
    pub rooms_per_socket_max: usize,
    /// Bytes of a room name. 256.
    pub room_bytes_max: usize,
    /// Acknowledgements that one socket may owe. 1,000.
    pub acks_per_socket_max: usize,
    /// WebSocket ping and pong frames that one connection may send per second; beyond it closes with 1008. 100.
    pub control_frames_per_second_max: u32,
    /// WebSockets that may probe one session at a time. 3.
    pub probes_max: usize,
    /// Namespaces that patterns may create. 10,000.
    pub child_namespaces_max: usize,
}

/// Transports that a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transports {
    /// HTTP long-polling and WebSocket.
    Both,
    /// HTTP long-polling only.
    PollingOnly,
    /// WebSocket only.
    WebSocketOnly,
}

/// permessage-deflate (RFC 7692), always without context takeover so that a broadcast is compressed once.
#[derive(Debug, Clone, Copy)]
pub struct Deflate {
    /// Bytes of a message from which it is compressed. 1,024.
    pub bytes_min: usize,
}

/// How long the headers of the handshake request are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeRetention {
    /// As long as the session lives.
    Session,
    /// Never: only address, query and time are kept. Saves the size of the headers per connection.
    WithoutHeaders,
}

/// The cookie that carries the engine sid (Node's `cookie` option).
#[derive(Debug, Clone)]
pub struct Cookie {
    /// Name of the cookie. `io`.
    pub name: String,
    /// Path attribute. `/`.
    pub path: String,
    /// Whether scripts are kept from it. On.
    pub http_only: bool,
    /// Whether it is sent over TLS only. Off, since TLS often ends at a proxy.
    pub secure: bool,
    /// SameSite attribute. Lax.
    pub same_site: SameSite,
}

/// SameSite attribute of a cookie (RFC 6265bis, section 4.1.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// `Strict`
    Strict,
    /// `Lax`
    Lax,
    /// `None`
    None,
}

/// Settings that cannot work together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct ConfigError {
    /// The field.
    pub setting: &'static str,
    /// What is wrong, and the way out.
    pub problem: &'static str,
}

impl Config {
    /// Checks the relations between settings.
    ///
    /// # Errors
    /// Names the first setting that contradicts another one.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |setting, problem| Err(ConfigError { setting, problem });
        if !self.path.starts_with('/') {
            return refuse("path", "must start with '/'");
        }
        if self.ping_interval.is_zero() || self.ping_timeout.is_zero() {
            return refuse(
                "ping_interval",
                "heartbeats need an interval and a timeout above zero",
            );
        }
        if self.limits.attachments_max == 0 {
            return refuse(
                "limits.attachments_max",
                "must be at least 1: a binary packet has an attachment",
            );
        }
        if self.held.outbox_bytes_max < self.limits.message_bytes_max {
            return refuse(
                "held.outbox_bytes_max",
                "must hold at least one message: raise it to limits.message_bytes_max",
            );
        }
        self.rates.validate()?;
        if self
            .body_rate
            .is_some_and(|rate| rate.bytes_per_second_min == 0)
        {
            return refuse(
                "body_rate",
                "must be at least 1 byte per second; None sets no bound",
            );
        }
        if self.limits.message_bytes_max == 0
            || self.limits.payload_packets_max == 0
            || self.limits.fragments_max == 0
        {
            return refuse("limits", "a limit of zero would refuse everything");
        }
        if self
            .cookie
            .as_ref()
            .is_some_and(|cookie| !cookie.is_plain())
        {
            return refuse(
                "cookie",
                "name and path may not hold control characters, spaces, ';', ',' or '='",
            );
        }
        Ok(())
    }

    pub(crate) fn session(&self) -> SessionConfig {
        SessionConfig {
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            upgrade_timeout: self.upgrade_timeout,
            close_timeout: self.close_timeout,
            allow_upgrades: self.allow_upgrades && self.transports == Transports::Both,
            outbox_bytes_max: self.held.outbox_bytes_max,
            outbox_age_max: self.held.outbox_age_max,
            probes_max: self.held.probes_max,
        }
    }
}

impl Transports {
    pub(crate) fn polling(self) -> bool {
        self != Self::WebSocketOnly
    }

    pub(crate) fn websocket(self) -> bool {
        self != Self::PollingOnly
    }
}

impl Cookie {
    fn is_plain(&self) -> bool {
        let plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && !b";,=\"\\".contains(&b))
        };
        plain(&self.name) && plain(&self.path)
    }
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: "io".into(),
            path: "/".into(),
            http_only: true,
            secure: false,
            same_site: SameSite::Lax,
        }
    }
}

impl Default for Deflate {
    fn default() -> Self {
        Self { bytes_min: 1024 }
    }
}

impl Default for HeldLimits {
    fn default() -> Self {
        Self {
            sessions_max: 1_000_000,
            outbox_bytes_max: 1 << 20,
            outbox_age_max: Duration::from_secs(30),
            inbox_bytes_max: 1 << 20,
            inbox_events_max: 1024,
            rooms_per_socket_max: 1000,
            room_bytes_max: 256,
            acks_per_socket_max: 1000,
            control_frames_per_second_max: 100,
            probes_max: 3,
            child_namespaces_max: 10_000,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io/".into(),
            path_without_slash: false,
            transports: Transports::Both,
            allow_upgrades: true,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(30),
            open_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(45),
            attachments_timeout: Duration::from_secs(10),
            ack_timeout: Duration::from_secs(30),
            middleware_timeout: Duration::from_secs(30),
            limits: Limits::default(),
            held: HeldLimits::default(),
            body_rate: Some(BodyRate::default()),
            rates: RateLimits::default(),
            unauthenticated: UnauthenticatedLimits::default(),
            trusted_proxies: Vec::new(),
            parser: Parser::Json,
            cookie: None,
            cors: Cors::default(),
            deflate: None,
            http_compression_bytes_min: Some(1024),
            client_bundles: None,
            recovery: None,
            cluster: None,
            cleanup_empty_child_namespaces: false,
            handshake_retention: HandshakeRetention::Session,
            hooks: HttpHooks::default(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("path", &self.path)
            .field("transports", &self.transports)
            .finish_non_exhaustive()
    }
}

/// The configuration, shared by everything that a server owns.
pub(crate) type SharedConfig = Arc<Config>;
