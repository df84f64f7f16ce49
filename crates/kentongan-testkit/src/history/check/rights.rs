//! C17: nothing is accepted from or delivered to someone without the right to it. C18: nothing crosses tenants.

use rustc_hash::FxHashMap;

use super::facts::{Facts, Outcome};
use crate::history::{
    event::{Answer, Info, Invoke, Right, What},
    expectations::{Rights, ns},
    report::{Report, Rule},
};

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    tenants(facts, report);
    if facts.expectations.rights == Rights::Open {
        return;
    }
    let grants = Grants::of(facts);
    for publication in &facts.publications {
        if let (Some(user), Outcome::Ok { event, .. }) = (publication.user, publication.outcome) {
            let span = (publication.begun_ns, publication.ended_ns);
            report.checked(Rule::C17);
            if !grants.cover(user, publication.room, Right::Publish, span) {
                report.violated(Rule::C17, "leak", vec![publication.event, event], || {
                    format!(
                        "{user} published to room {} without the right",
                        publication.room
                    )
                });
            }
        }
    }
    for (index, event) in facts.events.iter().enumerate() {
        let (conn, room, span) = match &event.what {
            What::Info(Info::Deliver { conn, room, .. }) => (conn, room, (event.t_ns, event.t_ns)),
            What::Ok(Answer::Join { call, .. }) => match facts.invoke(*call) {
                Some((_, asked, Invoke::Join { conn, room, .. })) => {
                    (conn, room, (asked.t_ns, event.t_ns))
                }
                _ => continue,
            },
            _ => continue,
        };
        let Some(user) = facts.conns.get(conn).and_then(|conn| conn.user) else {
            continue;
        };
        report.checked(Rule::C17);
        if !grants.cover(user, room, Right::Join, span) {
            let events = grants.end(user).into_iter().chain([index]).collect();
            report.violated(Rule::C17, "leak", events, || {
                format!("{user} is served in room {room} without the right")
            });
        }
    }
}

fn tenants(facts: &Facts<'_>, report: &mut Report) {
    for (index, event) in facts.events.iter().enumerate() {
        let What::Info(Info::Deliver { conn, id, .. }) = &event.what else {
            continue;
        };
        let Some(receiver) = facts.conns.get(conn).and_then(|conn| conn.tenant) else {
            continue;
        };
        let Some(publication) = facts.attempts_of(id).next() else {
            continue;
        };
        let Some(sender) = publication.tenant else {
            continue;
        };
        report.checked(Rule::C18);
        if sender != receiver {
            let events = vec![publication.event, index];
            report.violated(Rule::C18, "leak", events, || {
                format!("{id} of tenant {sender} reached tenant {receiver}")
            });
        }
    }
}

struct Grant<'h> {
    room: Option<&'h str>,
    right: Right,
    from_ns: u64,
    to_ns: u64,
}

/// The rights of each user over time.
#[derive(Default)]
struct Grants<'h> {
    of: FxHashMap<&'h str, Vec<Grant<'h>>>,
    /// The last event that took a right.
    ends: FxHashMap<&'h str, usize>,
}

impl<'h> Grants<'h> {
    fn of(facts: &Facts<'h>) -> Self {
        let mut grants = Self::default();
        for (index, event) in facts.events.iter().enumerate() {
            match &event.what {
                // From the moment at which it is asked for: the server may be quick.
                What::Invoke(Invoke::Grant {
                    user, room, right, ..
                }) => grants.of.entry(user).or_default().push(Grant {
                    room: room.as_deref(),
                    right: *right,
                    from_ns: event.t_ns,
                    to_ns: u64::MAX,
                }),
                What::Ok(Answer::Revoke { call }) => {
                    let Some((
                        _,
                        asked,
                        Invoke::Revoke {
                            user, room, right, ..
                        },
                    )) = facts.invoke(*call)
                    else {
                        continue;
                    };
                    let to_ns = event
                        .t_ns
                        .saturating_add(ns(facts.expectations.revoke_lag_ms));
                    let room = room.as_deref();
                    grants.close(user, room, *right, asked.t_ns, to_ns, index);
                }
                What::Info(Info::Expire { user }) => {
                    let to_ns = event
                        .t_ns
                        .saturating_add(ns(facts.expectations.expiry_lag_ms));
                    grants.close(user, None, None, event.t_ns, to_ns, index);
                }
                _ => {}
            }
        }
        grants
    }

    /// Ends what was given before `before_ns`; what was given since may have come after the revocation.
    fn close(
        &mut self,
        user: &'h str,
        room: Option<&str>,
        right: Option<Right>,
        before_ns: u64,
        to_ns: u64,
        event: usize,
    ) {
        self.ends.insert(user, event);
        for grant in self.of.entry(user).or_default() {
            let is_meant = (room.is_none() || grant.room == room)
                && right.is_none_or(|right| grant.right == right)
                && grant.from_ns < before_ns;
            if is_meant {
                grant.to_ns = grant.to_ns.min(to_ns);
            }
        }
    }

    /// Whether a right was there at any moment of a span.
    fn cover(&self, user: &str, room: &str, right: Right, (from_ns, to_ns): (u64, u64)) -> bool {
        self.of.get(user).is_some_and(|grants| {
            grants.iter().rev().any(|grant| {
                grant.right == right
                    && grant.room.is_none_or(|of| of == room)
                    && grant.from_ns <= to_ns
                    && grant.to_ns >= from_ns
            })
        })
    }

    fn end(&self, user: &str) -> Option<usize> {
        self.ends.get(user).copied()
    }
}
