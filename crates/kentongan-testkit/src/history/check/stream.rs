//! One epoch of a room as the whole history shows it: what stands where, and what existed, was held or was gone at a moment.
//! Each answer is the careful one for its use: "surely" means that no other course of events fits.

use std::collections::BTreeMap;

use crate::history::expectations::{Window, ns};

/// What is known of one offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'h> {
    /// The message.
    pub(super) id: &'h str,
    /// The event that showed it first.
    pub(super) event: usize,
    /// It cannot have existed before.
    pub(super) begun_ns: u64,
    /// It surely existed then.
    pub(super) seen_ns: u64,
    /// Its weight.
    pub(super) bytes: u64,
}

/// One epoch of a room.
#[derive(Debug, Default)]
pub(super) struct Stream<'h> {
    pub(super) places: BTreeMap<u64, Place<'h>>,
    /// When the epoch was seen first.
    pub(super) first_ns: u64,
    pub(super) first_event: usize,
    /// When an operation that began then was answered with it; the latest of them.
    pub(super) last_begun_ns: u64,
    pub(super) last_event: usize,
    /// `(time, highest offset that was seen until then)`.
    known: Vec<(u64, u64)>,
    /// `(time, highest offset that may have existed then)`.
    possible: Vec<(u64, u64)>,
    /// Offset to the bytes of all messages up to it; only while there is no hole.
    weights: Vec<u64>,
    /// The lowest offset; `weights` begins there.
    lowest: u64,
}

impl<'h> Stream<'h> {
    pub(super) fn new(first_ns: u64, first_event: usize) -> Self {
        Self {
            first_ns,
            first_event,
            last_event: first_event,
            ..Self::default()
        }
    }

    /// Gathers what the questions need, after the last place is in.
    pub(super) fn finish(&mut self) {
        let mut seen: Vec<(u64, u64)> = Vec::with_capacity(self.places.len());
        let mut begun: Vec<(u64, u64)> = Vec::with_capacity(self.places.len());
        let mut before: Option<(u64, Place<'h>)> = None;
        let mut weight = 0;
        let mut is_whole = true;
        for (&offset, &place) in &self.places {
            if let Some((previous, previous_place)) = before {
                if previous + 1 != offset {
                    // Nobody saw what is between. It may be as old as what is before it.
                    begun.push((previous_place.begun_ns, offset - 1));
                    is_whole = false;
                }
            } else {
                self.lowest = offset;
                if offset > 1 {
                    begun.push((0, offset - 1));
                }
            }
            weight += place.bytes;
            if is_whole {
                self.weights.push(weight);
            }
            seen.push((place.seen_ns, offset));
            begun.push((place.begun_ns, offset));
            before = Some((offset, place));
        }
        self.known = rising(seen);
        self.possible = rising(begun);
    }

    /// An offset that surely existed at that time: the highest one.
    pub(super) fn known_top(&self, at_ns: u64) -> u64 {
        top_at(&self.known, at_ns)
    }

    /// No offset above this one can have existed at that time.
    pub(super) fn possible_top(&self, at_ns: u64) -> u64 {
        top_at(&self.possible, at_ns)
    }

    /// The bytes of the offsets from one to another, both with; `None` when not all of them are known.
    fn bytes(&self, from: u64, to: u64) -> Option<u64> {
        let place = |offset: u64| usize::try_from(offset.checked_sub(self.lowest)?).ok();
        let upper = *self.weights.get(place(to)?)?;
        let lower = match place(from)? {
            0 => 0,
            index => *self.weights.get(index - 1)?,
        };
        upper.checked_sub(lower)
    }

    /// Whether the window surely keeps an offset at that time.
    pub(super) fn surely_held(&self, window: &Window, offset: u64, at_ns: u64) -> bool {
        let Some(place) = self.places.get(&offset) else {
            return false;
        };
        let top = self.possible_top(at_ns).max(offset);
        window
            .messages
            .is_none_or(|messages| top - offset < messages)
            && window
                .age_ms
                .is_none_or(|age| at_ns.saturating_sub(place.begun_ns) < ns(age))
            && window
                .bytes
                .is_none_or(|bytes| self.bytes(offset, top).is_some_and(|sum| sum <= bytes))
    }

    /// Whether an offset has surely left the window at that time.
    pub(super) fn surely_gone(&self, window: &Window, offset: u64, at_ns: u64) -> bool {
        let top = self.known_top(at_ns);
        if offset > top {
            return false;
        }
        let by_age = |place: &Place<'_>, age| {
            place
                .seen_ns
                .saturating_add(ns(age))
                .saturating_add(ns(window.trim_interval_ms))
                < at_ns
        };
        window
            .messages
            .is_some_and(|messages| top - offset >= messages)
            || window.age_ms.is_some_and(|age| {
                self.places
                    .get(&offset)
                    .is_some_and(|place| by_age(place, age))
            })
            || window
                .bytes
                .is_some_and(|bytes| self.bytes(offset, top).is_some_and(|sum| sum > bytes))
    }
}

