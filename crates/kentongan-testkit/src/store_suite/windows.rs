//! Checks of windows and of rooms that are no longer used.

use kentongan_store::{AckKind, Append, Limits, Window};

use super::{Subject, WIDE, append, fresh, offsets, one};

fn with(window: Window, at_ms: u64, data: &str) -> Append {
    Append {
        at_ms,
        window,
        ..append("a", "", data.to_owned())
    }
}

pub(super) fn a_window_counts(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    let window = Window { records: 3, ..WIDE };
    for expected in [&[1][..], &[1, 2], &[1, 2, 3], &[2, 3, 4], &[3, 4, 5]] {
        fresh(&*store, with(window, 1, "x"));
        assert_eq!(offsets(&*store, "a"), expected);
    }
    assert_eq!(store.health().records, 3);
    if let Some(store) = subject.reopen(store) {
        assert_eq!(offsets(&*store, "a"), [3, 4, 5]);
    }
}

pub(super) fn a_window_weighs(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    let window = Window { bytes: 10, ..WIDE };
    for (data, expected) in [
        ("12345", &[1][..]),
        ("12345", &[1, 2]),
        ("1", &[2, 3]),
        ("1234", &[2, 3, 4]),
        ("longer than all", &[5]),
        ("1", &[6]),
    ] {
        fresh(&*store, with(window, 1, data));
        assert_eq!(offsets(&*store, "a"), expected);
    }
}

pub(super) fn a_window_ages(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    let window = Window {
        age_ms: 100,
        ..WIDE
    };
    for at_ms in [1000, 1050, 1100] {
        fresh(&*store, with(window, at_ms, "x"));
    }
    store.trim(1100).expect("a good store trims");
    assert_eq!(offsets(&*store, "a"), [1, 2, 3], "an age is inclusive");
    store.trim(1101).expect("a good store trims");
    assert_eq!(offsets(&*store, "a"), [2, 3]);
    fresh(&*store, with(window, 1160, "x"));
    assert_eq!(offsets(&*store, "a"), [3, 4], "an append trims its room");
    store.trim(5000).expect("a good store trims");
    assert_eq!(offsets(&*store, "a"), [] as [u64; 0]);
    let span = store.span("a").expect("the room is remembered");
    assert_eq!((span.first, span.next), (5, 5));
    assert_eq!(fresh(&*store, with(window, 5001, "x")).epoch, span.epoch);
    assert_eq!(offsets(&*store, "a"), [5], "offsets go on");
    assert_eq!(store.health().records, 1);
}

pub(super) fn a_window_may_change(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    for _ in 0..10 {
        fresh(&*store, with(WIDE, 1, "x"));
    }
    let narrow = Window { records: 2, ..WIDE };
    fresh(&*store, with(narrow, 1, "x"));
    assert_eq!(offsets(&*store, "a"), [10, 11]);
    if let Some(store) = subject.reopen(store) {
        assert_eq!(offsets(&*store, "a"), [10, 11]);
        fresh(&*store, with(WIDE, 1, "x"));
        assert_eq!(offsets(&*store, "a"), [10, 11, 12]);
    }
}

pub(super) fn an_id_leaves_with_its_record(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    let window = Window {
        records: 2,
        age_ms: 100,
        ..WIDE
    };
    let append = |id: &str, at_ms| Append {
        id: id.to_owned(),
        ..with(window, at_ms, "x")
    };
    for id in ["1", "2", "3"] {
        fresh(&*store, append(id, 1000));
    }
    assert_eq!(
        fresh(&*store, append("1", 1000)).offset,
        4,
        "beyond the count"
    );
    let again = one(&*store, append("3", 1100)).expect("a retry is safe");
    assert_eq!((again.kind, again.position.offset), (AckKind::Duplicate, 3));
    assert_eq!(
        fresh(&*store, append("3", 1101)).offset,
        5,
        "beyond the age"
    );
    let again = one(&*store, append("3", 1101)).expect("a retry is safe");
    assert_eq!(again.position.offset, 5, "the newer one counts");
}

pub(super) fn time_may_run_backwards(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    let window = Window {
        age_ms: 100,
        ..WIDE
    };
    for at_ms in [1000, 10, 990, 0, u64::MAX] {
        fresh(&*store, with(window, at_ms, "x"));
    }
    // The last one is at the end of all time, so all before it are too old.
    assert_eq!(offsets(&*store, "a"), [5]);
    fresh(&*store, with(window, 1000, "x"));
    assert_eq!(
        offsets(&*store, "a"),
        [5, 6],
        "order is that of the appends"
    );
    store.trim(0).expect("a good store trims");
    assert_eq!(offsets(&*store, "a"), [5, 6]);
}

pub(super) fn idle_rooms_are_forgotten(subject: &dyn Subject) {
    let limits = Limits {
        room_idle_ms: 1000,
        rooms_max: 2,
        ..Limits::default()
    };
    let store = subject.open(limits);
    let window = Window {
        age_ms: 100,
        ..WIDE
    };
    let before = fresh(&*store, with(window, 1000, "x"));
    fresh(&*store, append("b", "", "x"));
    store.trim(2000).expect("a good store trims");
    assert!(store.span("a").is_some(), "empty, but not for long enough");
    store.trim(2001).expect("a good store trims");
    assert_eq!(store.span("a"), None);
    assert_eq!(offsets(&*store, "b"), [1], "a room with records stays");
    let after = fresh(&*store, with(window, 2002, "x"));
    assert_eq!(after.offset, 1);
    assert_ne!(after.epoch, before.epoch);
    if let Some(store) = subject.reopen(store) {
        assert_eq!(store.span("a").map(|span| span.epoch), Some(after.epoch));
    }
}
