//! Ping and pong of revision 4: the server pings, the client answers, both give up on silence.
//!
//! Owns the two deadlines of a session. Invariant: an open session always has one of them running, unless the
//! server itself does not read; no step of the upgrade can leave it without.

use std::sync::LazyLock;
use std::time::Instant;

use super::SessionConfig;
use crate::frame::Frame;

/// The packet `2`, shared by all sessions.
pub(super) fn ping_frame() -> Frame {
    static PING: LazyLock<Frame> = LazyLock::new(|| Frame::from_text("2"));
    PING.clone()
}

#[derive(Debug)]
pub(super) struct Heartbeat {
    /// When the last ping fell due; the handshake counts as one.
    pinged_at: Instant,
    /// Waiting: from when the interval runs. Otherwise: from when the wait for the pong runs.
    since: Instant,
    suspended_at: Option<Instant>,
    phase: Phase,
    /// The ping is due and not yet handed to the transport.
    ping_unsent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The next ping is not due yet.
    Waiting,
    /// A pong is expected.
    Outstanding,
    /// A pong is expected, and another packet has already prolonged the wait once.
    Prolonged,
}

/// What a deadline brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    Nothing,
    Ping,
    Expired,
}

impl Heartbeat {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pinged_at: now,
            since: now,
            suspended_at: None,
            phase: Phase::Waiting,
            ping_unsent: false,
        }
    }

    /// A pong nobody waits for, late or repeated, is ignored.
    pub(super) fn handle_pong(&mut self, now: Instant) {
        if self.phase != Phase::Waiting {
            self.phase = Phase::Waiting;
            self.since = now;
        }
    }

    /// Any other packet shows that the client lives; the pong may stand behind a big upload. Once per ping, so that
    /// a client that never answers still ends (engine.io 6.6.10).
    pub(super) fn handle_activity(&mut self, now: Instant) {
        if self.phase == Phase::Outstanding {
            self.phase = Phase::Prolonged;
            self.since = now;
        }
    }

    /// The `5` of an upgrade is as good as a pong: the real one may have been lost with the old transport, and then
    /// nobody would re-arm the interval.
    pub(super) fn handle_upgrade(&mut self, now: Instant) {
        self.handle_pong(now);
    }

    pub(super) fn handle_timeout(&mut self, config: &SessionConfig, now: Instant) -> Beat {
        let Some(due) = self.deadline(config).filter(|due| *due <= now) else {
            return Beat::Nothing;
        };
        if self.phase != Phase::Waiting && self.suspended_at.is_none() {
            return Beat::Expired;
        }
        // Counted from the nominal time, so that small delays do not add up to a late ping timeout. After a long
        // stall of this process the client gets its full time: it never saw the ping.
        let stalled = now.duration_since(due) > config.ping_timeout / 4;
        self.pinged_at = if stalled { now } else { due };
        self.since = self.pinged_at;
        self.phase = Phase::Outstanding;
        self.ping_unsent = true;
        Beat::Ping
    }

    pub(super) fn has_ping(&self) -> bool {
        self.ping_unsent
    }

    pub(super) fn take_ping(&mut self) -> bool {
        std::mem::take(&mut self.ping_unsent)
    }

    pub(super) fn suspend(&mut self, now: Instant) {
        self.suspended_at.get_or_insert(now);
    }

    pub(super) fn resume(&mut self, now: Instant) {
        if let Some(suspended_at) = self.suspended_at.take()
            && self.phase != Phase::Waiting
        {
            self.since += now.saturating_duration_since(suspended_at.max(self.since));
        }
    }

    /// Ends the sending of pings. The deadlines of a session that is not open are not asked for.
    pub(super) fn stop(&mut self) {
        self.ping_unsent = false;
    }

    /// The next ping or the end of the wait for a pong.
    pub(super) fn deadline(&self, config: &SessionConfig) -> Option<Instant> {
        match self.phase {
            // The client gives up `ping_interval + ping_timeout` after the last ping, however late its pong reached
            // us: the next ping must not wait a whole interval from a pong that was prolonged.
            Phase::Waiting => {
                let latest = self.pinged_at + config.ping_interval + config.ping_timeout / 2;
                Some((self.since + config.ping_interval).min(latest.max(self.since)))
            }
            // No pong is read meanwhile, but the client still wants its pings.
            _ if self.suspended_at.is_some() => Some(self.pinged_at + config.ping_interval),
            _ => Some(self.since + config.ping_timeout),
        }
    }
}
