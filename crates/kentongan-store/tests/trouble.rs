//! A disk that is full, a sync that fails, quiet rooms whose segments go, and early acknowledgements.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;

use kentongan_store::{
    AckKind, Append, AppendError, DiskStore, Durability, Limits, Mode, OpenReport, Outcome,
    Settings, Store, Window, WitnessReport,
};
use kentongan_testkit::store_suite::{Fault, MemoryDisk, WIDE, append, read_all};

fn limits() -> Limits {
    Limits {
        record_bytes_max: 4000,
        commit_bytes_max: 8 << 10,
        segment_bytes: 32 << 10,
        ..Limits::default()
    }
}

fn open(disk: &MemoryDisk, limits: Limits, mode: Mode, seed: u64) -> (DiskStore, OpenReport) {
    let settings = Settings { limits, mode, seed };
    DiskStore::open(Arc::new(disk.clone()), settings).unwrap()
}

fn one(store: &DiskStore, append: Append) -> Result<AckKind, AppendError> {
    store.append(&[append]).remove(0).map(|ack| ack.kind)
}

/// Appends until it is refused; says how many were taken, and the error.
fn fill(store: &DiskStore, name: &str) -> (usize, AppendError) {
    for number in 0..1000 {
        if let Err(error) = one(
            store,
            append("a", &format!("{name}{number}"), vec![7; 3000]),
        ) {
            return (number, error);
        }
    }
    panic!("it takes everything");
}

#[test]
fn a_full_disk_is_said_and_got_over() {
    let disk = MemoryDisk::new();
    let (store, _) = open(&disk, limits(), Mode::Synced, 1);
    one(&store, append("a", "before", "x")).unwrap();
    disk.fill();
    let (taken, error) = fill(&store, "full");
    assert!(taken > 3, "the segment's space was reserved");
    assert_eq!(
        (error.code(), error.outcome()),
        ("no_space", Outcome::NotDone)
    );
    assert!(store.health().is_full);
    for _ in 0..3 {
        assert_eq!(fill(&store, "still").1.code(), "no_space");
    }
    // Reading goes on, and so do retries of what is there.
    assert_eq!(read_all(&store, "a", None).len(), taken + 1);
    assert_eq!(
        one(&store, append("a", "before", "x")).unwrap(),
        AckKind::Duplicate
    );

    disk.free_space();
    assert_eq!(
        one(&store, append("a", "after", "y")).unwrap(),
        AckKind::Appended
    );
    assert!(!store.health().is_full);
    disk.kill();
    drop(store);
    let (store, report) = open(&disk, limits(), Mode::Synced, 2);
    assert!(report.is_clean(), "{report:?}");
    let records = read_all(&store, "a", None);
    assert_eq!(records.len(), taken + 2);
    assert_eq!(records.last().unwrap().id, "after");
}

#[test]
fn a_log_that_is_as_large_as_it_may_be_gives_space_back_by_itself() {
    let disk = MemoryDisk::new();
    let limits = Limits {
        log_bytes_max: 128 << 10,
        ..limits()
    };
    let (store, _) = open(&disk, limits, Mode::Synced, 1);
    let (taken, error) = fill(&store, "quota");
    assert!(taken > 20, "{taken}");
    assert_eq!(error.code(), "no_space");
    assert_eq!(store.health().disk_bytes, 128 << 10);
    // A full disk is no reason to keep what nobody needs: the space for saying so is there.
    disk.fill();
    let narrow = Append {
        window: Window { records: 1, ..WIDE },
        ..append("a", "narrow", "x")
    };
    one(&store, narrow).unwrap();
    store.trim(0).unwrap();
    assert_eq!(store.health().disk_bytes, 32 << 10);
    disk.free_space();
    assert_eq!(
        one(&store, append("a", "after", vec![1; 4000])).unwrap(),
        AckKind::Appended
    );
}

#[test]
fn a_sync_that_fails_is_not_believed_the_second_time() {
    let disk = MemoryDisk::new();
    let (store, _) = open(&disk, limits(), Mode::Synced, 1);
    one(&store, append("a", "1", "x")).unwrap();
    // The write is the next call, its sync the one after.
    disk.fail_at(disk.calls() + 2, Fault::Error);
    let error = one(&store, append("a", "2", "x")).unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        ("sync_failed", Outcome::Unknown)
    );
    for id in ["2", "3"] {
        let error = one(&store, append("a", id, "x")).unwrap_err();
        assert_eq!(
            (error.code(), error.outcome()),
            ("stopped", Outcome::NotDone)
        );
    }
    assert_eq!(store.sync().unwrap_err().code(), "stopped");
    assert_eq!(store.reset("a").unwrap_err().code(), "stopped");
    assert!(store.health().stopped.is_some());
    let ids = |store: &DiskStore| {
        let records = read_all(store, "a", None);
        let ids = records.into_iter().map(|record| record.id);
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(&store), ["1"], "readers see what is safe");
    drop(store);

    // Opened again without a restart of the machine: what is seen is made safe before it counts.
    let (store, _) = open(&disk, limits(), Mode::Synced, 2);
    let retried = one(&store, append("a", "2", "x")).unwrap();
    assert_eq!(retried, AckKind::Duplicate);
    disk.restart(5);
    drop(store);
    let (store, _) = open(&disk, limits(), Mode::Synced, 3);
    assert_eq!(ids(&store), ["1", "2"]);
}

