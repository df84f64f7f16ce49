//! From a history and what is expected of it to a report. Pure: no clock, no I/O. First the facts are gathered in one pass;
//! then each family of rules reads them.

mod acks;
mod durability;
mod facts;
mod order;
mod progress;
mod recovery;
mod resources;
mod rights;
mod sessions;
mod stream;
mod vacuity;

use self::{facts::Facts, sessions::Sessions};
use super::{History, expectations::Expectations, report::Report};

/// Holds a history against all rules.
#[must_use]
pub fn check(history: &History, expectations: &Expectations) -> Report {
    let mut report = Report::new(history.events().len());
    let facts = Facts::gather(history, expectations);
    vacuity::check(&facts, &mut report);
    durability::check(&facts, &mut report);
    order::check(&facts, &mut report);
    let sessions = Sessions::walk(&facts, &mut report);
    recovery::check(&facts, &sessions, &mut report);
    rights::check(&facts, &mut report);
    acks::check(&facts, &mut report);
    progress::check(&facts, &sessions, &mut report);
    resources::check(&facts, &mut report);
    report
}
