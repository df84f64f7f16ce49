//! The last publications of one namespace, bounded in number, bytes and age.
//!
//! What was dropped is remembered by the newest dropped offset per target, so that a client whose position is older than
//! the log is still recovered when nothing meant for it was dropped (socket.io #5282).

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytestring::ByteString;
use kentongan_protocol::frame::Frame;

use super::position::{Position, Sealer};
use crate::{id::Sid, namespace::targets::Targets};

pub(crate) struct Log {
    epoch: u64,
    /// Offset of the newest publication; 0 before the first.
    head: u64,
    sealed_head: Option<String>,
    entries: VecDeque<Entry>,
    bytes: usize,
    events_max: usize,
    bytes_max: usize,
    age_max: Duration,
    /// Newest dropped offset per target.
    dropped: HashMap<Dropped, u64>,
    /// Offsets up to here may have been dropped for anyone: stands for entries that `dropped` had no room for.
    floor: u64,
}

struct Entry {
    offset: u64,
    at: Instant,
    frame: Frame,
    targets: Targets,
}

#[derive(PartialEq, Eq, Hash)]
enum Dropped {
    Everyone,
    Room(ByteString),
    Socket(Sid),
}

/// What a returning client has to be sent.
pub(crate) enum Missed {
    Events(Vec<Frame>),
    Gap,
    Reset,
}

impl Log {
    pub(crate) fn new(events_max: usize, bytes_max: usize, age_max: Duration) -> Self {
        let mut epoch = [0; 8];
        getrandom::fill(&mut epoch)
            .expect("the operating system has randomness once it has booted");
        Self {
            epoch: u64::from_be_bytes(epoch),
            head: 0,
            sealed_head: None,
            entries: VecDeque::new(),
            bytes: 0,
            events_max,
            bytes_max,
            age_max,
            dropped: HashMap::new(),
            floor: 0,
        }
    }

    /// The sealed position of the newest publication.
    pub(crate) fn sealed_head(&mut self, sealer: &Sealer) -> String {
        let position = Position {
            epoch: self.epoch,
            offset: self.head,
        };
        self.sealed_head
            .get_or_insert_with(|| sealer.seal(&position))
            .clone()
    }

    /// Moves on to the next offset and returns it, sealed. [`Self::append`] has to follow.
    pub(crate) fn advance(&mut self, sealer: &Sealer) -> String {
        self.head += 1;
        self.sealed_head = None;
        self.sealed_head(sealer)
    }

    /// Keeps the publication at the newest offset.
    pub(crate) fn append(&mut self, frame: Frame, targets: Targets, now: Instant) {
        self.bytes += frame.len();
        self.entries.push_back(Entry {
            offset: self.head,
            at: now,
            frame,
            targets,
        });
        while self.entries.front().is_some_and(|oldest| {
            self.entries.len() > self.events_max
                || self.bytes > self.bytes_max
                || now.saturating_duration_since(oldest.at) > self.age_max
        }) {
            self.drop_oldest();
        }
    }

    /// What `socket`, in `rooms`, has not seen since `position`.
    pub(crate) fn missed(
        &self,
        position: &Position,
        socket: Sid,
        rooms: &[ByteString],
        events_max: usize,
        bytes_max: usize,
    ) -> Missed {
        if position.epoch != self.epoch || position.offset > self.head {
            return Missed::Reset;
        }
        if self.was_dropped_after(position.offset, socket, rooms) {
            return Missed::Gap;
        }
        let first = self
            .entries
            .partition_point(|entry| entry.offset <= position.offset);
        let mut bytes = 0;
        let mut missed = Vec::new();
        for entry in self
            .entries
            .range(first..)
            .filter(|entry| entry.targets.include(socket, rooms))
        {
            bytes += entry.frame.len();
            if missed.len() == events_max || bytes > bytes_max {
                return Missed::Gap;
            }
            missed.push(entry.frame.clone());
        }
        Missed::Events(missed)
    }

    fn was_dropped_after(&self, offset: u64, socket: Sid, rooms: &[ByteString]) -> bool {
        let after = |target: &Dropped| {
            self.dropped
                .get(target)
                .is_some_and(|dropped| *dropped > offset)
        };
        self.floor > offset
            || after(&Dropped::Everyone)
            || after(&Dropped::Socket(socket))
            || after(&Dropped::Room(ByteString::from(&*socket.text())))
            || rooms.iter().any(|room| after(&Dropped::Room(room.clone())))
    }