#[test]
fn a_quiet_room_outlives_its_segment() {
    let disk = MemoryDisk::new();
    let (store, _) = open(&disk, limits(), Mode::Synced, 1);
    let short = Append {
        window: Window { age_ms: 10, ..WIDE },
        ..append("quiet", "", "x")
    };
    for _ in 0..3 {
        one(&store, short.clone()).unwrap();
    }
    let before = store.span("quiet").unwrap();
    for number in 0..100 {
        let busy = Append {
            window: Window { records: 3, ..WIDE },
            ..append("busy", &format!("{number}"), vec![1; 3000])
        };
        one(&store, busy).unwrap();
        store.trim(2_000).unwrap();
    }
    assert!(!disk.names().contains(&"0000000001.log".to_owned()));
    assert!(store.health().disk_bytes <= 96 << 10, "space is given back");
    let after = store.span("quiet").unwrap();
    assert_eq!((after.epoch, after.first, after.next), (before.epoch, 4, 4));
    disk.restart(1);
    drop(store);
    let (store, report) = open(&disk, limits(), Mode::Synced, 2);
    assert_eq!(store.span("quiet"), Some(after), "{report:?}");
    assert_eq!(read_all(&store, "busy", None).len(), 3);
}

#[test]
fn early_acknowledgements_say_so_and_cost_the_epoch() {
    let disk = MemoryDisk::new();
    let (store, _) = open(&disk, limits(), Mode::Written, 1);
    let ack = store.append(&[append("a", "1", "x")]).remove(0).unwrap();
    assert_eq!(ack.durability, Durability::Cache);
    store.close().unwrap();

    // Closed in good order: nothing can be lost.
    disk.restart(1);
    let (store, report) = open(&disk, limits(), Mode::Written, 2);
    assert!(report.is_clean(), "{report:?}");
    let epoch = store.span("a").unwrap().epoch;
    assert_eq!(epoch, ack.position.epoch);
    for number in 0..50 {
        one(
            &store,
            append("a", &format!("more {number}"), vec![1; 2000]),
        )
        .unwrap();
    }

    // Not closed: whatever is left, clients are told. And so for each way in which the machine may stop.
    for seed in 0..30 {
        let disk = disk.copy();
        disk.restart(seed);
        let (store, report) = open(&disk, limits(), Mode::Synced, 100 + seed);
        assert!(report.has_new_epochs);
        assert_ne!(store.span("a").unwrap().epoch, epoch);
        let records = read_all(&store, "a", None);
        assert_eq!(records[0].id, "1");
        assert!(
            records
                .iter()
                .all(|record| record.data.len() == 2000 || record.id == "1")
        );
        drop(store);
        // Once is enough.
        let (_, report) = open(&disk, limits(), Mode::Synced, 200 + seed);
        assert!(report.is_clean(), "{report:?}");
    }
}

#[test]
fn a_lost_or_damaged_witness_is_reported_and_made_anew() {
    for is_lost in [true, false] {
        let disk = MemoryDisk::new();
        let (store, _) = open(&disk, limits(), Mode::Synced, 1);
        one(&store, append("a", "1", "x")).unwrap();
        drop(store);
        if is_lost {
            disk.lose("head");
        } else {
            disk.tamper("head", |bytes| bytes[9] ^= 1);
        }
        let (store, report) = open(&disk, limits(), Mode::Synced, 2);
        let expected = if is_lost {
            WitnessReport::Missing
        } else {
            WitnessReport::Damaged
        };
        assert_eq!(report.witness, expected);
        assert_eq!(read_all(&store, "a", None).len(), 1);
        drop(store);
        assert!(open(&disk, limits(), Mode::Synced, 3).1.is_clean());
    }
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let refused = |limits: Limits| {
        let settings = Settings {
            limits,
            ..Settings::default()
        };
        let error = DiskStore::open(Arc::new(MemoryDisk::new()), settings).unwrap_err();
        assert_eq!(error.code(), "limits", "{error}");
    };
    refused(Limits {
        segment_bytes: 16 << 10,
        commit_bytes_max: 4096,
        record_bytes_max: 100,
        ..Limits::default()
    });
    refused(Limits {
        segment_bytes: u32::MAX,
        ..Limits::default()
    });
    refused(Limits {
        commit_bytes_max: 1 << 20,
        ..Limits::default()
    });
    refused(Limits {
        commit_bytes_max: 32 << 20,
        ..Limits::default()
    });
    refused(Limits {
        id_bytes_max: 256,
        ..Limits::default()
    });
}
