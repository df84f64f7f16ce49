//! Where a record stands: epoch and offset, what a room still holds, and what that means for someone who comes back.
//!
//! Pure values. Must not know how records are kept.

use std::fmt;

/// Names one life of a room's stream. Offsets of different epochs have nothing to do with each other.
///
/// Below 2^53, so that a JavaScript client can hold it as a number. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(u64);

impl Epoch {
    /// One more than the largest epoch.
    pub const CEILING: u64 = 1 << 53;

    /// The epoch with this number; `None` for 0 and for numbers from [`Epoch::CEILING`] on.
    pub fn new(number: u64) -> Option<Self> {
        (1..Self::CEILING).contains(&number).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Makes epochs. A seed from a good source of chance makes them differ from those of every other life of the store.
#[derive(Debug)]
pub(crate) struct Epochs {
    state: u64,
}

impl Epochs {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next one; never `unlike`.
    pub(crate) fn make(&mut self, unlike: Option<Epoch>) -> Epoch {
        loop {
            // splitmix64: a full cycle, so no epoch comes twice from one seed before 2^64 steps of the state.
            self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = self.state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^= mixed >> 31;
            if let Some(epoch) = Epoch::new(mixed % Epoch::CEILING)
                && Some(epoch) != unlike
            {
                return epoch;
            }
        }
    }
}

/// A place in a room's stream: after the record with this offset. Offsets count from 1, so offset 0 is the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the stream that the offset belongs to.
    pub epoch: Epoch,
    /// The offset of the last record before this place.
    pub offset: u64,
}

/// What a room holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The present epoch.
    pub epoch: Epoch,
    /// Offset of the oldest record that is kept; equal to `next` when none is.
    pub first: u64,
    /// Offset that the next record will have; 1 in a new room.
    pub next: u64,
}

impl Span {
    /// The newest position: what a client that has everything holds.
    pub fn top(&self) -> Position {
        Position {
            epoch: self.epoch,
            offset: self.next - 1,
        }
    }

    /// What someone who holds `since` can be given.
    pub fn recovery(&self, since: Position) -> Recovery {
        if since.epoch != self.epoch {
            Recovery::Reset(ResetReason::OtherEpoch)
        } else if since.offset >= self.next {
            Recovery::Reset(ResetReason::Ahead)
        } else if since.offset + 1 < self.first {
            Recovery::Gap {
                missed: self.first - since.offset - 1,
            }
        } else {
            Recovery::Complete
        }
    }
}

/// What continuing from a position comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Every record after the position is held.
    Complete,
    /// The oldest records after the position have left the window; the rest is held.
    Gap {
        /// How many are missing.
        missed: u64,
    },
    /// The position says nothing about the present stream: forget what you have and begin anew.
    Reset(ResetReason),
}

/// Why a position says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// It belongs to another life of the stream.
    OtherEpoch,
    /// The store never gave it out: it lies ahead of the newest record.
    Ahead,
    /// There is no such room, or no longer.
    UnknownRoom,
}

impl ResetReason {
    /// A stable name for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::OtherEpoch => "other_epoch",
            Self::Ahead => "ahead",
            Self::UnknownRoom => "unknown_room",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_position_is_worth() {
        let [epoch, other] = [7, 8].map(|number| Epoch::new(number).unwrap());
        let span = Span {
            epoch,
            first: 4,
            next: 10,
        };
        for (epoch, offset, expected) in [
            (epoch, 9, Recovery::Complete),
            (epoch, 3, Recovery::Complete),
            (epoch, 2, Recovery::Gap { missed: 1 }),
            (epoch, 0, Recovery::Gap { missed: 3 }),
            (epoch, 10, Recovery::Reset(ResetReason::Ahead)),
            (epoch, u64::MAX, Recovery::Reset(ResetReason::Ahead)),
            (other, 9, Recovery::Reset(ResetReason::OtherEpoch)),
        ] {
            assert_eq!(
                span.recovery(Position { epoch, offset }),
                expected,
                "{epoch} {offset}"
            );
        }
        assert_eq!(span.recovery(span.top()), Recovery::Complete);
    }

    #[test]
    fn epochs_differ_and_fit_a_double() {
        let mut epochs = Epochs::new(1);
        let made: std::collections::HashSet<_> = (0..1000).map(|_| epochs.make(None)).collect();
        assert_eq!(made.len(), 1000);
        let first = Epochs::new(1).make(None);
        assert_ne!(Epochs::new(1).make(Some(first)), first);
        assert_eq!(Epoch::new(0), None);
        assert_eq!(Epoch::new(Epoch::CEILING), None);
    }
}
