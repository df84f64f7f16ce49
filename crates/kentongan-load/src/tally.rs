//! What one worker has counted.

use hdrhistogram::Histogram;

use crate::{check::Faults, control::Phase, error::LoadError, link::Ending, target::Target};

/// Counters of one worker, or of all of them.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Operations within the measured time.
    pub(crate) operations: u64,
    /// Faults of the whole run.
    pub(crate) faults: Faults,
    /// Nanoseconds from sending to arrival, within the measured time.
    pub(crate) latency_ns: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            operations: 0,
            faults: Faults::default(),
            latency_ns: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)
                .expect("the bounds are constants that the crate takes"),
        }
    }
}

impl Tally {
    /// Counts an operation that began at `sent_ns`, if it is measured.
    pub(crate) fn operation(&mut self, phase: Phase, sent_ns: u64, now_ns: u64) {
        if phase == Phase::Measuring {
            self.operations += 1;
            self.latency_ns
                .saturating_record(now_ns.saturating_sub(sent_ns));
        }
    }

    pub(crate) fn merge(mut self, other: &Self) -> Self {
        self.operations += other.operations;
        self.faults += other.faults;
        // Both have the same bounds.
        let _ = self.latency_ns.add(&other.latency_ns);
        self
    }

    /// A connection has ended that should not have: fatal before the load, a fault from then on.
    pub(crate) fn ended(
        &mut self,
        phase: Phase,
        ending: Ending,
        target: &Target,
    ) -> Result<(), LoadError> {
        if phase > Phase::Connecting {
            self.faults.disconnected += 1;
            return Ok(());
        }
        Err(match ending {
            Ending::Unreachable(source) => LoadError::Connect {
                addr: target.addr,
                source,
            },
            Ending::Refused(why) | Ending::Closed(why) => LoadError::Refused(why),
            Ending::Left => LoadError::Refused("closed at once".into()),
        })
    }
}

/// One minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_measured() {
        let mut tally = Tally::default();
        tally.operation(Phase::WarmUp, 0, 10);
        tally.operation(Phase::Measuring, 0, 2_000_000);
        tally.operation(Phase::Draining, 0, 10);
        assert_eq!((tally.operations, tally.latency_ns.len()), (1, 1));
        let sum = Tally::default().merge(&tally).merge(&tally);
        assert_eq!((sum.operations, sum.latency_ns.len()), (2, 2));
    }
}
