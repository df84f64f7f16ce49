//! Checks of appends, ids, pages, positions, epochs and restarts.

use std::{sync::atomic::AtomicBool, sync::atomic::Ordering, thread};

use kentongan_store::{
    AckKind, Append, Limits, Outcome, PageLimit, Position, Recovery, ResetReason,
};

use super::{Subject, append, code, fresh, offsets, one, read_all};

pub(super) fn offsets_are_dense(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    for offset in 1..=5 {
        assert_eq!(fresh(&*store, append("a", "", "x")).offset, offset);
    }
    let batch: Vec<Append> = (0..100)
        .map(|number| append(["a", "b", "c"][number % 3], "", format!("{number}")))
        .collect();
    let outcomes = store.append(&batch);
    let mut next = [6, 1, 1];
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let offset = outcome
            .expect("a good append is acknowledged")
            .position
            .offset;
        assert_eq!(offset, next[number % 3], "append {number}");
        next[number % 3] += 1;
    }
    for (room, next) in ["a", "b", "c"].into_iter().zip(next) {
        assert_eq!(offsets(&*store, room), (1..next).collect::<Vec<_>>());
        let span = store.span(room).expect("the room is there");
        assert_eq!((span.first, span.next), (1, next));
    }
    assert_eq!(store.health().rooms, 3);
    assert_eq!(store.health().records, 105);
}

pub(super) fn data_comes_back_unchanged(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    let every_byte: Vec<u8> = (0..=255).collect();
    let samples = [
        Vec::new(),
        vec![0],
        vec![0; 5000],
        every_byte,
        b"text".to_vec(),
    ];
    for (number, data) in samples.iter().enumerate() {
        let mut append = append("räume/☕", &format!("ïd {number}"), data.clone());
        append.at_ms = number as u64 * 7;
        fresh(&*store, append);
    }
    let records = read_all(&*store, "räume/☕", None);
    assert_eq!(records.len(), samples.len());
    for (number, (record, data)) in records.iter().zip(&samples).enumerate() {
        assert_eq!(record.data, data);
        assert_eq!(record.id, format!("ïd {number}"));
        assert_eq!(record.at_ms, number as u64 * 7);
    }
}

pub(super) fn acknowledgements_say_how_safe(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    let mut append = append("a", "id", "x");
    append.at_ms = 77;
    for kind in [AckKind::Appended, AckKind::Duplicate] {
        let ack = one(&*store, append.clone()).expect("a good append is acknowledged");
        assert_eq!(ack.durability, subject.durability());
        assert_eq!((ack.kind, ack.at_ms), (kind, 77));
        append.at_ms = 99;
    }
    store.sync().expect("a good store syncs");
}

pub(super) fn an_id_appends_once(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    let first = fresh(&*store, append("a", "id", "x"));
    fresh(&*store, append("a", "other", "x"));
    let again = one(&*store, append("a", "id", "x")).expect("a retry is safe");
    assert_eq!((again.position, again.kind), (first, AckKind::Duplicate));
    let reused = one(&*store, append("a", "id", "y"));
    assert_eq!(code(reused), "id_reused");
    // Without an id nothing is the same.
    fresh(&*store, append("a", "", "x"));
    fresh(&*store, append("a", "", "x"));
    assert_eq!(offsets(&*store, "a"), [1, 2, 3, 4]);
}

pub(super) fn an_id_appends_once_within_a_batch(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    let outcomes = store.append(&[
        append("a", "one", "x"),
        append("a", "one", "x"),
        append("a", "two", "x"),
        append("a", "one", "y"),
        append("b", "one", "x"),
    ]);
    let outcomes: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| {
            outcome
                .map(|ack| (ack.position.offset, ack.kind))
                .map_err(|error| error.code())
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            Ok((1, AckKind::Appended)),
            Ok((1, AckKind::Duplicate)),
            Ok((2, AckKind::Appended)),
            Err("id_reused"),
            Ok((1, AckKind::Appended)),
        ]
    );
    assert_eq!(offsets(&*store, "a"), [1, 2]);
}

pub(super) fn an_id_is_for_one_room(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    let a = fresh(&*store, append("a", "id", "x"));
    let b = fresh(&*store, append("b", "id", "y"));
    assert_ne!(a.epoch, b.epoch, "rooms have epochs of their own");
}

