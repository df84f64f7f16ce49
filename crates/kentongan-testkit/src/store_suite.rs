//! What every store has to do, as checks: [`check_all`] holds one against the obligations of
//! [`Store`](kentongan_store::Store); and [`MemoryDisk`], a disk that fails on demand.
//!
//! The suite knows stores only by their contract.

mod cases;
mod disk;
mod windows;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use kentongan_store::{
    Ack, AckKind, Append, AppendError, Durability, Limits, PageLimit, Position, Record, Store,
    Window,
};

pub use disk::{Fault, MemoryDisk};

/// A kind of store that is tested.
pub trait Subject {
    /// A new, empty store.
    fn open(&self, limits: Limits) -> Arc<dyn Store>;

    /// The same store, closed in good order and opened again; `None` for a store that keeps nothing.
    fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>>;

    /// What its acknowledgements promise.
    fn durability(&self) -> Durability;
}

/// A check: what it is called, and what it does. It panics when the store fails it.
pub type Check = (&'static str, fn(&dyn Subject));

/// All checks.
pub const CHECKS: &[Check] = &[
    ("offsets_are_dense", cases::offsets_are_dense),
    (
        "data_comes_back_unchanged",
        cases::data_comes_back_unchanged,
    ),
    (
        "acknowledgements_say_how_safe",
        cases::acknowledgements_say_how_safe,
    ),
    ("an_id_appends_once", cases::an_id_appends_once),
    (
        "an_id_appends_once_within_a_batch",
        cases::an_id_appends_once_within_a_batch,
    ),
    ("an_id_is_for_one_room", cases::an_id_is_for_one_room),
    ("ids_are_bounded", cases::ids_are_bounded),
    ("limits_are_inclusive", cases::limits_are_inclusive),
    (
        "a_refusal_spoils_nothing_else",
        cases::a_refusal_spoils_nothing_else,
    ),
    ("pages_join_without_holes", cases::pages_join_without_holes),
    ("pages_are_bounded", cases::pages_are_bounded),
    ("positions_are_judged", cases::positions_are_judged),
    ("a_reset_begins_an_epoch", cases::a_reset_begins_an_epoch),
    (
        "a_restart_changes_nothing",
        cases::a_restart_changes_nothing,
    ),
    (
        "writers_and_readers_agree",
        cases::writers_and_readers_agree,
    ),
    ("a_window_counts", windows::a_window_counts),
    ("a_window_weighs", windows::a_window_weighs),
    ("a_window_ages", windows::a_window_ages),
    ("a_window_may_change", windows::a_window_may_change),
    (
        "an_id_leaves_with_its_record",
        windows::an_id_leaves_with_its_record,
    ),
    ("time_may_run_backwards", windows::time_may_run_backwards),
    (
        "idle_rooms_are_forgotten",
        windows::idle_rooms_are_forgotten,
    ),
];

/// Runs all checks, each on a new store.
///
/// # Panics
/// When the store fails one.
pub fn check_all(subject: &dyn Subject) {
    for (name, check) in CHECKS {
        println!("{name}");
        check(subject);
    }
}

/// A window that drops nothing.
pub const WIDE: Window = Window {
    records: 1_000_000,
    age_ms: 1 << 40,
    bytes: 1 << 40,
};

/// An append with a [`WIDE`] window, at the time 1,000.
pub fn append(room: &str, id: &str, data: impl Into<Bytes>) -> Append {
    Append {
        room: room.to_owned(),
        id: id.to_owned(),
        at_ms: 1_000,
        data: data.into(),
        window: WIDE,
    }
}

/// Appends one.
pub(crate) fn one(store: &dyn Store, append: Append) -> Result<Ack, AppendError> {
    let mut outcomes = store.append(&[append]);
    assert_eq!(outcomes.len(), 1, "one outcome for each append");
    outcomes.remove(0)
}

/// Appends one, which must work, and anew.
pub(crate) fn fresh(store: &dyn Store, append: Append) -> Position {
    let ack = one(store, append).expect("a good append is acknowledged");
    assert_eq!(ack.kind, AckKind::Appended);
    ack.position
}

/// Everything after a position, page by page.
///
/// # Panics
/// When the pages do not join.
pub fn read_all(store: &dyn Store, room: &str, since: Option<Position>) -> Vec<Record> {
    let limit = PageLimit {
        records: 7,
        bytes: 10_000,
    };
    let mut since = since;
    let mut records: Vec<Record> = Vec::new();
    loop {
        let page = store.read(room, since, limit).expect("a good store reads");
        if let (Some(last), Some(next)) = (records.last(), page.records.first()) {
            assert_eq!(
                last.offset + 1,
                next.offset,
                "a page goes on where the last one ended"
            );
        }
        records.extend(page.records.iter().cloned());
        since = page.end();
        if !page.more {
            return records;
        }
    }
}

/// The offsets of all records.
pub(crate) fn offsets(store: &dyn Store, room: &str) -> Vec<u64> {
    let records = read_all(store, room, None);
    records.iter().map(|record| record.offset).collect()
}

/// The code of a refusal.
pub(crate) fn code<T: fmt::Debug>(result: Result<T, AppendError>) -> &'static str {
    result.expect_err("this append is refused").code()
}
