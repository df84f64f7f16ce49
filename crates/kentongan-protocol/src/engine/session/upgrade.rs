//! The move from polling to a WebSocket: probes, the one winner, and what a lost probe must leave alone.
//!
//! Until a `5` comes polling carries the session, whatever a probing WebSocket does or suffers.

use std::time::Instant;

use thin_vec::ThinVec;

use super::{RequestError, Session, SessionConfig, Transport};
use crate::engine::packet::Packet;

/// One WebSocket that probes a session. Never reused within a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProbeId(u32);

/// What the driver of a probing WebSocket does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum ProbeStep {
    /// Send the text `3probe`.
    ReplyPong,
    /// This WebSocket carries the session from now on. The session may be closed already, when it was closing with
    /// nothing left to flush.
    Upgraded,
    /// Close this WebSocket. The session goes on without it.
    Reject,
}

#[derive(Debug, Default)]
pub(super) struct Probes {
    /// Empty, and without heap, except during an upgrade.
    open: ThinVec<Probe>,
    next: u32,
}

#[derive(Debug)]
struct Probe {
    id: ProbeId,
    deadline: Instant,
    /// `2probe` has come: the client may stop polling, and waits for its GET.
    probed: bool,
}

impl Probes {
    /// Whether a client may be waiting for its GET in order to upgrade.
    pub(super) fn is_probed(&self) -> bool {
        self.open.iter().any(|probe| probe.probed)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.iter().map(|probe| probe.deadline).min()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.retain(|probe| probe.deadline > now);
    }

    pub(super) fn clear(&mut self) {
        self.open = ThinVec::new();
    }

    #[cfg(test)]
    pub(super) fn is_unallocated(&self) -> bool {
        self.open.capacity() == 0
    }

    fn retain(&mut self, keep: impl FnMut(&Probe) -> bool) {
        self.open.retain(keep);
        if self.open.is_empty() {
            self.clear();
        }
    }
}

impl Session {
    /// A WebSocket was opened with the sid of this session. Ask before answering 101.
    ///
    /// # Errors
    /// `Unknown` when the session is closing or closed, `Mismatch` when a WebSocket carries it already,
    /// `UpgradesDisabled`, `ProbesFull`. The session is untouched in every case.
    pub fn handle_probe_open(
        &mut self,
        config: &SessionConfig,
        now: Instant,
    ) -> Result<ProbeId, RequestError> {
        if !self.is_open() {
            return Err(RequestError::Unknown);
        }
        if self.transport == Transport::WebSocket {
            return Err(RequestError::Mismatch);
        }
        if !config.allow_upgrades {
            return Err(RequestError::UpgradesDisabled);
        }
        if self.probes.open.len() >= config.probes_max {
            return Err(RequestError::ProbesFull);
        }
        let id = ProbeId(self.probes.next);
        self.probes.next = self.probes.next.wrapping_add(1);
        self.probes.open.push(Probe {
            id,
            deadline: now + config.upgrade_timeout,
            probed: false,
        });
        Ok(id)
    }

    /// Takes one packet of a probing WebSocket. Only `2probe` and `5` are allowed there; `5` alone is enough.
    /// Also answers for a probe that lost, ran out of time, or whose session has closed: `Reject`.
    pub fn handle_probe_packet(
        &mut self,
        now: Instant,
        id: ProbeId,
        packet: &Packet<'_>,
    ) -> ProbeStep {
        let Some(probe) = self.probes.open.iter_mut().find(|probe| probe.id == id) else {
            return ProbeStep::Reject;
        };
        match packet {
            Packet::Ping("probe") => {
                probe.probed = true;
                ProbeStep::ReplyPong
            }
            Packet::Upgrade => {
                self.upgrade(now);
                ProbeStep::Upgraded
            }
            _ => {
                self.handle_probe_closed(now, id);
                ProbeStep::Reject
            }
        }
    }

    /// A probing WebSocket is gone, or sent what does not decode. Polling goes on.
    pub fn handle_probe_closed(&mut self, _now: Instant, id: ProbeId) {
        self.probes.retain(|probe| probe.id != id);
    }

    /// Whether this WebSocket may still win. When not, its driver closes it.
    pub fn is_probe_open(&self, id: ProbeId) -> bool {
        self.probes.open.iter().any(|probe| probe.id == id)
    }

    /// When this probe runs out of time. Also part of [`Session::poll_timeout`].
    pub fn probe_deadline(&self, id: ProbeId) -> Option<Instant> {
        self.probes
            .open
            .iter()
            .find(|probe| probe.id == id)
            .map(|probe| probe.deadline)
    }

    /// The switch. What was queued stays in the outbox and goes out on the WebSocket, in order.
    fn upgrade(&mut self, now: Instant) {
        self.transport = Transport::WebSocket;
        self.probes.clear();
        self.heartbeat.handle_upgrade(now);
        self.outbox.handle_upgrade(now);
        self.finish_if_flushed();
    }
}
