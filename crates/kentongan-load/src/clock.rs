//! The one clock of a run: nanoseconds since the process began to look at it. Never goes back.

use std::{sync::LazyLock, time::Instant};

/// Nanoseconds now.
pub(crate) fn now_ns() -> u64 {
    u64::try_from(BEGIN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
