//! Appends to a log in a folder for ever, and prints each acknowledgement: `acked <room> <epoch> <offset> <id>`.
//!
//! `cargo run -p kentongan-store --example append_acks -- FOLDER`. Kill it at any time and start it again: everything that
//! was printed is in the log. Says `locked` and ends when another process has the folder.

use std::{error::Error, io::Write as _, path::Path, process::ExitCode, sync::Arc, thread};

use kentongan_store::{
    Append, DiskStore, Folder, GroupCommit, Limits, OpenError, Settings, Window,
};

/// Publishers at a time, each with a room of its own.
const PUBLISHERS: usize = 4;
/// What each room keeps.
const WINDOW: Window = Window {
    records: 300,
    age_ms: u64::MAX,
    bytes: u64::MAX,
};

fn main() -> ExitCode {
    append(std::env::args().skip(1))
}

/// What `main` does; `tests/kill.rs` does it too.
pub(crate) fn append(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let (Some(folder), life) = (arguments.next(), arguments.next().unwrap_or_default()) else {
        eprintln!("usage: append_acks FOLDER [NAME OF THIS RUN]");
        return ExitCode::FAILURE;
    };
    match run(Path::new(&folder), &life) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path, life: &str) -> Result<(), Box<dyn Error>> {
    let settings = Settings {
        limits: Limits {
            record_bytes_max: 4000,
            commit_bytes_max: 16 << 10,
            segment_bytes: 128 << 10,
            ..Limits::default()
        },
        // Only to keep the example short: a server takes this from the system's source of chance.
        seed: u64::from(std::process::id()),
        ..Settings::default()
    };
    let store = match DiskStore::open(Arc::new(Folder::open(folder)?), settings) {
        Ok((store, report)) => {
            println!("opened {report:?}");
            Arc::new(store)
        }
        Err(OpenError::Locked) => return Err("locked".into()),
        Err(error) => return Err(error.into()),
    };
    let group_commit = GroupCommit::start(store, None)?;
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let group_commit = &group_commit;
            scope.spawn(move || {
                let room = format!("room-{publisher}");
                for number in 0_u64.. {
                    let id = format!("{life}-{number}");
                    let append = Append {
                        room: room.clone(),
                        data: id.repeat(1 + number as usize % 50).into(),
                        id: id.clone(),
                        at_ms: number,
                        window: WINDOW,
                    };
                    match group_commit.append(append) {
                        Ok(ack) => {
                            let position = ack.position;
                            let line = format!(
                                "acked {room} {} {} {id}\n",
                                position.epoch, position.offset
                            );
                            // Nobody listens any more: time to go.
                            if std::io::stdout().write_all(line.as_bytes()).is_err() {
                                return;
                            }
                        }
                        Err(error) => {
                            eprintln!("{}: {error}", error.code());
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(())
}
