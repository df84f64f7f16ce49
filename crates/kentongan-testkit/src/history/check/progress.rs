//! C22: soon after the last fault a publish succeeds, and everyone in a room has everything.

use super::{
    facts::{Facts, Outcome},
    sessions::Sessions,
};
use crate::history::{
    expectations::ns,
    report::{Report, Rule},
};

pub(super) fn check(facts: &Facts<'_>, sessions: &Sessions<'_>, report: &mut Report) {
    let Some(calm_ns) = facts.calm_ns else { return };
    let within = ns(facts.expectations.progress_within_ms);
    let limit_ns = calm_ns.saturating_add(within);
    // Whether somebody tried at all is asked elsewhere.
    let mut tried = facts.publications.iter().filter(|p| p.begun_ns >= calm_ns);
    if let Some(first) = tried.next() {
        report.checked(Rule::C22);
        let is_ok = |outcome: &Outcome<'_>| matches!(outcome, Outcome::Ok { .. });
        let works = std::iter::once(first)
            .chain(tried)
            .any(|p| is_ok(&p.outcome) && p.ended_ns <= limit_ns);
        if !works && first.begun_ns <= limit_ns {
            report.violated(Rule::C22, "stuck", vec![first.event], || {
                "no publish succeeds in time after the last fault".to_owned()
            });
        }
    }
    for stayed in &sessions.stayed {
        report.checked(Rule::C22);
        let limit_ns = calm_ns.max(stayed.joined_ns).saturating_add(within);
        let is_late = match stayed.reached_ns {
            Some(reached_ns) => reached_ns > limit_ns,
            None => facts.end_ns > limit_ns,
        };
        if is_late {
            report.violated(Rule::C22, "stuck", vec![stayed.joined], || {
                format!(
                    "client {} in room {} has not caught up in time after the last fault",
                    stayed.client, stayed.room
                )
            });
        }
    }
}
