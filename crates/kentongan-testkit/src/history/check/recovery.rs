//! Returns with a position: C12 (goes on exactly there), C13 (succeeds when it can), C14 (refuses when it cannot).

use super::{
    facts::Facts,
    sessions::{GapNotice, Return, Sessions},
};
use crate::history::{
    event::Recovered,
    report::{Report, Rule},
};

pub(super) fn check(facts: &Facts<'_>, sessions: &Sessions<'_>, report: &mut Report) {
    for found in &sessions.returns {
        exact(found, report);
        match found.recovered {
            Recovered::Complete => must_refuse(facts, found, report),
            Recovered::Gap | Recovered::Reset => must_succeed(facts, found, report),
        }
    }
    for gap in &sessions.gaps {
        true_gap(facts, gap, report);
    }
}

/// C12: the answer stands where the client stood, and the first delivery is the next one.
fn exact(found: &Return<'_>, report: &mut Report) {
    report.checked(Rule::C12);
    let (since, position) = (found.since, found.position);
    let is_odd = match found.recovered {
        Recovered::Complete => since.offset != position.offset && since.epoch == position.epoch,
        Recovered::Gap => since.epoch != position.epoch || position.offset <= since.offset,
        Recovered::Reset => false,
    };
    if is_odd {
        let events = vec![found.asked, found.answered];
        report.violated(Rule::C12, "gap-resume", events, || {
            format!(
                "room {}: a client returned with {} and was put at {}",
                found.room, since.offset, position.offset
            )
        });
        return;
    }
    let Some((event, first)) = found.first else {
        return;
    };
    if first.epoch == position.epoch && first.offset != position.offset + 1 {
        let events = vec![found.asked, found.answered, event];
        report.violated(Rule::C12, "gap-resume", events, || {
            format!(
                "room {}: a client stood at {} after its return and got {} first",
                found.room, position.offset, first.offset
            )
        });
    }
}

/// C13: what the client lacked was surely there, so neither gap nor reset was right.
fn must_succeed(facts: &Facts<'_>, found: &Return<'_>, report: &mut Report) {
    report.checked(Rule::C13);
    let since = found.since;
    let Some(stream) = facts
        .streams
        .get(&(found.room, since.epoch.as_str()))
        .filter(|_| since.epoch == found.position.epoch)
    else {
        return;
    };
    let window = facts.expectations.window_of(found.room);
    let has_all = since.offset == stream.known_top(found.asked_ns)
        && since.offset >= stream.possible_top(found.answered_ns);
    let lacks_held_only = since.offset < stream.known_top(found.asked_ns)
        && stream.surely_held(&window, since.offset + 1, found.answered_ns);
    if has_all || lacks_held_only {
        let events = vec![found.asked, found.answered];
        report.violated(Rule::C13, "false-reset", events, || {
            format!(
                "room {}: everything behind {} was there, but the client was told {:?}",
                found.room, since.offset, found.recovered
            )
        });
    }
}

/// C14: what the client lacked was surely gone, or belonged to another epoch, so `complete` was wrong.
fn must_refuse(facts: &Facts<'_>, found: &Return<'_>, report: &mut Report) {
    report.checked(Rule::C14);
    let since = found.since;
    let events = vec![found.asked, found.answered];
    let present = facts.epoch_at(found.room, found.asked_ns);
    let is_old = since.epoch != found.position.epoch
        || present.is_some_and(|present| {
            present != since.epoch && {
                let first = |epoch| {
                    facts
                        .streams
                        .get(&(found.room, epoch))
                        .map(|stream| stream.first_ns)
                };
                first(since.epoch.as_str()) < first(present)
            }
        });
    if is_old {
        report.violated(Rule::C14, "silent-gap", events, || {
            format!(
                "room {}: a client returned with an epoch that had ended and was told that it had everything",
                found.room
            )
        });
        return;
    }
    let window = facts.expectations.window_of(found.room);
    let is_gone = facts
        .streams
        .get(&(found.room, since.epoch.as_str()))
        .is_some_and(|stream| stream.surely_gone(&window, since.offset + 1, found.asked_ns));
    if is_gone {
        report.violated(Rule::C14, "silent-gap", events, || {
            format!(
                "room {}: offset {} had left the window, and the client was told that it missed nothing",
                found.room,
                since.offset + 1
            )
        });
    }
}

/// C13 for notices: every message that is called missed had left the window.
fn true_gap(facts: &Facts<'_>, gap: &GapNotice<'_>, report: &mut Report) {
    report.checked(Rule::C13);
    let Some(stream) = facts.streams.get(&(gap.room, gap.epoch)) else {
        return;
    };
    let window = facts.expectations.window_of(gap.room);
    let newest = gap.from.saturating_add(gap.missed).saturating_sub(1);
    if gap.missed == 0 || stream.surely_held(&window, newest, gap.at_ns) {
        report.violated(Rule::C13, "false-gap", vec![gap.event], || {
            format!(
                "room {}: a client was told that it missed {}, but {newest} was still there",
                gap.room, gap.missed
            )
        });
    }
}
