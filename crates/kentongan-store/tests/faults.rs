//! A script of several hundred I/O calls, run once for each call and each way in which it can fail: after any of it, what
//! was acknowledged is there, what was said not to be done is not, and the store opens again.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use kentongan_store::{
    AckKind, Append, AppendError, DiskStore, Limits, Mode, OpenReport, Outcome, PageLimit,
    Position, Record, Settings, Store, Window,
};
use kentongan_testkit::store_suite::{Fault, MemoryDisk, WIDE};

const ROOMS: [&str; 4] = ["busy", "broad", "reset", "quiet"];
/// Turns of the script: enough for more than 500 calls.
const TURNS: usize = 130;

fn window(room: &str) -> Window {
    let records = match room {
        "quiet" => 3,
        "broad" => 20,
        _ => 8,
    };
    Window { records, ..WIDE }
}

/// What a publisher remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Acked(Position),
    NotDone,
    Unknown,
}

#[derive(Default)]
struct Publisher {
    /// Everything that was ever submitted, with what came of it.
    fates: BTreeMap<(String, String), (Append, Fate)>,
    /// Rooms whose reset was tried: their epoch may change.
    resets: HashSet<String>,
}

impl Publisher {
    fn submit(&mut self, store: &DiskStore, batch: &[Append]) -> Vec<AppendError> {
        let mut errors = Vec::new();
        let outcomes = store.append(batch);
        assert_eq!(outcomes.len(), batch.len());
        for (append, outcome) in batch.iter().zip(outcomes) {
            let key = (append.room.clone(), append.id.clone());
            let before = self.fates.get(&key).map(|(_, fate)| fate.clone());
            let fate = match (outcome, before) {
                (Ok(ack), Some(Fate::Acked(position))) if position.epoch == ack.position.epoch => {
                    assert_eq!(ack.position, position, "a retry of {key:?} moved");
                    Fate::Acked(position)
                }
                (Ok(ack), before) => {
                    if before == Some(Fate::NotDone) {
                        assert_eq!(ack.kind, AckKind::Appended, "{key:?} was not done");
                    }
                    Fate::Acked(ack.position)
                }
                (Err(error), before) => {
                    let outcome = error.outcome();
                    errors.push(error);
                    match before {
                        Some(Fate::Acked(position)) => Fate::Acked(position),
                        Some(Fate::Unknown) => Fate::Unknown,
                        _ if outcome == Outcome::NotDone => Fate::NotDone,
                        _ => Fate::Unknown,
                    }
                }
            };
            self.fates.insert(key, (append.clone(), fate));
        }
        errors
    }

    /// Everything acknowledged is there, and nothing else than what may be.
    fn check(&self, store: &DiskStore) {
        for room in ROOMS {
            let acked = self
                .fates
                .iter()
                .filter_map(|((of, id), (_, fate))| match fate {
                    Fate::Acked(position) if of == room => Some((id, *position)),
                    _ => None,
                });
            let acked: HashMap<&String, Position> = acked.collect();
            let Some(span) = store.span(room) else {
                assert!(acked.is_empty(), "{room} is gone");
                continue;
            };
            let Some(records) = read_all(store, room) else {
                return;
            };
            assert_eq!(records.len() as u64, span.next - span.first);
            let mut ids = HashSet::new();
            for (offset, record) in (span.first..).zip(&records) {
                assert_eq!(record.offset, offset, "{room}");
                assert!(ids.insert(&record.id), "{room}: {} twice", record.id);
                let key = (room.to_owned(), record.id.clone());
                let (append, fate) = self.fates.get(&key).expect("nobody made it up");
                assert_eq!(record.data, append.data, "{room} {offset}");
                assert_eq!(record.at_ms, append.at_ms, "{room} {offset}");
                assert_ne!(*fate, Fate::NotDone, "{room} {offset}");
            }
            for (id, position) in acked {
                if position.epoch != span.epoch {
                    assert!(self.resets.contains(room), "{room} has another epoch");
                } else if position.offset >= span.first {
                    let index = (position.offset - span.first) as usize;
                    let record = records.get(index);
                    assert_eq!(record.map(|record| &record.id), Some(id), "{room}: lost");
                } else {
                    let held = span.next - position.offset;
                    assert!(held > window(room).records, "{room}: {id} left too early");
                }
            }
        }
    }
}

/// All records of a room; `None` when the machine is down. A read may fail as any other call, but only once.
fn read_all(store: &DiskStore, room: &str) -> Option<Vec<Record>> {
    let limit = PageLimit {
        records: 1000,
        bytes: 1 << 20,
    };
    for _ in 0..2 {
        match store.read(room, None, limit) {
            Ok(page) => {
                assert!(!page.more);
                return Some(page.records);
            }
            Err(error) => assert_eq!(error.code(), "read_failed"),
        }
    }
    None
}

struct Run {
    disk: MemoryDisk,
    mode: Mode,
    opened: u64,
    publisher: Publisher,
    /// Codes of what failed.
    codes: HashSet<&'static str>,
}

impl Run {
    fn new(mode: Mode) -> Self {
        Self {
            disk: MemoryDisk::new(),
            mode,
            opened: 0,
            publisher: Publisher::default(),
            codes: HashSet::new(),
        }
    }

    fn open(&mut self) -> Option<(DiskStore, OpenReport)> {
        self.opened += 1;
        let settings = Settings {
            limits: Limits {
                record_bytes_max: 2000,
                commit_bytes_max: 8 << 10,
                segment_bytes: 32 << 10,
                ..Limits::default()
            },
            mode: self.mode,
            seed: self.opened,
        };
        match DiskStore::open(Arc::new(self.disk.clone()), settings) {
            Ok(opened) => Some(opened),
            Err(error) => {
                assert_ne!(error.code(), "damaged", "{error}");
                self.codes.insert(error.code());
                None
            }
        }
    }