/// Sorted by time, and only where the number rises.
fn rising(mut points: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    points.sort_unstable();
    let mut highest = 0;
    points.retain(|&(_, offset)| {
        let rises = offset > highest;
        highest = highest.max(offset);
        rises
    });
    points
}

fn top_at(points: &[(u64, u64)], at_ns: u64) -> u64 {
    let after = points.partition_point(|&(time, _)| time <= at_ns);
    after
        .checked_sub(1)
        .and_then(|index| points.get(index))
        .map_or(0, |&(_, offset)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn stream(places: &[(u64, u64, u64)]) -> Stream<'static> {
        let mut stream = Stream::default();
        for &(offset, begun_ns, seen_ns) in places {
            let place = Place {
                id: "a",
                event: 0,
                begun_ns,
                seen_ns,
                bytes: 10,
            };
            stream.places.insert(offset, place);
        }
        stream.finish();
        stream
    }

    #[test]
    fn between_its_beginning_and_its_answer_a_message_may_exist() {
        let stream = stream(&[(1, 10, 20), (2, 30, 40)]);
        let check = |at_ns, known, possible| {
            assert_eq!(
                (stream.known_top(at_ns), stream.possible_top(at_ns)),
                (known, possible)
            );
        };
        check(9, 0, 0);
        check(10, 0, 1);
        check(20, 1, 1);
        check(35, 1, 2);
        check(40, 2, 2);
    }

    #[test]
    fn windows_are_judged_with_care() {
        let stream = stream(&[(1, 10, 20), (2, 30, 40), (3, 50, 60)]);
        let two = Window {
            messages: Some(2),
            ..Window::default()
        };
        assert!(stream.surely_held(&two, 1, 45));
        // The third may exist already, so the first may be gone.
        assert!(!stream.surely_held(&two, 1, 55));
        assert!(!stream.surely_gone(&two, 1, 55));
        assert!(stream.surely_gone(&two, 1, 60));
        let light = Window {
            bytes: Some(20),
            ..Window::default()
        };
        assert!(stream.surely_held(&light, 2, 60) && !stream.surely_held(&light, 1, 60));
        assert!(stream.surely_gone(&light, 1, 60) && !stream.surely_gone(&light, 2, 60));
        let stream = self::stream(&[
            (1, 10 * MS, 20 * MS),
            (2, 30 * MS, 40 * MS),
            (3, 50 * MS, 60 * MS),
        ]);
        let young = Window {
            age_ms: Some(25),
            ..Window::default()
        };
        assert!(stream.surely_held(&young, 1, 34 * MS));
        assert!(!stream.surely_held(&young, 1, 35 * MS));
        assert!(!stream.surely_gone(&young, 1, 45 * MS));
        assert!(stream.surely_gone(&young, 1, 46 * MS));
    }

    #[test]
    fn an_offset_that_nobody_saw_may_be_old() {
        let stream = stream(&[(1, 10, 20), (4, 90, 95)]);
        assert_eq!(stream.possible_top(15), 3);
        assert_eq!(stream.known_top(94), 1);
    }
}
