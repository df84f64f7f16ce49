//! What is there and what is not: C1 (nothing acknowledged is lost), C2 (nothing made up), C3 (nothing refused), C4 and C6
//! (nothing twice), C5 (one message in one place), C7 (no holes), C16 (keys), C25 (the history).

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::facts::{Facts, Outcome, Publication, Sight, Witness};
use crate::history::{
    event::{Answer, Invoke, Item, What},
    report::{Report, Rule},
};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    final_reads(facts, report);
    for sight in &facts.sights {
        origin(facts, sight, report);
        place(facts, sight, report);
    }
    places_of_messages(facts, report);
    keys(facts, report);
    histories(facts, report);
}

/// C1 and C7, for each final read.
fn final_reads(facts: &Facts<'_>, report: &mut Report) {
    let mut of_room: FxHashMap<(&str, &str), Vec<&Publication<'_>>> = FxHashMap::default();
    for publication in &facts.publications {
        if let Outcome::Ok { position, .. } = publication.outcome {
            of_room
                .entry((publication.room, &position.epoch))
                .or_default()
                .push(publication);
        }
    }
    for (index, event) in facts.events.iter().enumerate() {
        let What::Ok(Answer::FinalRead {
            call,
            epoch,
            top,
            items,
        }) = &event.what
        else {
            continue;
        };
        let Some((_, asked, Invoke::FinalRead { room, node, .. })) = facts.invoke(*call) else {
            continue;
        };
        report.checked(Rule::C7);
        if let Some(hole) = hole(items, *top) {
            report.violated(Rule::C7, "hole", vec![index], || {
                format!("room {room} on {node}: {hole}")
            });
        }
        let held: FxHashMap<u64, &str> = items
            .iter()
            .map(|item| (item.offset, item.id.as_str()))
            .collect();
        let read = FinalRead {
            index,
            asked_ns: asked.t_ns,
            at_ns: event.t_ns,
            room,
            items,
            held,
        };
        for publication in of_room.get(&(room.as_str(), epoch)).into_iter().flatten() {
            kept(facts, &read, publication, report);
        }
    }
}

struct FinalRead<'h> {
    index: usize,
    asked_ns: u64,
    at_ns: u64,
    room: &'h str,
    items: &'h [Item],
    held: FxHashMap<u64, &'h str>,
}

/// C1: an acknowledged message of the read epoch is there, unless the window let it go. Epochs that ended are C24's.
fn kept(
    facts: &Facts<'_>,
    read: &FinalRead<'_>,
    publication: &Publication<'_>,
    report: &mut Report,
) {
    let Outcome::Ok {
        event,
        position,
        durable,
        ..
    } = publication.outcome
    else {
        return;
    };
    if publication.ended_ns > read.asked_ns {
        return;
    }
    let excused = !durable
        && facts
            .crashes
            .iter()
            .any(|&crash| crash >= publication.begun_ns);
    if excused {
        return;
    }
    report.checked(Rule::C1);
    let offset = position.offset;
    if read
        .held
        .get(&offset)
        .is_some_and(|id| *id == publication.id)
    {
        return;
    }
    let window = facts.expectations.window_of(read.room);
    let first = read.items.first().map_or(u64::MAX, |item| item.offset);
    let last = read.items.last().map_or(0, |item| item.offset);
    let is_held = facts
        .streams
        .get(&(read.room, position.epoch.as_str()))
        .is_some_and(|stream| stream.surely_held(&window, offset, read.at_ns));
    if offset < first && !is_held {
        return;
    }
    let part = match offset {
        _ if read.held.contains_key(&offset) => "replaced",
        _ if offset < first => "prefix",
        _ if offset > last => "suffix",
        _ => "middle",
    };
    report.violated(Rule::C1, "lost-write", vec![event, read.index], || {
        format!(
            "{} was acknowledged at {offset} of room {} and is not there at the end ({part})",
            publication.id, read.room
        )
    });
}

fn hole(items: &[Item], top: u64) -> Option<String> {
    for pair in items.windows(2) {
        if let [one, next] = pair
            && one.offset + 1 != next.offset
        {
            return Some(format!(
                "offset {} is followed by {}",
                one.offset, next.offset
            ));
        }
    }
    let last = items.last()?.offset;
    (last != top).then(|| format!("the newest offset is {top}, but the last message is {last}"))
}

