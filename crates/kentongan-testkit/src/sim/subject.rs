//! The session under test, and the bugs that can be planted in it.
//!
//! A mutation lives only here: the wrapper answers in place of the session, or keeps something from it. The session
//! itself has no switch.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use kentongan_protocol::engine::packet::Packet;
use kentongan_protocol::engine::session::{
    Class, CloseReason, Flush, ProbeId, ProbeStep, Received, RequestError, Sent, Session,
    SessionConfig, Transport,
};
use kentongan_protocol::frame::Frame;

/// A bug to plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the names say it; each stands for a bug that a server could have"
)]
pub enum Mutation {
    FlushReversedAtUpgrade,
    FrameLostAtUpgrade,
    FrameDoubledAtUpgrade,
    NoopMissingDuringProbe,
    NoopsForEverAfterProbe,
    GetAbortIgnored,
    OverlapRuleMissing,
    PongDoesNotRearm,
    HeartbeatEndsWithUpgrade,
    PingTimeoutLate,
    LatePongCloses,
    PostRefusedWhileProbing,
    ProbeDeathEndsSession,
    LoserWins,
    CloseForgetsFlush,
    SuspensionIgnored,
    FullOutboxDropsSilently,
    ParkedGetForgottenAtClose,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::FlushReversedAtUpgrade,
        Self::FrameLostAtUpgrade,
        Self::FrameDoubledAtUpgrade,
        Self::NoopMissingDuringProbe,
        Self::NoopsForEverAfterProbe,
        Self::GetAbortIgnored,
        Self::OverlapRuleMissing,
        Self::PongDoesNotRearm,
        Self::HeartbeatEndsWithUpgrade,
        Self::PingTimeoutLate,
        Self::LatePongCloses,
        Self::PostRefusedWhileProbing,
        Self::ProbeDeathEndsSession,
        Self::LoserWins,
        Self::CloseForgetsFlush,
        Self::SuspensionIgnored,
        Self::FullOutboxDropsSilently,
        Self::ParkedGetForgottenAtClose,
    ];
}

#[derive(Debug)]
pub(super) struct Subject {
    pub(super) session: Session,
    mutation: Option<Mutation>,
    /// Frames that a mutation sends before those of the session.
    replay: VecDeque<Frame>,
    last_sent: Option<Frame>,
    /// A GET is parked in the session whose request a mutation has lost.
    phantom: bool,
    probed: bool,
    timers_dead: bool,
    pings_out: u32,
}

impl Subject {
    pub(super) fn new(now: Instant, mutation: Option<Mutation>) -> Self {
        Self {
            session: Session::new(Transport::Polling, now),
            mutation,
            replay: VecDeque::new(),
            last_sent: None,
            phantom: false,
            probed: false,
            timers_dead: false,
            pings_out: 0,
        }
    }

    pub(super) fn handle_get(
        &mut self,
        config: &SessionConfig,
        now: Instant,
        parked: bool,
    ) -> Result<(), RequestError> {
        if std::mem::take(&mut self.phantom) || (parked && self.is(Mutation::OverlapRuleMissing)) {
            return Ok(());
        }
        self.session.handle_get(config, now)
    }

    pub(super) fn poll_get(&mut self, now: Instant, out: &mut BytesMut) -> bool {
        let answered = self.session.poll_get(now, out);
        if answered && out.starts_with(b"2") {
            self.pings_out += 1;
        }
        let noops =
            self.is(Mutation::NoopsForEverAfterProbe) && self.probed && self.session.is_open();
        if !answered && noops && !self.phantom && self.session.transport() == Transport::Polling {
            self.phantom = true;
            out.extend_from_slice(b"6");
            return true;
        }
        let swallowed = self.is(Mutation::NoopMissingDuringProbe) && out.as_ref() == b"6"
            || self.is(Mutation::ParkedGetForgottenAtClose) && out.as_ref() == b"1";
        answered && !swallowed
    }

    pub(super) fn handle_get_aborted(&mut self, now: Instant, parked: bool) {
        if self.is(Mutation::GetAbortIgnored) {
            self.phantom = parked;
        } else {
            self.session.handle_get_aborted(now);
        }
    }

