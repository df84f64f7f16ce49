//! C19: every call is completed once, with its own answer, and not after it was given up. C21: in time.

use super::facts::{Call, Facts};
use crate::history::{
    event::{Answer, Info, Invoke, ResourcePhase, What},
    expectations::ns,
    report::{Report, Rule},
};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    let bound =
        ns(facts.expectations.deadline_ms).saturating_add(ns(facts.expectations.deadline_slack_ms));
    for (number, call) in &facts.calls {
        completions(facts, *number, call, report);
        in_time(facts, *number, call, bound, report);
    }
    for (index, event) in facts.events.iter().enumerate() {
        if let What::Info(Info::Resources {
            node,
            phase: ResourcePhase::End,
            pending_acks,
            ..
        }) = &event.what
        {
            report.checked(Rule::C19);
            if *pending_acks > 0 {
                report.violated(Rule::C19, "ack-leak", vec![index], || {
                    format!("{node} still waits for {pending_acks} acknowledgements at the end")
                });
            }
        }
    }
}

fn completions(facts: &Facts<'_>, number: u64, call: &Call, report: &mut Report) {
    report.checked(Rule::C19);
    let Some(invoke) = call.invoke else {
        report.violated(Rule::C19, "ack-mix", call.completions.clone(), || {
            format!("call {number} is answered, but was never made")
        });
        return;
    };
    if call.completions.len() > 1 {
        let events = std::iter::once(invoke).chain(call.completions.iter().copied());
        report.violated(Rule::C19, "ack-mix", events.collect(), || {
            format!(
                "call {number} is completed {} times",
                call.completions.len()
            )
        });
    }
    let Some((_, _, asked)) = facts.invoke(number) else {
        return;
    };
    for &index in &call.completions {
        let is_own = match facts.events.get(index).map(|event| &event.what) {
            Some(What::Ok(Answer::EmitAck { id: reply, .. })) => {
                matches!(asked, Invoke::EmitAck { id, .. } if id == reply)
            }
            Some(What::Ok(answer)) => answer.f() == asked.f(),
            Some(What::Fail(failure)) => failure.f == asked.f(),
            _ => true,
        };
        if !is_own {
            report.violated(Rule::C19, "ack-mix", vec![invoke, index], || {
                format!("call {number} got the answer of another one")
            });
        }
    }
}

fn in_time(facts: &Facts<'_>, number: u64, call: &Call, bound_ns: u64, report: &mut Report) {
    let Some((invoke, asked, _)) = facts.invoke(number) else {
        return;
    };
    report.checked(Rule::C21);
    let limit_ns = asked.t_ns.saturating_add(bound_ns);
    let completion = call.completions.first().copied();
    let completed_ns = completion
        .and_then(|index| facts.events.get(index))
        .map_or(facts.end_ns, |event| event.t_ns);
    if completed_ns > limit_ns {
        let events = std::iter::once(invoke).chain(completion).collect();
        report.violated(Rule::C21, "hang", events, || {
            let after = match completion {
                Some(_) => "was completed too late",
                None => "was never completed",
            };
            format!("call {number} {after}")
        });
    }
}