/// C2 and C3: who published it, and was that refused?
fn origin(facts: &Facts<'_>, sight: &Sight<'_>, report: &mut Report) {
    if sight.by == Witness::Acknowledged {
        return;
    }
    report.checked(Rule::C2);
    report.checked(Rule::C3);
    let is_begun = facts
        .attempts_of(sight.id)
        .any(|attempt| attempt.room == sight.room && attempt.begun_ns <= sight.at_ns);
    if !is_begun {
        let elsewhere = facts.attempts_of(sight.id).next().map(|a| a.event);
        let mut events = vec![sight.event];
        events.extend(elsewhere);
        report.violated(Rule::C2, "phantom", events, || {
            format!(
                "{} appears in room {}, where nobody had published it",
                sight.id, sight.room
            )
        });
        return;
    }
    let is_refused = facts
        .attempts_of(sight.id)
        .all(|attempt| matches!(attempt.outcome, Outcome::Fail));
    if is_refused {
        let events = facts.attempts_of(sight.id).map(|a| a.event);
        let events = std::iter::once(sight.event).chain(events).collect();
        report.violated(Rule::C3, "aborted-read", events, || {
            format!(
                "{} appears in room {}, but was refused",
                sight.id, sight.room
            )
        });
    }
}

/// C5, and for pages of the history C25: the same message at the same place for everyone.
fn place(facts: &Facts<'_>, sight: &Sight<'_>, report: &mut Report) {
    let rule = match sight.by {
        Witness::History => Rule::C25,
        _ => Rule::C5,
    };
    report.checked(rule);
    let first = facts
        .streams
        .get(&(sight.room, sight.epoch))
        .and_then(|stream| stream.places.get(&sight.offset));
    let Some(first) = first.filter(|first| first.id != sight.id) else {
        return;
    };
    let anomaly = match sight.by {
        Witness::History => "divergence",
        _ => "inconsistent-offset",
    };
    report.violated(rule, anomaly, vec![first.event, sight.event], || {
        format!(
            "offset {} of room {} is {} once and {} another time",
            sight.offset, sight.room, first.id, sight.id
        )
    });
}

/// C4 and C6: one place for each message.
fn places_of_messages(facts: &Facts<'_>, report: &mut Report) {
    type Places<'h> = BTreeMap<(&'h str, &'h str, u64), Sight<'h>>;
    let mut places: BTreeMap<&str, Places<'_>> = BTreeMap::new();
    for sight in facts.sights.iter().filter(|s| s.by != Witness::History) {
        places
            .entry(sight.id)
            .or_default()
            .entry((sight.room, sight.epoch, sight.offset))
            .or_insert(*sight);
    }
    for (id, places) in places {
        let attempts: Vec<_> = facts.attempts_of(id).collect();
        let is_unknown = attempts
            .iter()
            .any(|attempt| matches!(attempt.outcome, Outcome::Unknown));
        let rule = if is_unknown { Rule::C4 } else { Rule::C6 };
        report.checked(rule);
        let has_key = attempts.iter().all(|attempt| attempt.key.is_some());
        if attempts.len() > 1 && !has_key {
            continue;
        }
        let mut looks = places.values();
        let (Some(first), Some(second)) = (looks.next(), looks.next()) else {
            continue;
        };
        // A key is remembered as long as its message is kept.
        let window = facts.expectations.window_of(first.room);
        let is_forgotten = attempts.len() > 1
            && (first.epoch != second.epoch
                || !facts
                    .streams
                    .get(&(first.room, first.epoch))
                    .is_some_and(|s| s.surely_held(&window, first.offset, second.at_ns)));
        if !is_forgotten {
            report.violated(rule, "duplicate", vec![first.event, second.event], || {
                format!(
                    "{id} stands at {} and at {} of room {}",
                    first.offset, second.offset, second.room
                )
            });
        }
    }
}