    pub(super) fn handle_post(&mut self, now: Instant) -> Result<(), RequestError> {
        if self.is(Mutation::PostRefusedWhileProbing) && self.probed && self.session.is_open() {
            return Err(RequestError::Mismatch);
        }
        self.session.handle_post(now)
    }

    pub(super) fn handle_packet(
        &mut self,
        config: &SessionConfig,
        now: Instant,
        from: Transport,
        packet: &Packet<'_>,
    ) -> Received {
        if matches!(packet, Packet::Pong(_)) {
            self.timers_dead |= self.is(Mutation::PongDoesNotRearm);
            if self.pings_out == 0 && self.is(Mutation::LatePongCloses) {
                self.session
                    .close(now, CloseReason::TransportError("late pong"), Flush::No);
            }
            self.pings_out = self.pings_out.saturating_sub(1);
        }
        self.session.handle_packet(config, now, from, packet)
    }

    pub(super) fn handle_probe_packet(
        &mut self,
        now: Instant,
        id: ProbeId,
        packet: &Packet<'_>,
    ) -> ProbeStep {
        let step = self.session.handle_probe_packet(now, id, packet);
        match step {
            ProbeStep::ReplyPong => self.probed = true,
            ProbeStep::Upgraded => self.handle_upgraded(),
            ProbeStep::Reject if self.is(Mutation::LoserWins) && *packet == Packet::Upgrade => {
                return ProbeStep::Upgraded;
            }
            ProbeStep::Reject => {}
        }
        step
    }

    pub(super) fn handle_probe_closed(&mut self, now: Instant, id: ProbeId) {
        self.session.handle_probe_closed(now, id);
        if self.is(Mutation::ProbeDeathEndsSession) {
            self.session
                .close(now, CloseReason::TransportError("probe closed"), Flush::No);
        }
    }

    pub(super) fn is_probe_open(&self, id: ProbeId) -> bool {
        self.session.is_probe_open(id) || self.is(Mutation::LoserWins)
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Frame> {
        let frame = self
            .replay
            .pop_front()
            .or_else(|| self.session.poll_transmit())?;
        if frame.polling().as_ref() == b"2" {
            self.pings_out += 1;
        }
        Some(frame)
    }

    pub(super) fn send(
        &mut self,
        config: &SessionConfig,
        now: Instant,
        frame: Frame,
        class: Class,
    ) -> Sent {
        if self.is(Mutation::FullOutboxDropsSilently)
            && class == Class::Reliable
            && self.session.outbox_bytes() > 30
        {
            return Sent::Queued;
        }
        self.last_sent = Some(frame.clone());
        self.session.send(config, now, frame, class)
    }

    pub(super) fn close(&mut self, now: Instant, reason: CloseReason, flush: Flush) {
        let flush = if self.is(Mutation::CloseForgetsFlush) {
            Flush::No
        } else {
            flush
        };
        self.session.close(now, reason, flush);
    }

    pub(super) fn suspend_heartbeat(&mut self, now: Instant) {
        if !self.is(Mutation::SuspensionIgnored) {
            self.session.suspend_heartbeat(now);
        }
    }

    pub(super) fn poll_timeout(&self, config: &SessionConfig) -> Option<Instant> {
        let due = self
            .session
            .poll_timeout(config)
            .filter(|_| !self.timers_dead)?;
        Some(if self.is(Mutation::PingTimeoutLate) {
            due + Duration::from_millis(20)
        } else {
            due
        })
    }

    fn handle_upgraded(&mut self) {
        self.timers_dead |= self.is(Mutation::HeartbeatEndsWithUpgrade);
        match self.mutation {
            Some(Mutation::FlushReversedAtUpgrade) => {
                while let Some(frame) = self.session.poll_transmit() {
                    self.replay.push_front(frame);
                }
            }
            Some(Mutation::FrameLostAtUpgrade) => drop(self.session.poll_transmit()),
            Some(Mutation::FrameDoubledAtUpgrade) if self.session.outbox_bytes() == 0 => {
                self.replay.extend(self.last_sent.take());
            }
            _ => {}
        }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }
}
