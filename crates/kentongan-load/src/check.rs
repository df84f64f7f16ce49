//! Exactly once and in order: what arrived, against what was sent.
//!
//! Owns the judgement on one stream of sequence numbers. It must not know sockets or payloads.

use std::ops::{AddAssign, Range};

/// What went wrong. All zero for a server that keeps its word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Messages that never came.
    pub lost: u64,
    /// Messages that came again.
    pub doubled: u64,
    /// Messages that came after a later one.
    pub out_of_order: u64,
    /// Messages that nobody sent like this: damaged, of another connection, of an unknown form.
    pub unexpected: u64,
    /// Connections that the server, or the network, ended.
    pub disconnected: u64,
}

impl Faults {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
        self.unexpected += other.unexpected;
        self.disconnected += other.disconnected;
    }
}

/// The messages of one sender as one receiver sees them, numbered from 0 without a gap.
#[derive(Debug, Default)]
pub struct Sequence {
    next: u64,
    /// Numbers below `next` that have not come.
    missing: Vec<Range<u64>>,
}

impl Sequence {
    /// The number that should come next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Takes the next arrival. Whether it is a new message, late or not, rather than a repetition.
    pub fn take(&mut self, number: u64, faults: &mut Faults) -> bool {
        if number == self.next {
            self.next += 1;
            return true;
        }
        if number > self.next {
            self.missing.push(self.next..number);
            self.next = number + 1;
            return true;
        }
        let Some(at) = self.missing.iter().position(|gap| gap.contains(&number)) else {
            faults.doubled += 1;
            return false;
        };
        faults.out_of_order += 1;
        let gap = self.missing.swap_remove(at);
        let parts = [gap.start..number, number + 1..gap.end];
        self.missing
            .extend(parts.into_iter().filter(|part| !part.is_empty()));
        true
    }

    /// Numbers below `sent` that have not come so far.
    pub fn outstanding(&self, sent: u64) -> u64 {
        let gaps: u64 = self.missing.iter().map(|gap| gap.end - gap.start).sum();
        gaps + sent.saturating_sub(self.next)
    }

    /// Numbers that were passed over and have not come since.
    pub fn gaps(&self) -> u64 {
        self.outstanding(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arrivals: &[u64], sent: u64, expected: Faults) {
        let mut sequence = Sequence::default();
        let mut faults = Faults::default();
        for number in arrivals {
            sequence.take(*number, &mut faults);
        }
        faults.lost += sequence.outstanding(sent);
        assert_eq!(faults, expected, "{arrivals:?} of {sent}");
    }

    #[test]
    fn tells_loss_doubling_and_reordering_apart() {
        let none = Faults::default();
        check(&[], 0, none);
        check(&[0, 1, 2], 3, none);
        check(&[0, 2], 3, Faults { lost: 1, ..none });
        check(&[0, 1], 3, Faults { lost: 1, ..none });
        check(&[], 3, Faults { lost: 3, ..none });
        check(&[0, 1, 1, 2], 3, Faults { doubled: 1, ..none });
        let swapped = Faults {
            out_of_order: 1,
            ..none
        };
        check(&[0, 2, 1], 3, swapped);
        check(&[1, 0, 2], 3, swapped);
        let backwards = Faults {
            out_of_order: 3,
            ..none
        };
        check(&[3, 2, 1, 0], 4, backwards);
        let all = Faults {
            lost: 1,
            doubled: 1,
            out_of_order: 1,
            ..none
        };
        check(
            &[0, 4, 2, 2, 5, 1, 6],
            7,
            Faults {
                out_of_order: 2,
                ..all
            },
        );
    }

    #[test]
    fn sums() {
        let mut sum = Faults::default();
        assert!(!sum.any());
        let each = Faults {
            lost: 1,
            doubled: 2,
            out_of_order: 3,
            unexpected: 4,
            disconnected: 5,
        };
        sum += each;
        assert_eq!(sum, each);
        assert!(sum.any());
    }
}