    /// Opens it as an operator does: again, when it fails.
    fn insist(&mut self) -> Option<DiskStore> {
        for _ in 0..3 {
            if let Some((store, _)) = self.open() {
                return Some(store);
            }
            self.disk.free_space();
            if self.disk.is_down() {
                return None;
            }
        }
        panic!("it does not open");
    }

    /// The script, until it ends or the machine stops.
    fn script(&mut self) -> Option<DiskStore> {
        let mut store = self.insist()?;
        for turn in 0..TURNS {
            let errors = self.turn(&store, turn);
            let is_stopped = store.health().stopped.is_some();
            for error in &errors {
                self.codes.insert(error.code());
            }
            if !errors.is_empty() {
                // Whatever happened to the appends, readers go on.
                if !self.disk.is_down() {
                    self.publisher.check_readable(&store);
                }
            }
            if self.disk.is_down() {
                return None;
            }
            if turn % 8 == 0 {
                self.disk.free_space();
            }
            if is_stopped || turn == TURNS / 2 {
                drop(store);
                store = self.insist()?;
                self.publisher.check(&store);
            }
        }
        self.disk.free_space();
        Some(store)
    }

    fn turn(&mut self, store: &DiskStore, turn: usize) -> Vec<AppendError> {
        let mut errors = Vec::new();
        let mut batch: Vec<Append> = (0..1 + turn % 3)
            .map(|number| {
                let room = match turn {
                    _ if turn % 25 == 7 => "quiet",
                    _ => ROOMS[(turn + number) % 3],
                };
                record(room, turn, number)
            })
            .collect();
        if turn % 4 == 3 {
            // A retry of something, whatever came of it.
            batch.push(record(ROOMS[(turn - 1) % 3], turn - 1, 0));
        }
        errors.extend(self.publisher.submit(store, &batch));
        if turn % 12 == 5 {
            errors.extend(store.trim(turn as u64).err());
        }
        if turn % 50 == 30 {
            self.publisher.resets.insert("reset".to_owned());
            errors.extend(store.reset("reset").err());
        }
        errors
    }
}

impl Publisher {
    fn check_readable(&self, store: &DiskStore) {
        for room in ROOMS {
            for record in read_all(store, room).unwrap_or_default() {
                let key = (room.to_owned(), record.id.clone());
                let (append, _) = self.fates.get(&key).expect("nobody made it up");
                assert_eq!(record.data, append.data);
            }
        }
    }
}

fn record(room: &str, turn: usize, number: usize) -> Append {
    let bytes = 100 + (turn * 379 + number * 101) % 1700;
    Append {
        room: room.to_owned(),
        id: format!("{turn}-{number}"),
        at_ms: turn as u64,
        data: vec![(turn + number) as u8; bytes].into(),
        window: window(room),
    }
}

/// Runs the script with one fault; then the power fails, and what is left is looked at.
fn run(call: u64, fault: Fault) -> HashSet<&'static str> {
    let mut run = Run::new(Mode::Synced);
    run.disk.fail_at(call, fault);
    let store = run.script();
    run.disk.restart(call);
    drop(store);

    let (store, _) = run.open().expect("it opens again");
    assert!(ROOMS.iter().all(|room| read_all(&store, room).is_some()));
    run.publisher.check(&store);
    // It goes on, and a retry of everything that is there changes nothing.
    let mut appends = Vec::new();
    for room in ROOMS {
        for record in read_all(&store, room).unwrap() {
            let (append, _) = &run.publisher.fates[&(room.to_owned(), record.id)];
            appends.push(append.clone());
        }
    }
    let before = store.health().records;
    let errors = run.publisher.submit(&store, &appends);
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(store.health().records, before);
    let errors = run.publisher.submit(&store, &[record("busy", 1000, 0)]);
    assert!(errors.is_empty(), "{errors:?}");
    run.publisher.check(&store);
    run.codes
}

/// How many calls the script makes when nothing fails.
fn calls() -> u64 {
    let mut run = Run::new(Mode::Synced);
    let store = run.script().unwrap();
    let calls = run.disk.calls();
    assert!(run.codes.is_empty(), "{:?}", run.codes);
    run.publisher.check(&store);
    drop(store);
    assert!(calls >= 500, "only {calls} calls");
    calls
}

fn every_call(fault: Fault, expected: &[&str]) {
    let mut codes = HashSet::new();
    for call in 1..=calls() {
        let result = std::panic::catch_unwind(|| run(call, fault));
        match result {
            Ok(seen) => codes.extend(seen),
            Err(_) => panic!("{fault:?} at call {call}"),
        }
    }
    for code in expected {
        assert!(
            codes.contains(code),
            "no {code} in {codes:?}: the faults did nothing"
        );
    }
}

#[test]
fn every_call_fails_once() {
    every_call(
        Fault::Error,
        &[
            "write_failed",
            "sync_failed",
            "stopped",
            "io",
            "read_failed",
        ],
    );
}

#[test]
fn every_call_finds_no_space() {
    every_call(Fault::NoSpace, &["no_space", "sync_failed"]);
}

#[test]
fn every_call_is_cut_short() {
    every_call(Fault::Short, &["sync_failed"]);
}

#[test]
fn the_disk_is_full_from_every_call_on() {
    every_call(Fault::Full, &["no_space"]);
}

#[test]
fn the_machine_stops_before_every_call() {
    every_call(Fault::CrashBefore, &["write_failed", "sync_failed"]);
}

#[test]
fn the_machine_stops_after_every_call() {
    every_call(Fault::CrashAfter, &["write_failed"]);
}
