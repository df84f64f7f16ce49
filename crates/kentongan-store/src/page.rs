//! Where a page begins. The same for every store.

use crate::{
    position::{Position, Recovery, ResetReason, Span},
    record::Page,
};

/// What a position is worth, and the offset after which to read.
pub(crate) fn start(span: Span, since: Option<Position>) -> (Recovery, u64) {
    let from_oldest = span.first - 1;
    match since {
        None => (Recovery::Complete, from_oldest),
        Some(since) => match span.recovery(since) {
            Recovery::Complete => (Recovery::Complete, since.offset),
            other => (other, from_oldest),
        },
    }
}

pub(crate) fn of_unknown_room(since: Option<Position>) -> Page {
    Page {
        span: None,
        recovery: match since {
            None => Recovery::Complete,
            Some(_) => Recovery::Reset(ResetReason::UnknownRoom),
        },
        records: Vec::new(),
        more: false,
    }
}
