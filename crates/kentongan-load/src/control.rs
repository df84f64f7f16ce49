//! What the threads of a run tell each other.
//!
//! Owns the phase, which only the main thread moves on, and the counters that it waits for.

use std::{
    sync::atomic::{
        AtomicU8, AtomicU64, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::{Duration, Instant},
};

use crate::error::LoadError;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Connections are opened.
    Connecting,
    /// The load runs, nothing is counted but faults.
    WarmUp,
    /// The load runs and is counted.
    Measuring,
    /// Nothing new is sent; what is under way may arrive.
    Draining,
    /// The workers end.
    Stop,
}

/// Shared by all threads of a run.
#[derive(Debug, Default)]
pub(crate) struct Control {
    phase: AtomicU8,
    /// Connections that have all that they need for the load.
    pub(crate) ready: AtomicUsize,
    /// Operations so far, warm-up included.
    pub(crate) progress: AtomicU64,
    /// Messages that a publisher has sent so far, or that a round will bring.
    pub(crate) sent: AtomicU64,
    /// Workers to which everything has arrived. Set anew in each turn while draining.
    pub(crate) drained: AtomicUsize,
    /// The round that is asked for (burst).
    pub(crate) round: AtomicU64,
    /// When the round was asked for, in nanoseconds of the clock.
    pub(crate) begun_ns: AtomicU64,
    /// When the last delivery of the round came, in nanoseconds of the clock; 0 before.
    pub(crate) finished_ns: AtomicU64,
    /// Workers that have ended, which they do early only by an error.
    pub(crate) failed: AtomicUsize,
}

impl Control {
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Acquire) {
            0 => Phase::Connecting,
            1 => Phase::WarmUp,
            2 => Phase::Measuring,
            3 => Phase::Draining,
            _ => Phase::Stop,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Release);
    }

    /// Waits until `wanted` connections are ready. `false` if a worker has failed.
    ///
    /// # Errors
    /// [`LoadError::Stalled`].
    pub(crate) fn wait_ready(
        &self,
        wanted: usize,
        tick: &mut dyn FnMut(),
    ) -> Result<bool, LoadError> {
        let mut changed = Instant::now();
        let mut seen = 0;
        loop {
            let ready = self.ready.load(Acquire);
            if self.failed.load(Acquire) > 0 {
                return Ok(false);
            }
            if ready >= wanted {
                return Ok(true);
            }
            if ready != seen {
                (seen, changed) = (ready, Instant::now());
            }
            if changed.elapsed() > STALL {
                return Err(LoadError::Stalled {
                    ready,
                    wanted,
                    seconds: STALL.as_secs(),
                });
            }
            tick();
            std::thread::sleep(TICK);
        }
    }

    /// Sleeps for `duration`, shorter if a worker fails or `enough` says so.
    pub(crate) fn wait(
        &self,
        duration: Duration,
        tick: &mut dyn FnMut(),
        enough: impl Fn() -> bool,
    ) {
        let end = Instant::now() + duration;
        while !enough() && self.failed.load(Acquire) == 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            tick();
            std::thread::sleep(left.min(TICK));
        }
    }

    pub(crate) fn count(&self, operations: u64) {
        if operations > 0 {
            self.progress.fetch_add(operations, Relaxed);
        }
    }
}

/// How often the main thread looks.
const TICK: Duration = Duration::from_millis(10);
/// No connection coming up for so long means that none will.
const STALL: Duration = Duration::from_secs(15);