    fn drop_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else {
            return;
        };
        self.bytes -= entry.frame.len();
        if self.dropped.len() + entry.targets.rooms.len() >= DROPPED_MAX {
            self.dropped.clear();
            self.floor = entry.offset;
            return;
        }
        if let Some(socket) = entry.targets.socket {
            self.dropped.insert(Dropped::Socket(socket), entry.offset);
        } else if entry.targets.rooms.is_empty() {
            self.dropped.insert(Dropped::Everyone, entry.offset);
        } else {
            for room in entry.targets.rooms {
                self.dropped.insert(Dropped::Room(room), entry.offset);
            }
        }
    }
}

/// Targets whose dropped offsets are remembered.
const DROPPED_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        log: Log,
        sealer: Sealer,
        start: Instant,
    }

    impl Fixture {
        fn new(events_max: usize, bytes_max: usize) -> Self {
            Self {
                log: Log::new(events_max, bytes_max, Duration::from_secs(10)),
                sealer: Sealer::new(&[0; 32], "/"),
                start: Instant::now(),
            }
        }

        fn publish(&mut self, rooms: &[&str], at_s: u64) -> Position {
            let sealed = self.log.advance(&self.sealer);
            let targets = Targets {
                rooms: rooms.iter().map(|room| ByteString::from(*room)).collect(),
                ..Targets::default()
            };
            self.log.append(
                Frame::message(&format!("2[\"{}\"]", self.log.head), &[]),
                targets,
                self.start + Duration::from_secs(at_s),
            );
            self.sealer.open(&sealed).unwrap()
        }

        fn missed(&self, position: &Position, rooms: &[&str]) -> Result<usize, &'static str> {
            let rooms: Vec<ByteString> = rooms.iter().map(|room| ByteString::from(*room)).collect();
            match self.log.missed(position, Sid::random(), &rooms, 5, 1000) {
                Missed::Events(events) => Ok(events.len()),
                Missed::Gap => Err("gap"),
                Missed::Reset => Err("reset"),
            }
        }
    }

    #[test]
    fn replays_what_was_meant_for_the_client_and_no_more() {
        let mut fixture = Fixture::new(100, 10_000);
        let before = fixture.publish(&["a"], 0);
        fixture.publish(&["a"], 0);
        fixture.publish(&["b"], 0);
        let last = fixture.publish(&[], 0);
        assert_eq!(fixture.missed(&before, &["a"]), Ok(2));
        assert_eq!(fixture.missed(&before, &["a", "b"]), Ok(3));
        assert_eq!(fixture.missed(&before, &[]), Ok(1));
        assert_eq!(fixture.missed(&last, &["a", "b"]), Ok(0));
    }

    #[test]
    fn replay_bound_is_inclusive() {
        for (published, expected) in [(4, Ok(4)), (5, Ok(5)), (6, Err("gap"))] {
            let mut fixture = Fixture::new(100, 10_000);
            let start = fixture.publish(&["a"], 0);
            for _ in 0..published {
                fixture.publish(&["a"], 0);
            }
            assert_eq!(fixture.missed(&start, &["a"]), expected, "{published}");
        }
    }

    #[test]
    fn dropped_events_are_a_gap_only_for_those_they_were_meant_for() {
        let mut fixture = Fixture::new(2, 10_000);
        let start = fixture.publish(&["b"], 0);
        fixture.publish(&["a"], 0);
        fixture.publish(&["b"], 0);
        fixture.publish(&["b"], 0);
        assert_eq!(fixture.missed(&start, &["a"]), Err("gap"));
        assert_eq!(
            fixture.missed(&start, &["b"]),
            Ok(2),
            "older than the log, but nothing is missing"
        );
        assert_eq!(fixture.missed(&start, &["c"]), Ok(0));
    }

    #[test]
    fn age_and_bytes_bound_the_log() {
        let mut fixture = Fixture::new(100, 10_000);
        let start = fixture.publish(&["a"], 0);
        fixture.publish(&["a"], 0);
        fixture.publish(&["a"], 10);
        assert_eq!(fixture.missed(&start, &["a"]), Ok(2));
        fixture.publish(&["a"], 11);
        assert_eq!(fixture.missed(&start, &["a"]), Err("gap"));
        let mut fixture = Fixture::new(100, 20);
        let start = fixture.publish(&["a"], 0);
        for _ in 0..3 {
            fixture.publish(&["a"], 0);
        }
        assert_eq!(fixture.missed(&start, &["a"]), Err("gap"));
    }

    #[test]
    fn another_life_of_the_log_is_a_reset() {
        let mut fixture = Fixture::new(100, 10_000);
        let position = fixture.publish(&[], 0);
        assert_eq!(
            fixture.missed(
                &Position {
                    epoch: position.epoch ^ 1,
                    ..position
                },
                &[]
            ),
            Err("reset")
        );
        assert_eq!(
            fixture.missed(
                &Position {
                    offset: 2,
                    ..position
                },
                &[]
            ),
            Err("reset"),
            "from the future"
        );
    }
}
