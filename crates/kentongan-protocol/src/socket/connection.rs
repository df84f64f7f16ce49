//! The namespaces of one session: which are connecting, which are connected, and what a packet may do in each.
//!
//! Owns the state machine of protocol revision 5 between "the packet decodes" and "the packet is acted upon", and
//! its two deadlines. It must not know handlers, middleware or sockets: it decides, the caller acts, and reports
//! back with [`Connections::accept`], [`Connections::refuse`] and [`Connections::disconnect`].
//!
//! A [`Decision::Violation`] ends the whole session; the caller closes it ("forced close") and drops this table.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use bytestring::ByteString;
use smallvec::SmallVec;
use thin_vec::ThinVec;
use thiserror::Error;

use crate::limits::Limits;
use crate::socket::packet::Packet;

/// The two times of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// Time from the opening of the session to its first connected namespace.
    pub connect_timeout: Duration,
    /// Time from the header of a binary packet to its last attachment.
    pub attachment_timeout: Duration,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(45),
            attachment_timeout: Duration::from_secs(10),
        }
    }
}

/// What a packet is, as far as the table cares. The binary forms count as their plain ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    /// `0`
    Connect,
    /// `1`
    Disconnect,
    /// `2` and `5`
    Event,
    /// `3` and `6`
    Ack,
    /// `4`
    ConnectError,
}

impl From<&Packet> for PacketKind {
    fn from(packet: &Packet) -> Self {
        match packet {
            Packet::Connect { .. } => Self::Connect,
            Packet::Disconnect { .. } => Self::Disconnect,
            Packet::Event { .. } => Self::Event,
            Packet::Ack { .. } => Self::Ack,
            Packet::ConnectError { .. } => Self::ConnectError,
        }
    }
}

/// What the caller does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Run the middleware, then report `accept` or `refuse`. The namespace is connecting until then.
    Connect,
    /// Answer with CONNECT_ERROR: the session is connected to as many namespaces as allowed. Nothing is remembered.
    Refuse,
    /// Hand the event or ack to the socket.
    Deliver,
    /// The client has left the namespace: end its socket, send nothing.
    Disconnect,
    /// Drop it. It crossed our own DISCONNECT on the way.
    Ignore,
    /// Close the session.
    Violation(ViolationCode),
}

/// How a client broke the connection rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ViolationCode {
    /// CONNECT for a namespace that is connecting or connected.
    #[error("CONNECT for a namespace that is already connecting or connected")]
    ConnectTwice,
    /// EVENT, ACK or DISCONNECT for a namespace that is not connected.
    #[error("packet for a namespace that is not connected")]
    NotConnected,
    /// CONNECT_ERROR, which only servers send.
    #[error("CONNECT_ERROR from a client")]
    ConnectErrorFromClient,
    /// No namespace was connected in time.
    #[error("no namespace connected in time")]
    ConnectTimeout,
    /// Attachments of a binary packet did not come in time.
    #[error("attachments did not arrive in time")]
    AttachmentTimeout,
}

impl ViolationCode {
    /// A stable name for logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::ConnectTwice => "connect_twice",
            Self::NotConnected => "not_connected",
            Self::ConnectErrorFromClient => "connect_error_from_client",
            Self::ConnectTimeout => "connect_timeout",
            Self::AttachmentTimeout => "attachment_timeout",
        }
    }
}

/// The connection table of one session.
#[derive(Debug)]
pub struct Connections {
    /// One inline: hardly any session is in a second namespace.
    entries: SmallVec<[Entry; 1]>,
    /// Namespaces that the server has left and from which the client may still be sending, oldest first.
    /// Bounded by `namespaces_max`.
    left: ThinVec<ByteString>,
    /// The opening of the session, until a namespace is connected for the first time.
    opened_at: Option<Instant>,
    /// The header of the binary packet that waits for attachments.
    attachments_since: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    ns: ByteString,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Connected,
}

