//! Group commit: who waits together is written together, everyone is answered once, and the queue is bounded.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use kentongan_store::{
    Ack, Append, AppendError, GroupCommit, Health, Limits, MemoryStore, Outcome, Page, PageLimit,
    Position, ReadError, Span, Store,
};
use kentongan_testkit::store_suite::append;

/// A store whose groups are let through one by one, by whoever holds the other ends.
struct Gate {
    inner: MemoryStore,
    /// The size of each group, when it has come.
    came: mpsc::Sender<usize>,
    /// Whether the group is written, or the store panics.
    go: Mutex<mpsc::Receiver<bool>>,
    synced: mpsc::Sender<()>,
}

impl Store for Gate {
    fn append(&self, batch: &[Append]) -> Vec<Result<Ack, AppendError>> {
        self.came.send(batch.len()).unwrap();
        assert!(self.go.lock().unwrap().recv().unwrap(), "a planted panic");
        self.inner.append(batch)
    }

    fn read(
        &self,
        room: &str,
        since: Option<Position>,
        limit: PageLimit,
    ) -> Result<Page, ReadError> {
        self.inner.read(room, since, limit)
    }

    fn span(&self, room: &str) -> Option<Span> {
        self.inner.span(room)
    }

    fn reset(&self, room: &str) -> Result<Option<Span>, AppendError> {
        self.inner.reset(room)
    }

    fn trim(&self, now_ms: u64) -> Result<(), AppendError> {
        self.inner.trim(now_ms)
    }

    fn sync(&self) -> Result<(), AppendError> {
        // At the end nobody may listen any more.
        let _ = self.synced.send(());
        self.inner.sync()
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn limits(&self) -> &Limits {
        self.inner.limits()
    }
}

struct Fixture {
    group_commit: GroupCommit,
    came: mpsc::Receiver<usize>,
    go: mpsc::Sender<bool>,
    synced: mpsc::Receiver<()>,
    answers: mpsc::Receiver<Result<u64, AppendError>>,
    answer: mpsc::Sender<Result<u64, AppendError>>,
}

impl Fixture {
    fn new(limits: Limits, sync_every: Option<Duration>) -> Self {
        let (came_tx, came) = mpsc::channel();
        let (go, go_rx) = mpsc::channel();
        let (synced_tx, synced) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let store = Arc::new(Gate {
            inner: MemoryStore::new(limits, 1).unwrap(),
            came: came_tx,
            go: Mutex::new(go_rx),
            synced: synced_tx,
        });
        Self {
            group_commit: GroupCommit::start(store, sync_every).unwrap(),
            came,
            go,
            synced,
            answers,
            answer,
        }
    }

    fn submit(&self, data: &str) -> Result<(), AppendError> {
        let answer = self.answer.clone();
        let append = append("a", "", data.to_owned());
        self.group_commit.submit(append, move |result| {
            // A test that has failed does not listen.
            let _ = answer.send(result.map(|ack| ack.position.offset));
        })
    }

    /// Submits one, and waits until it is on its way.
    fn occupy(&self) {
        self.submit("first").unwrap();
        assert_eq!(self.came.recv().unwrap(), 1);
    }
}

#[test]
fn who_waits_together_is_written_together() {
    let fixture = Fixture::new(Limits::default(), None);
    fixture.occupy();
    for _ in 0..50 {
        fixture.submit("x").unwrap();
    }
    fixture.go.send(true).unwrap();
    assert_eq!(fixture.came.recv().unwrap(), 50);
    fixture.go.send(true).unwrap();
    for offset in 1..=51 {
        assert_eq!(fixture.answers.recv().unwrap().unwrap(), offset);
    }
    assert!(fixture.answers.try_recv().is_err(), "each is answered once");
}

#[test]
fn the_queue_is_bounded() {
    let by_count = Limits {
        queue_appends_max: 3,
        ..Limits::default()
    };
    // "a" and "x" are 2 bytes.
    let by_bytes = Limits {
        queue_bytes_max: 6,
        ..Limits::default()
    };
    for limits in [by_count, by_bytes] {
        let fixture = Fixture::new(limits, None);
        fixture.occupy();
        for _ in 0..3 {
            fixture.submit("x").unwrap();
        }
        let error = fixture.submit("x").unwrap_err();
        assert_eq!(
            (error.code(), error.outcome()),
            ("queue_full", Outcome::NotDone)
        );
        fixture.go.send(true).unwrap();
        assert_eq!(fixture.came.recv().unwrap(), 3);
        fixture.submit("x").unwrap();
        fixture.go.send(true).unwrap();
        fixture.go.send(true).unwrap();
        assert_eq!(fixture.came.recv().unwrap(), 1);
    }
}

#[test]
fn dropping_it_finishes_what_waits() {
    let fixture = Fixture::new(Limits::default(), None);
    fixture.occupy();
    for _ in 0..5 {
        fixture.submit("x").unwrap();
    }
    fixture.go.send(true).unwrap();
    fixture.go.send(true).unwrap();
    drop(fixture.group_commit);
    assert_eq!(fixture.answers.try_iter().filter(Result::is_ok).count(), 6);
    assert!(
        fixture.synced.try_recv().is_ok(),
        "what was written is synced at the end"
    );
}

#[test]
fn a_panic_answers_all_and_closes() {
    let fixture = Fixture::new(Limits::default(), None);
    fixture.occupy();
    fixture.submit("waits").unwrap();
    fixture.go.send(false).unwrap();
    for _ in 0..2 {
        let error = fixture.answers.recv().unwrap().unwrap_err();
        assert_eq!(
            (error.code(), error.outcome()),
            ("closed", Outcome::Unknown)
        );
    }
    let error = fixture.submit("too late").unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        ("closed", Outcome::NotDone)
    );
    assert!(fixture.answers.try_recv().is_err(), "each is answered once");
}

#[test]
fn early_acknowledgements_are_synced_soon() {
    let fixture = Fixture::new(Limits::default(), Some(Duration::from_millis(1)));
    fixture.occupy();
    fixture.go.send(true).unwrap();
    // Without any further append.
    fixture
        .synced
        .recv_timeout(Duration::from_secs(30))
        .unwrap();
    // And once more, only after the next one.
    fixture.occupy();
    fixture.go.send(true).unwrap();
    fixture
        .synced
        .recv_timeout(Duration::from_secs(30))
        .unwrap();
}

#[test]
fn blocking_appends_are_answered() {
    let store = Arc::new(MemoryStore::new(Limits::default(), 1).unwrap());
    let group_commit = GroupCommit::start(store, None).unwrap();
    for offset in 1..=3 {
        let ack = group_commit.append(append("a", "", "x")).unwrap();
        assert_eq!(ack.position.offset, offset);
    }
    let refused = group_commit.append(append("", "", "x")).unwrap_err();
    assert_eq!(refused.code(), "room_name");
}
