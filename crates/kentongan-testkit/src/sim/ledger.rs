//! The account of a run: what was sent and received, what may end the session, what was broken, what was covered.

use kentongan_protocol::engine::packet::Packet;

use super::network::Network;
use super::plan::{Micros, Plan};
use super::wire::Receiver;

/// What a run that held all promises has seen. Tests add these up, to know that the simulator gets everywhere.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Events that reached somebody.
    pub steps: u64,
    /// Packets that the client received.
    pub to_client: u64,
    /// Packets that the server received.
    pub to_server: u64,
    /// Whether the session moved to a WebSocket.
    pub upgraded: bool,
    /// Packets that waited for the WebSocket when it took over.
    pub flushed_at_upgrade: u64,
    /// GETs answered with a noop.
    pub noops: u64,
    /// POSTs that arrived while a probe was open.
    pub posts_while_probing: u64,
    /// Probing WebSockets that ended without winning.
    pub probes_lost: u64,
    /// Volatile packets that were dropped.
    pub volatile_dropped: u64,
    /// Pongs that nobody waited for.
    pub noise: u64,
    /// How the session ended on the server, if it did.
    pub reason: Option<&'static str>,
    /// What happened, one line per event; empty unless asked for.
    pub trace: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) to_client: Receiver,
    pub(super) to_server: Receiver,
    pub(super) server_sent: u64,
    pub(super) client_sent: u64,
    /// Something has happened that may end the session.
    pub(super) may_end: bool,
    /// The server closed with a flush, and nothing stands in its way.
    pub(super) flush_expected: bool,
    /// The client has polled twice at a time. When the server saw no overlap, because the first GET was answered just
    /// before, the packets in the two responses have no order and the client's count means nothing.
    pub(super) polls_twice: bool,
    /// The client has polled again after a failed GET. When the server answers before it hears of the failure, the
    /// client sees a gap, and the session must end.
    pub(super) polled_again: bool,
    pub(super) gap: Option<String>,
    pub(super) server_closed_at: Option<Micros>,
    pub(super) client_closed_at: Option<Micros>,
    pub(super) report: Report,
    /// The first broken promise.
    pub(super) violation: Option<String>,
}

impl Ledger {
    pub(super) fn violate(&mut self, violation: impl Into<String>) {
        self.violation.get_or_insert_with(|| violation.into());
    }

    pub(super) fn handle_received_by_client(&mut self, packet: &Packet<'_>) {
        match self.to_client.handle(packet) {
            Ok(()) => {}
            Err(_) if self.polls_twice => {}
            Err(violation) if self.polled_again => self.gap = Some(violation),
            Err(violation) => self.violate(format!("at the client: {violation}")),
        }
    }

    pub(super) fn handle_received_by_server(&mut self, packet: &Packet<'_>) {
        if let Err(violation) = self.to_server.handle(packet) {
            self.violate(format!("at the server: {violation}"));
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.server_closed_at.is_some() && self.client_closed_at.is_some()
    }

    /// An end needs a cause.
    pub(super) fn note_end(&mut self, side: &str, why: &str) {
        if !self.may_end {
            self.violate(format!("{side} ended without a cause: {why}"));
        }
    }
}

/// What the server, the client and the faults share.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) plan: Plan,
    pub(super) net: Network,
    pub(super) ledger: Ledger,
}
