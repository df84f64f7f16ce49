//! C23: at the end a server holds about what it held at the base.

use std::collections::BTreeMap;

use super::facts::Facts;
use crate::history::{
    event::{Info, ResourcePhase, What},
    report::{Report, Rule},
};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let limits = facts.expectations.resources;
    let mut bases: BTreeMap<&str, (usize, [u64; 3])> = BTreeMap::new();
    for (index, event) in facts.events.iter().enumerate() {
        let What::Info(Info::Resources {
            node,
            phase,
            tasks,
            fds,
            rss_bytes,
            ..
        }) = &event.what
        else {
            continue;
        };
        let counts = [*tasks, *fds, *rss_bytes];
        if *phase == ResourcePhase::Base {
            bases.insert(node, (index, counts));
            continue;
        }
        let Some((base, before)) = bases.get(node.as_str()) else {
            continue;
        };
        for ((name, more), (before, after)) in [
            ("tasks", limits.tasks),
            ("file descriptors", limits.fds),
            ("bytes of memory", limits.rss_bytes),
        ]
        .into_iter()
        .zip(before.iter().zip(counts))
        {
            report.checked(Rule::C23);
            if after > before.saturating_add(more) {
                report.violated(Rule::C23, "leak", vec![*base, index], || {
                    format!("{node} had {before} {name} at the base and {after} at the end")
                });
            }
        }
    }
}
