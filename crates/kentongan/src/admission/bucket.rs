//! A token bucket in one time stamp.
//!
//! The crates for it keep a clock of their own; here time is an argument, as in all of our protocol code, so tests
//! need no sleeps.

use std::time::{Duration, Instant};

use crate::config::Rate;

/// How far a client has run ahead of its rate: until when it would have to be silent for its bucket to be full again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes a token. `false`: there is none, and nothing is changed.
    pub(crate) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let full_at = self.full_at.max(now) + interval(rate);
        if full_at.saturating_duration_since(now) > time_to_fill(rate) {
            return false;
        }
        self.full_at = full_at;
        true
    }
}

/// How long an empty bucket takes to be full.
pub(crate) fn time_to_fill(rate: Rate) -> Duration {
    interval(rate) * rate.burst
}

fn interval(rate: Rate) -> Duration {
    Duration::from_secs(1) / rate.per_second.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_then_rate() {
        let rate = Rate {
            per_second: 10,
            burst: 5,
        };
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        let mut taken_in = |from: u64, to: u64| {
            (from..to)
                .filter(|ms| bucket.take(start + Duration::from_millis(*ms), rate))
                .count()
        };
        assert_eq!(taken_in(0, 1), 1);
        assert_eq!(taken_in(1, 99), 4, "the rest of the burst");
        assert_eq!(taken_in(99, 1000), 9, "one token every 100 ms");
        let later = start + Duration::from_secs(30);
        let at_once = (0..10).filter(|_| bucket.take(later, rate)).count();
        assert_eq!(at_once, 5, "the limit is inclusive");
        let mut taken_in = |from: u64, to: u64| {
            (from..to)
                .filter(|ms| bucket.take(start + Duration::from_millis(*ms), rate))
                .count()
        };
        assert_eq!(taken_in(60_000, 60_001), 1);
        assert_eq!(taken_in(60_001, 60_099), 4, "never more than a burst");
    }
}
