//! Whether the run proves anything: enough deliveries, faults and reconnects; every fault left its trace; every room was read
//! at the end.

use std::collections::BTreeSet;

use super::facts::{Facts, Witness};
use crate::history::{
    event::{Answer, Invoke, What},
    expectations::ns,
    report::{Report, Rule},
};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let expectations = facts.expectations;
    let reconnects = facts.conns.values().filter(|conn| conn.is_return).count() as u64;
    let faults = facts
        .faults
        .values()
        .filter(|fault| fault.started.is_some())
        .count() as u64;
    for (what, count, least) in [
        ("deliveries", facts.deliveries, expectations.deliveries_min),
        ("faults", faults, expectations.faults_min),
        ("reconnects", reconnects, expectations.reconnects_min),
    ] {
        report.checked(Rule::Vacuous);
        if count < least {
            report.violated(Rule::Vacuous, "vacuous", Vec::new(), || {
                format!("{count} {what}, where at least {least} are expected")
            });
        }
    }
    for (number, fault) in &facts.faults {
        report.checked(Rule::Vacuous);
        if !fault.traced {
            report.violated(
                Rule::Vacuous,
                "no-trace",
                fault.started.into_iter().collect(),
                || format!("fault {number} ({}) left no trace", fault.kind),
            );
        }
    }
    rooms_are_read(facts, report);
    calm_is_long_enough(facts, report);
}

fn rooms_are_read(facts: &Facts<'_>, report: &mut Report) {
    let mut read = BTreeSet::new();
    for event in facts.events {
        if let What::Ok(Answer::FinalRead { call, .. }) = &event.what
            && let Some((_, _, Invoke::FinalRead { room, .. })) = facts.invoke(*call)
        {
            read.insert(room.as_str());
        }
    }
    let mut missing = BTreeSet::new();
    for sight in &facts.sights {
        if sight.by != Witness::FinalRead
            && !read.contains(sight.room)
            && missing.insert(sight.room)
        {
            report.violated(Rule::Vacuous, "not-read", vec![sight.event], || {
                format!("nobody read room {} at the end", sight.room)
            });
        }
    }
}

/// Nothing can be said about progress when the run ends too early, or nobody tried.
fn calm_is_long_enough(facts: &Facts<'_>, report: &mut Report) {
    let Some(calm_ns) = facts.calm_ns else { return };
    report.checked(Rule::Vacuous);
    let within = ns(facts.expectations.progress_within_ms);
    if facts.end_ns < calm_ns.saturating_add(within) {
        report.violated(Rule::Vacuous, "no-calm", Vec::new(), || {
            "the run ends too soon after the last fault".to_owned()
        });
    }
    let tried = facts
        .publications
        .iter()
        .any(|publication| publication.begun_ns >= calm_ns);
    if !tried {
        report.violated(Rule::Vacuous, "no-calm", Vec::new(), || {
            "nobody publishes after the last fault".to_owned()
        });
    }
}