impl Connections {
    /// The table of a session that opened at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            entries: SmallVec::new(),
            left: ThinVec::new(),
            opened_at: Some(now),
            attachments_since: None,
        }
    }

    /// Decides about one packet of the client.
    pub fn handle_packet(&mut self, packet: &Packet, limits: &Limits) -> Decision {
        self.handle(PacketKind::from(packet), packet.namespace(), limits)
    }

    /// The same by kind and namespace.
    pub fn handle(&mut self, kind: PacketKind, ns: &ByteString, limits: &Limits) -> Decision {
        let phase = self.phase(ns);
        match (kind, phase) {
            (PacketKind::ConnectError, _) => {
                Decision::Violation(ViolationCode::ConnectErrorFromClient)
            }
            (PacketKind::Connect, None) => self.connect(ns, limits),
            (PacketKind::Connect, Some(_)) => Decision::Violation(ViolationCode::ConnectTwice),
            (PacketKind::Disconnect, Some(Phase::Connected)) => {
                self.remove(ns);
                Decision::Disconnect
            }
            (PacketKind::Event | PacketKind::Ack, Some(Phase::Connected)) => Decision::Deliver,
            (_, Some(Phase::Connecting)) => Decision::Violation(ViolationCode::NotConnected),
            (_, None) => self.stray(kind, ns),
        }
    }

    /// The middleware let the client in. False when the namespace is no longer connecting, because the server has
    /// disconnected it meanwhile: then there is no socket to create.
    #[must_use]
    pub fn accept(&mut self, ns: &str) -> bool {
        let entry = self
            .entries
            .iter_mut()
            .find(|entry| entry.ns == *ns && entry.phase == Phase::Connecting);
        let Some(entry) = entry else {
            return false;
        };
        entry.phase = Phase::Connected;
        self.opened_at = None;
        true
    }

    /// The middleware refused. False when the namespace is no longer connecting. The client may try again.
    pub fn refuse(&mut self, ns: &str) -> bool {
        let connecting = self.phase(ns) == Some(Phase::Connecting);
        if connecting {
            self.remove(ns);
        }
        connecting
    }

    /// The server leaves the namespace, connecting or connected. False when there was nothing to leave.
    /// Packets that the client sent before it sees our DISCONNECT are ignored from now on.
    pub fn disconnect(&mut self, ns: &str, limits: &Limits) -> bool {
        let Some(entry) = self.remove(ns) else {
            return false;
        };
        if entry.phase == Phase::Connected {
            if self.left.len() >= limits.namespaces_max.max(1) {
                self.left.remove(0);
            }
            self.left.push(entry.ns);
        }
        true
    }

    /// Whether the decoder waits for attachments, to be told after every packet. The time runs from the header:
    /// attachments that trickle in do not prolong it.
    pub fn set_attachments_pending(&mut self, now: Instant, pending: bool) {
        if pending {
            self.attachments_since.get_or_insert(now);
        } else {
            self.attachments_since = None;
        }
    }

    /// What is due at `now`, if anything: close the session then.
    pub fn handle_timeout(
        &mut self,
        config: &ConnectionConfig,
        now: Instant,
    ) -> Option<ViolationCode> {
        if self.attachment_deadline(config).is_some_and(|at| at <= now) {
            self.attachments_since = None;
            return Some(ViolationCode::AttachmentTimeout);
        }
        if self.connect_deadline(config).is_some_and(|at| at <= now) {
            self.opened_at = None;
            return Some(ViolationCode::ConnectTimeout);
        }
        None
    }

    /// When [`Connections::handle_timeout`] is next due.
    pub fn poll_timeout(&self, config: &ConnectionConfig) -> Option<Instant> {
        [
            self.attachment_deadline(config),
            self.connect_deadline(config),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether the client is connected to `ns`.
    pub fn is_connected(&self, ns: &str) -> bool {
        self.phase(ns) == Some(Phase::Connected)
    }

    /// The connected namespaces, in the order of their CONNECT.
    pub fn connected(&self) -> impl Iterator<Item = &ByteString> {
        self.entries
            .iter()
            .filter(|entry| entry.phase == Phase::Connected)
            .map(|entry| &entry.ns)
    }

    fn connect(&mut self, ns: &ByteString, limits: &Limits) -> Decision {
        // The client has seen our DISCONNECT: whatever it sent before has been read.
        self.forget_left(ns);
        if self.entries.len() >= limits.namespaces_max {
            return Decision::Refuse;
        }
        // Most sessions use one namespace for life; growth by doubling would start at four.
        self.entries.reserve_exact(1);
        self.entries.push(Entry {
            ns: ns.clone(),
            phase: Phase::Connecting,
        });
        Decision::Connect
    }

    /// A packet for a namespace that is neither connecting nor connected.
    fn stray(&mut self, kind: PacketKind, ns: &str) -> Decision {
        if !self.left.iter().any(|left| left == ns) {
            return Decision::Violation(ViolationCode::NotConnected);
        }
        if kind == PacketKind::Disconnect {
            // Both sides left at once: the client sends nothing more from this stay.
            self.forget_left(ns);
        }
        Decision::Ignore
    }

    fn remove(&mut self, ns: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.ns == *ns)?;
        Some(self.entries.remove(index))
    }

    fn forget_left(&mut self, ns: &str) {
        self.left.retain(|left| left != ns);
        if self.left.is_empty() {
            self.left = ThinVec::new();
        }
    }

    fn phase(&self, ns: &str) -> Option<Phase> {
        self.entries
            .iter()
            .find(|entry| entry.ns == *ns)
            .map(|entry| entry.phase)
    }

    fn connect_deadline(&self, config: &ConnectionConfig) -> Option<Instant> {
        self.opened_at.map(|at| at + config.connect_timeout)
    }

    fn attachment_deadline(&self, config: &ConnectionConfig) -> Option<Instant> {
        self.attachments_since
            .map(|at| at + config.attachment_timeout)
    }
}