pub(super) fn ids_are_bounded(subject: &dyn Subject) {
    let store = subject.open(Limits {
        ids_max: 3,
        ..Limits::default()
    });
    for number in 0..5 {
        fresh(&*store, append("a", &format!("{number}"), "x"));
    }
    for number in 2..5 {
        let again = one(&*store, append("a", &format!("{number}"), "x"));
        assert_eq!(again.expect("a retry is safe").kind, AckKind::Duplicate);
    }
    assert_eq!(fresh(&*store, append("a", "1", "x")).offset, 6);
}

pub(super) fn limits_are_inclusive(subject: &dyn Subject) {
    let store = subject.open(Limits {
        record_bytes_max: 100,
        id_bytes_max: 10,
        room_bytes_max: 5,
        rooms_max: 2,
        ..Limits::default()
    });
    let text = |bytes| "x".repeat(bytes);
    for (room, id, data, expected) in [
        (5, 10, 100, None),
        (5, 10, 101, Some("record_too_large")),
        (5, 11, 100, Some("id_too_long")),
        (6, 10, 100, Some("room_name")),
        (0, 10, 100, Some("room_name")),
        (4, 0, 0, None),
        (3, 0, 0, Some("rooms_full")),
    ] {
        let outcome = one(&*store, append(&text(room), &text(id), text(data)));
        match expected {
            None => assert!(outcome.is_ok(), "{room} {id} {data}: {outcome:?}"),
            Some(expected) => {
                let error = outcome.expect_err("this append is refused");
                assert_eq!(error.code(), expected, "{room} {id} {data}");
                assert_eq!(error.outcome(), Outcome::NotDone);
            }
        }
    }
    assert_eq!(store.health().rooms, 2);
}

pub(super) fn a_refusal_spoils_nothing_else(subject: &dyn Subject) {
    let limits = Limits {
        record_bytes_max: 10,
        ..Limits::default()
    };
    let store = subject.open(limits);
    let outcomes = store.append(&[
        append("a", "1", "x"),
        append("a", "2", "far too long"),
        append("", "3", "x"),
        append("a", "4", "x"),
        // The id of what was refused is still free.
        append("a", "2", "short"),
    ]);
    let offsets: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().ok().map(|ack| ack.position.offset))
        .collect();
    assert_eq!(offsets, [Some(1), None, None, Some(2), Some(3)]);
    assert!(store.append(&[]).is_empty());
}

pub(super) fn pages_join_without_holes(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    for number in 0..50 {
        fresh(&*store, append("a", "", format!("{number}")));
        fresh(&*store, append("b", "", vec![0; number * 10]));
    }
    let records = read_all(&*store, "a", None);
    assert_eq!(records.len(), 50);
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record.offset, number as u64 + 1);
        assert_eq!(record.data, format!("{number}"));
    }
    let epoch = store.span("a").expect("the room is there").epoch;
    for offset in [0, 1, 25, 49, 50] {
        let rest = read_all(&*store, "a", Some(Position { epoch, offset }));
        assert_eq!(rest, records[offset as usize..]);
    }
}

pub(super) fn pages_are_bounded(subject: &dyn Subject) {
    let store = subject.open(Limits {
        page_records_max: 4,
        page_bytes_max: 250,
        ..Limits::default()
    });
    for _ in 0..10 {
        fresh(&*store, append("small", "", "x"));
        fresh(&*store, append("large", "", vec![1; 100]));
    }
    let count = |room: &str, records, bytes| {
        let page = store.read(room, None, PageLimit { records, bytes });
        let page = page.expect("a good store reads");
        (page.records.len(), page.more)
    };
    assert_eq!(count("small", 3, 1000), (3, true));
    assert_eq!(
        count("small", 1000, 1000),
        (4, true),
        "the store's own limit"
    );
    assert_eq!(
        count("small", 0, 0),
        (1, true),
        "the first one always comes"
    );
    assert_eq!(count("large", 4, 1000), (2, true), "the store's own limit");
    assert_eq!(count("large", 4, 100), (1, true), "a limit is inclusive");
    assert_eq!(count("large", 4, 99), (1, true));
}