/// C16: what has the same key is the same message, and the answer says so.
fn keys(facts: &Facts<'_>, report: &mut Report) {
    let mut by_key: BTreeMap<(&str, &str), Vec<&Publication<'_>>> = BTreeMap::new();
    for publication in &facts.publications {
        if let Some(key) = publication.key {
            by_key
                .entry((publication.room, key))
                .or_default()
                .push(publication);
        }
    }
    for ((room, key), mut attempts) in by_key {
        attempts.sort_by_key(|attempt| attempt.ended_ns);
        let mut original: Option<&Publication<'_>> = None;
        for (number, attempt) in attempts.iter().enumerate() {
            let Outcome::Ok {
                event,
                position,
                duplicate,
                ..
            } = attempt.outcome
            else {
                continue;
            };
            report.checked(Rule::C16);
            let Some(first) = original else {
                original = Some(attempt);
                let is_only = attempts
                    .iter()
                    .enumerate()
                    .all(|(other, a)| other == number || a.begun_ns > attempt.ended_ns);
                if duplicate && is_only {
                    report.violated(Rule::C16, "wrong-duplicate-flag", vec![event], || {
                        format!("key {key} of room {room} was new, but called a duplicate")
                    });
                }
                continue;
            };
            if let Some((anomaly, why)) = key_reused(facts, first, attempt) {
                report.violated(Rule::C16, anomaly, vec![first.event, event], || {
                    format!("key {key} of room {room}: {why}")
                });
            }
            // A key that was rightly forgotten belongs to the newer message now.
            if !matches!(first.outcome, Outcome::Ok { position: p, .. } if p == position) {
                original = Some(attempt);
            }
        }
    }
}

/// What is wrong with a second answer for a key.
fn key_reused(
    facts: &Facts<'_>,
    first: &Publication<'_>,
    second: &Publication<'_>,
) -> Option<(&'static str, String)> {
    let (
        Outcome::Ok { position: one, .. },
        Outcome::Ok {
            position: two,
            duplicate,
            ..
        },
    ) = (first.outcome, second.outcome)
    else {
        return None;
    };
    let window = facts.expectations.window_of(first.room);
    let stream = facts.streams.get(&(first.room, one.epoch.as_str()))?;
    if one.epoch != two.epoch || !stream.surely_held(&window, one.offset, second.ended_ns) {
        return None;
    }
    if one.offset != two.offset {
        let why = format!("{} once and {} another time", one.offset, two.offset);
        return Some(("double-publish", why));
    }
    if first.id != second.id {
        let why = format!("{} was taken for {}", second.id, first.id);
        return Some(("double-publish", why));
    }
    let is_later = second.begun_ns > first.ended_ns;
    (is_later && !duplicate).then(|| {
        (
            "wrong-duplicate-flag",
            "it was there, but called new".to_owned(),
        )
    })
}

/// C25: pages of the history have no holes, and reach what was acknowledged before.
fn histories(facts: &Facts<'_>, report: &mut Report) {
    for (index, event) in facts.events.iter().enumerate() {
        let What::Ok(Answer::History {
            call,
            epoch,
            items,
            more,
        }) = &event.what
        else {
            continue;
        };
        let Some((
            _,
            asked,
            Invoke::History {
                room, after, limit, ..
            },
        )) = facts.invoke(*call)
        else {
            continue;
        };
        report.checked(Rule::C25);
        let Some(stream) = facts.streams.get(&(room.as_str(), epoch.as_str())) else {
            continue;
        };
        let window = facts.expectations.window_of(room);
        let mut next = after + 1;
        let first = items.first().map_or(u64::MAX, |item| item.offset);
        let missing = if first > next && stream.surely_held(&window, next, event.t_ns) {
            // Only what existed when it was asked for can be demanded.
            (stream.known_top(asked.t_ns) >= next && *limit > 0).then_some(next)
        } else {
            next = items.first().map_or(next, |item| item.offset);
            let broken = items
                .iter()
                .zip(next..)
                .find(|(item, offset)| item.offset != *offset);
            broken.map(|(_, offset)| offset).or_else(|| {
                let last = items.last().map_or(*after, |item| item.offset);
                let is_end = !*more && !items.is_empty();
                (is_end && stream.known_top(asked.t_ns) > last).then_some(last + 1)
            })
        };
        if let Some(offset) = missing {
            report.violated(Rule::C25, "divergence", vec![index], || {
                format!("the history of room {room} lacks offset {offset}")
            });
        }
    }
}
