//! The order of what was published: C8 (what ended first comes first), C9 (the order of a connection), and C24 (epochs change
//! for a cause).

use rustc_hash::FxHashMap;

use super::facts::{Facts, Outcome};
use crate::history::{
    event::{Info, What},
    report::{Report, Rule},
};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    real_time(facts, report);
    connections(facts, report);
    epochs(facts, report);
}

/// C8: along the offsets, no message ended before one in front of it began.
fn real_time(facts: &Facts<'_>, report: &mut Report) {
    for ((room, _), stream) in &facts.streams {
        // The latest beginning so far: when, which event, whose.
        let mut latest: Option<(u64, usize, &str)> = None;
        for place in stream.places.values() {
            // Which of several attempts put it there is not known: it began with the first, and its end proves nothing.
            let mut attempts = facts.attempts_of(place.id);
            let Some(first) = attempts.next() else {
                continue;
            };
            let ended = attempts
                .next()
                .is_none()
                .then_some(first)
                .filter(|only| matches!(only.outcome, Outcome::Ok { .. }));
            report.checked(Rule::C8);
            if let (Some(ended), Some((begun_ns, event, id))) = (ended, latest)
                && begun_ns > ended.ended_ns
            {
                report.violated(Rule::C8, "stale-order", vec![ended.event, event], || {
                    format!(
                        "room {room}: {} was published before {id} began, but stands behind it",
                        place.id
                    )
                });
            }
            if latest.is_none_or(|(begun_ns, ..)| first.begun_ns > begun_ns) {
                latest = Some((first.begun_ns, first.event, place.id));
            }
        }
    }
}

/// C9: what one connection published one after the other stands one after the other. Retries are left out: the attempt that
/// counted is not known.
fn connections(facts: &Facts<'_>, report: &mut Report) {
    let mut places: FxHashMap<&str, (&str, &str, u64)> = FxHashMap::default();
    for ((room, epoch), stream) in &facts.streams {
        for (&offset, place) in &stream.places {
            places.entry(place.id).or_insert((room, epoch, offset));
        }
    }
    type Last<'h> = FxHashMap<(&'h str, u64, &'h str, &'h str), (u64, usize, &'h str)>;
    let mut last: Last<'_> = FxHashMap::default();
    for publication in &facts.publications {
        let Some(conn) = publication.conn else {
            continue;
        };
        let Some(&(room, epoch, offset)) = places.get(publication.id) else {
            continue;
        };
        if facts.attempts_of(publication.id).nth(1).is_some() || room != publication.room {
            continue;
        }
        report.checked(Rule::C9);
        let entry = last
            .entry((publication.proc, conn, room, epoch))
            .or_insert((offset, publication.event, publication.id));
        if offset < entry.0 {
            let events = vec![entry.1, publication.event];
            let before = entry.2;
            report.violated(Rule::C9, "reorder", events, || {
                format!(
                    "room {room}: {} sent {before} before {}, but it stands behind it",
                    publication.proc, publication.id
                )
            });
        } else {
            *entry = (offset, publication.event, publication.id);
        }
    }
}

/// C24: each new epoch of a room has a cause of its own, and the old one does not come back.
fn epochs(facts: &Facts<'_>, report: &mut Report) {
    let causes: Vec<(u64, Option<&str>)> = facts
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::Info(Info::EpochChange { room, .. }) => Some((event.t_ns, room.as_deref())),
            _ => None,
        })
        .collect();
    for (room, epochs) in &facts.epochs {
        for pair in epochs.windows(2) {
            let [old, new] = pair else { continue };
            let (Some(old), Some(new)) = (
                facts.streams.get(&(room, *old)),
                facts.streams.get(&(room, *new)),
            ) else {
                continue;
            };
            report.checked(Rule::C24);
            let from = causes.partition_point(|&(at_ns, _)| at_ns < old.first_ns);
            let has_cause = causes
                .iter()
                .skip(from)
                .take_while(|&&(at_ns, _)| at_ns <= new.first_ns)
                .any(|&(_, of)| of.is_none_or(|of| of == *room));
            let events = vec![old.first_event, new.first_event];
            if !has_cause {
                report.violated(Rule::C24, "epoch-churn", events, || {
                    format!("room {room} has another epoch without a cause")
                });
            } else if old.last_begun_ns > new.first_ns {
                let events = vec![new.first_event, old.last_event];
                report.violated(Rule::C24, "epoch-churn", events, || {
                    format!("room {room} goes back to an epoch that had ended")
                });
            }
        }
    }
}