pub(super) fn positions_are_judged(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    let mut narrow = append("a", "", "x");
    narrow.window.records = 3;
    for _ in 0..5 {
        fresh(&*store, narrow.clone());
    }
    let span = store.span("a").expect("the room is there");
    assert_eq!((span.first, span.next), (3, 6));
    let limit = PageLimit {
        records: 10,
        bytes: 1000,
    };
    let read = |room: &str, since| {
        let page = store.read(room, since, limit).expect("a good store reads");
        let offsets: Vec<u64> = page.records.iter().map(|record| record.offset).collect();
        (page.recovery, offsets)
    };
    let at = |offset| {
        let epoch = span.epoch;
        Some(Position { epoch, offset })
    };
    assert_eq!(read("a", None), (Recovery::Complete, vec![3, 4, 5]));
    assert_eq!(read("a", at(5)), (Recovery::Complete, vec![]));
    assert_eq!(read("a", at(3)), (Recovery::Complete, vec![4, 5]));
    assert_eq!(read("a", at(2)), (Recovery::Complete, vec![3, 4, 5]));
    assert_eq!(
        read("a", at(1)),
        (Recovery::Gap { missed: 1 }, vec![3, 4, 5])
    );
    let ahead = Recovery::Reset(ResetReason::Ahead);
    assert_eq!(read("a", at(6)), (ahead, vec![3, 4, 5]));
    fresh(&*store, append("b", "", "x"));
    let other = Recovery::Reset(ResetReason::OtherEpoch);
    assert_eq!(read("b", at(1)), (other, vec![1]));
    let unknown = Recovery::Reset(ResetReason::UnknownRoom);
    assert_eq!(read("c", at(1)), (unknown, vec![]));
    assert_eq!(read("c", None), (Recovery::Complete, vec![]));
    assert_eq!(store.span("c"), None);
    assert_eq!(span.top().offset, 5);
}

pub(super) fn a_reset_begins_an_epoch(subject: &dyn Subject) {
    let store = subject.open(Limits::default());
    assert_eq!(store.reset("a").expect("nothing to do"), None);
    let before = fresh(&*store, append("a", "id", "x"));
    fresh(&*store, append("b", "id", "x"));
    let span = store.reset("a").expect("a good store resets");
    let span = span.expect("the room is there");
    assert_ne!(span.epoch, before.epoch);
    assert_eq!((span.first, span.next), (1, 1));
    assert_eq!(store.span("a"), Some(span));
    assert_eq!(offsets(&*store, "a"), [] as [u64; 0]);
    let after = fresh(&*store, append("a", "id", "y"));
    assert_eq!((after.epoch, after.offset), (span.epoch, 1));
    assert_eq!(offsets(&*store, "b"), [1], "other rooms stay");
    assert_eq!(store.health().records, 2);
    if let Some(store) = subject.reopen(store) {
        assert_eq!(store.span("a").map(|span| span.epoch), Some(after.epoch));
        assert_eq!(read_all(&*store, "a", None)[0].data, "y");
    }
}

pub(super) fn a_restart_changes_nothing(subject: &dyn Subject) {
    let mut store = subject.open(Limits::default());
    for round in 0..4_u64 {
        for number in 0..20_u64 {
            let id = format!("{round}/{number}");
            let mut append = append("a", &id, format!("data {id}"));
            append.window.records = 30;
            let offset = round * 20 + number + 1;
            assert_eq!(fresh(&*store, append).offset, offset);
        }
        let (span, records) = (store.span("a"), read_all(&*store, "a", None));
        let Some(reopened) = subject.reopen(store) else {
            return;
        };
        store = reopened;
        assert_eq!(store.span("a"), span);
        assert_eq!(read_all(&*store, "a", None), records);
        for record in records {
            let mut append = append("a", &record.id, record.data);
            append.window.records = 30;
            let again = one(&*store, append).expect("a retry is safe");
            assert_eq!(
                (again.kind, again.position.offset),
                (AckKind::Duplicate, record.offset)
            );
        }
    }
}

pub(super) fn writers_and_readers_agree(subject: &dyn Subject) {
    const WRITERS: usize = 4;
    const EACH: usize = 50;
    let store = &*subject.open(Limits::default());
    let is_done = &AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut seen = 0;
            while !is_done.load(Ordering::Acquire) {
                let records = read_all(store, "a", None);
                assert!(records.len() >= seen, "what was seen stays");
                for (offset, record) in (1..).zip(&records) {
                    assert_eq!(record.offset, offset);
                }
                seen = records.len();
            }
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let mut last = 0;
                    for number in 0..EACH {
                        let id = format!("{writer}-{number}");
                        let offset = fresh(store, append("a", &id, id.clone())).offset;
                        assert!(offset > last, "one writer's appends are in its order");
                        last = offset;
                    }
                })
            })
            .collect();
        let finished = writers.into_iter().map(|writer| writer.join().is_ok());
        let all = finished.filter(|is_ok| *is_ok).count();
        is_done.store(true, Ordering::Release);
        assert_eq!(all, WRITERS);
        assert!(reader.join().is_ok(), "the reader saw something wrong");
    });
    assert_eq!(offsets(store, "a").len(), WRITERS * EACH);
}
