//! What a seed decides before the run: times, the character of the client, the load, the faults and when they strike.

use std::time::Duration;

use kentongan_protocol::engine::session::SessionConfig;

use super::random::Random;

/// Virtual time, in microseconds since the handshake.
pub(super) type Micros = u64;

pub(super) const MS: Micros = 1_000;
pub(super) const SECOND: Micros = 1_000 * MS;

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: SessionConfig,
    pub(super) interval: Micros,
    pub(super) timeout: Micros,
    /// The longest that one packet may be under way.
    pub(super) delay_max: Micros,
    pub(super) client: Character,
    /// When the client opens its probe, if it upgrades.
    pub(super) upgrade_at: Option<Micros>,
    /// When the run is over, if the session is up until then.
    pub(super) end: Micros,
    pub(super) faults: Vec<(Micros, Fault)>,
    /// Bursts of the two applications: when, and how many packets.
    pub(super) server_sends: Vec<(Micros, u64)>,
    pub(super) client_sends: Vec<(Micros, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Character {
    /// engine.io-client.
    Stock,
    /// Sends `5` without `2probe`.
    Eager,
    /// Polls again after a failed GET instead of giving up, as naive clients and proxies do.
    Retrying,
    /// Never sends anything after the handshake.
    Silent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The probing WebSocket is reset.
    CutProbe,
    /// Another WebSocket probes and then stays silent.
    ExtraProbe,
    /// Another WebSocket opens and never says anything.
    SilentProbe,
    /// Another WebSocket says the wrong thing.
    WrongProbe,
    /// Another WebSocket probes, and sends `5` after the client has upgraded.
    LoserProbe,
    /// A pong that nobody asked for, an open, an upgrade, a noop out of place.
    Noise,
    /// A GET and a POST after the upgrade.
    LateRequests,
    /// The server does not read from the client for a while.
    Busy,
    /// The kernel takes nothing from the server's WebSocket for a short while.
    Blocked,
    /// The same, for too long.
    BlockedForLong,
    AbortGet,
    /// The next GET that brings packets breaks off on the way back.
    AbortAnswer,
    AbortPost,
    CutWebSocket,
    /// Everything under way and everything later vanishes.
    BlackHole,
    /// Every connection is reset.
    ResetAll,
    OverlapGet,
    OverlapPost,
    ServerClosesFlushing,
    ServerClosesAtOnce,
    ClientCloses,
    Garbage,
    ClientPings,
}

const HARMLESS: [Fault; 9] = [
    Fault::CutProbe,
    Fault::ExtraProbe,
    Fault::SilentProbe,
    Fault::WrongProbe,
    Fault::LoserProbe,
    Fault::Noise,
    Fault::LateRequests,
    Fault::Busy,
    Fault::Blocked,
];

const DEADLY: [Fault; 14] = [
    Fault::BlockedForLong,
    Fault::AbortGet,
    Fault::AbortAnswer,
    Fault::AbortPost,
    Fault::CutWebSocket,
    Fault::BlackHole,
    Fault::ResetAll,
    Fault::OverlapGet,
    Fault::OverlapPost,
    Fault::ServerClosesFlushing,
    Fault::ServerClosesAtOnce,
    Fault::ClientCloses,
    Fault::Garbage,
    Fault::ClientPings,
];

impl Plan {
    pub(super) fn new(random: &mut Random) -> Self {
        let (interval, timeout) = match random.below(3) {
            0 => (25 * SECOND, 20 * SECOND),
            1 => (2 * SECOND, 1_500 * MS),
            _ => (8 * SECOND, 5 * SECOND),
        };
        let delay_max = [5 * MS, timeout / 100, timeout / 25][random.below(3) as usize];
        let load_end = random.between(interval / 4, 2 * (interval + timeout));
        let client = match random.below(20) {
            0 => Character::Silent,
            1 | 2 => Character::Eager,
            3..=5 => Character::Retrying,
            _ => Character::Stock,
        };
        let upgrade_at = match random.below(10) {
            0 | 1 => None,
            2..=5 => Some(0),
            _ => Some(random.below(load_end)),
        };
        let config = SessionConfig {
            ping_interval: Duration::from_micros(interval),
            ping_timeout: Duration::from_micros(timeout),
            // Small outboxes make slow consumers; the world knows that they may end the session.
            outbox_bytes_max: if random.chance(5) { 300 } else { 1024 * 1024 },
            ..SessionConfig::default()
        };
        Self {
            faults: faults(random, upgrade_at, load_end),
            server_sends: bursts(random, upgrade_at, load_end),
            client_sends: bursts(random, upgrade_at, load_end),
            // Only heartbeats remain after the load.
            end: load_end + 2 * (interval + timeout),
            config,
            interval,
            timeout,
            delay_max,
            client,
            upgrade_at,
        }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.faults.iter().any(|(_, planned)| *planned == fault)
    }

    /// Within this time after one side has ended, the other must have ended too: a whole heartbeat with its one
    /// prolongation, then a close that cannot be flushed, and some time for packets under way.
    pub(super) fn farewell_max(&self) -> Micros {
        let close_timeout = self.config.close_timeout.as_micros() as Micros;
        self.interval + 3 * self.timeout + close_timeout + 10 * self.delay_max
    }
}

/// Half of what happens, happens around the upgrade.
fn moment(random: &mut Random, upgrade_at: Option<Micros>, load_end: Micros) -> Micros {
    match upgrade_at {
        Some(at) if random.chance(50) => at + random.below(400 * MS),
        _ => random.below(load_end),
    }
}

fn faults(
    random: &mut Random,
    upgrade_at: Option<Micros>,
    load_end: Micros,
) -> Vec<(Micros, Fault)> {
    let mut faults = Vec::new();
    for _ in 0..random.below(4) {
        let fault = HARMLESS[random.below(HARMLESS.len() as u64) as usize];
        faults.push((moment(random, upgrade_at, load_end), fault));
    }
    if random.chance(40) {
        let fault = DEADLY[random.below(DEADLY.len() as u64) as usize];
        faults.push((moment(random, upgrade_at, load_end), fault));
    }
    faults
}

fn bursts(random: &mut Random, upgrade_at: Option<Micros>, load_end: Micros) -> Vec<(Micros, u64)> {
    let mut bursts = Vec::new();
    for _ in 0..random.below(20) {
        bursts.push((moment(random, upgrade_at, load_end), 1 + random.below(4)));
    }
    bursts
}
