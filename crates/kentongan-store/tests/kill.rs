//! A process that is killed while it appends, again and again; and a second process on the same folder.
//!
//! Without the usual harness: started with [`CHILD`], this program is the example `append_acks`, so that it finds its child
//! however the tests are run.
#![expect(clippy::unwrap_used, reason = "test code")]

#[path = "../examples/append_acks.rs"]
#[expect(dead_code, reason = "its own `main` is not called here")]
mod append_acks;

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    sync::Arc,
};

use kentongan_store::{DiskStore, Folder, OpenError, PageLimit, Settings, Store};

const KILLS: u64 = 20;
/// What `append_acks` lets a room keep.
const KEPT: u64 = 300;

/// The first argument of a child.
const CHILD: &str = "--child";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(CHILD) {
        return append_acks::append(arguments);
    }
    what_was_acknowledged_survives_every_kill();
    println!("what_was_acknowledged_survives_every_kill ... ok");
    a_second_process_is_refused();
    println!("a_second_process_is_refused ... ok");
    ExitCode::SUCCESS
}

fn child_command() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(CHILD);
    command
}

/// A child that does not outlive the test, however that ends.
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Mostly it is dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, life: &str) -> (Running, Lines<BufReader<ChildStdout>>) {
    let mut child = child_command()
        .arg(folder)
        .arg(life)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (Running(child), out.lines())
}

fn open(folder: &Path) -> Result<DiskStore, OpenError> {
    let disk = Arc::new(Folder::open(folder).unwrap());
    let settings = Settings {
        seed: 1,
        ..Settings::default()
    };
    DiskStore::open(disk, settings).map(|(store, _)| store)
}

/// What was acknowledged: room and offset to epoch and id.
type Acked = HashMap<(String, u64), (u64, String)>;

fn note(line: &str, acked: &mut Acked) -> bool {
    let parts: Vec<&str> = line.split_whitespace().collect();
    let ["acked", room, epoch, offset, id] = parts[..] else {
        return false;
    };
    let key = (room.to_owned(), offset.parse().unwrap());
    let value = (epoch.parse().unwrap(), id.to_owned());
    assert_eq!(
        acked.insert(key, value),
        None,
        "an offset was given twice: {line}"
    );
    true
}

fn check(store: &DiskStore, acked: &Acked) -> usize {
    let mut held = 0;
    for room in (0..4).map(|number| format!("room-{number}")) {
        let span = store.span(&room).unwrap();
        let limit = PageLimit {
            records: 1000,
            bytes: 1 << 22,
        };
        let page = store.read(&room, None, limit).unwrap();
        assert!(!page.more);
        assert!(span.next - span.first <= KEPT);
        assert_eq!(page.records.len() as u64, span.next - span.first);
        for ((_, offset), (epoch, id)) in acked.iter().filter(|((of, _), _)| *of == room) {
            assert_eq!(*epoch, span.epoch.number(), "{room}: another epoch");
            assert!(*offset < span.next, "{room}: {offset} is lost");
            if *offset < span.first {
                assert!(span.next - offset > KEPT, "{room}: {offset} left too early");
                continue;
            }
            let record = &page.records[(offset - span.first) as usize];
            assert_eq!((record.offset, &record.id), (*offset, id), "{room}");
            held += 1;
        }
    }
    held
}

fn what_was_acknowledged_survives_every_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acked = Acked::new();
    for kill in 0..KILLS {
        let (mut child, mut lines) = start(folder.path(), &kill.to_string());
        // Not after a time, but after so many acknowledgements; the process goes on until it dies.
        let enough = 5 + (kill * 37 % 90) as usize;
        let mut seen = 0;
        while seen < enough {
            let line = lines
                .next()
                .expect("it appends until it is killed")
                .unwrap();
            seen += usize::from(note(&line, &mut acked));
        }
        child.0.kill().unwrap();
        // What it still printed was acknowledged too. The last line may be cut.
        for line in lines.map_while(Result::ok) {
            if line.split_whitespace().count() == 5 && line.starts_with("acked ") {
                note(&line, &mut acked);
            }
        }
        child.kill();
        let store = open(folder.path()).unwrap();
        let held = check(&store, &acked);
        assert!(
            held >= enough.min(4 * KEPT as usize) / 2,
            "only {held} to look at"
        );
    }
    assert!(acked.len() >= 500, "only {} acknowledgements", acked.len());
}

fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut lines) = start(folder.path(), "first");
    assert!(lines.next().unwrap().unwrap().starts_with("opened"));

    let (mut second, mut lines) = start(folder.path(), "second");
    assert_eq!(lines.next().unwrap().unwrap(), "locked");
    assert!(!second.0.wait().unwrap().success());
    assert_eq!(open(folder.path()).unwrap_err().code(), "locked");

    first.kill();
    let store = open(folder.path()).unwrap();
    assert_eq!(
        open(folder.path()).unwrap_err().code(),
        "locked",
        "also within a process"
    );
    drop(store);
    open(folder.path()).unwrap();
}
