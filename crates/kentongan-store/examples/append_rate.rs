//! How many records a second become durable, beside what the disk itself allows.
//!
//! `cargo run --release -p kentongan-store --example append_rate -- [FOLDER] [SECONDS]`. Both sides are run in turn, several
//! times, on the same disk: so many publishers, each with one record of 220 bytes on its way, acknowledged after
//! `fdatasync`. The bare side appends the same bytes to a plain file, with no index, no checksum and no ids. At the end,
//! the log is filled to 1 GiB and opened again.

use std::{
    error::Error,
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kentongan_store::{Append, DiskStore, Folder, GroupCommit, Mode, Settings, Store, Window};

const PUBLISHERS: usize = 100;
const RECORD_BYTES: usize = 220;
const ROUNDS: usize = 9;
const WINDOW: Window = Window {
    records: 1_000_000_000,
    age_ms: u64::MAX,
    bytes: u64::MAX,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments.next().map_or(Ok(1.0), |text| text.parse())?;
    let folder = folder.join(format!("append-rate-{}", std::process::id()));
    let time = Duration::from_secs_f64(seconds);
    println!(
        "{PUBLISHERS} publishers, {RECORD_BYTES} bytes a record, {seconds} s a run, in {}",
        folder.display()
    );

    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        fs::create_dir_all(&folder)?;
        let bare = bare(&folder, time)?;
        let durable = store(&folder.join("synced"), time, Mode::Synced)?;
        let early = store(&folder.join("written"), time, Mode::Written)?;
        fs::remove_dir_all(&folder)?;
        let ratio = durable / bare * 100.0;
        ratios.push(ratio);
        println!(
            "{round}: bare fdatasync {bare:.0}/s, store {durable:.0}/s ({ratio:.0} %), acknowledged early {early:.0}/s"
        );
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ROUNDS / 2).copied().unwrap_or_default();
    println!("median: {median:.0} % of bare fdatasync");
    restart(&folder)?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Acknowledged records a second when nothing is done but to write and to sync.
fn bare(folder: &Path, time: Duration) -> Result<f64, Box<dyn Error>> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("bare"))?;
    let (queue, waiting) = mpsc::channel::<(usize, mpsc::SyncSender<()>)>();
    let syncer = thread::spawn(move || -> std::io::Result<()> { sync_groups(&mut file, &waiting) });
    let acknowledged = publishers(time, |_publisher| {
        let queue = queue.clone();
        let (done, is_done) = mpsc::sync_channel(1);
        move || {
            queue.send((RECORD_BYTES, done.clone()))?;
            Ok(is_done.recv()?)
        }
    })?;
    drop(queue);
    syncer
        .join()
        .map_err(|_| "the syncing thread has panicked")??;
    Ok(acknowledged)
}

fn sync_groups(
    file: &mut File,
    waiting: &mpsc::Receiver<(usize, mpsc::SyncSender<()>)>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut group = Vec::new();
    while let Ok(first) = waiting.recv() {
        bytes.clear();
        for (count, done) in std::iter::once(first).chain(waiting.try_iter()) {
            bytes.resize(bytes.len() + count, b'x');
            group.push(done);
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        for done in group.drain(..) {
            // A publisher that is done does not listen.
            let _ = done.send(());
        }
    }
    Ok(())
}

fn store(folder: &Path, time: Duration, mode: Mode) -> Result<f64, Box<dyn Error>> {
    let settings = Settings {
        mode,
        seed: 1,
        ..Settings::default()
    };
    let (store, _) = DiskStore::open(Arc::new(Folder::open(folder)?), settings)?;
    let sync_every = (mode == Mode::Written).then_some(Duration::from_millis(100));
    let group_commit = &Arc::new(GroupCommit::start(Arc::new(store), sync_every)?);
    publishers(time, |publisher| {
        let group_commit = Arc::clone(group_commit);
        let room = format!("room-{publisher}");
        let data = Bytes::from(vec![b'x'; RECORD_BYTES]);
        let mut number = 0_u64;
        let (tx, rx) = mpsc::sync_channel(1);
        move || {
            number += 1;
            let append = Append {
                room: room.clone(),
                id: format!("{number:016x}"),
                at_ms: number,
                data: data.clone(),
                window: WINDOW,
            };
            let tx = tx.clone();
            group_commit.submit(append, move |result| {
                // The publisher waits for it.
                let _ = tx.send(result);
            })?;
            rx.recv()??;
            Ok(())
        }
    })
}

/// Runs the publishers for a time; says how many of their calls returned, a second.
fn publishers<F>(time: Duration, make: impl Fn(usize) -> F) -> Result<f64, Box<dyn Error>>
where
    F: FnMut() -> Result<(), Box<dyn Error>> + Send,
{
    let is_over = &AtomicBool::new(false);
    let began = Instant::now();
    let total = thread::scope(|scope| -> Result<u64, Box<dyn Error>> {
        let threads: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let mut publish = make(publisher);
                scope.spawn(move || {
                    let mut count = 0_u64;
                    while !is_over.load(Ordering::Relaxed) {
                        publish().map_err(|error| error.to_string())?;
                        count += 1;
                    }
                    Ok::<u64, String>(count)
                })
            })
            .collect();
        thread::sleep(time);
        is_over.store(true, Ordering::Relaxed);
        let mut total = 0;
        for thread in threads {
            total += thread.join().map_err(|_| "a publisher has panicked")??;
        }
        Ok(total)
    })?;
    Ok(total as f64 / began.elapsed().as_secs_f64())
}

/// Fills a log to 1 GiB and opens it again.
fn restart(folder: &Path) -> Result<(), Box<dyn Error>> {
    let open = || -> Result<_, Box<dyn Error>> {
        let settings = Settings {
            mode: Mode::Written,
            seed: 1,
            ..Settings::default()
        };
        Ok(DiskStore::open(Arc::new(Folder::open(folder)?), settings)?)
    };
    let (store, _) = open()?;
    let data = Bytes::from(vec![b'x'; RECORD_BYTES]);
    let mut number = 0_u64;
    while store.health().disk_bytes < 1 << 30 {
        let batch: Vec<Append> = (0..1000)
            .map(|publisher| Append {
                room: format!("room-{publisher}"),
                id: format!("{number:016x}"),
                at_ms: number,
                data: data.clone(),
                window: WINDOW,
            })
            .collect();
        for outcome in store.append(&batch) {
            outcome?;
        }
        number += 1;
    }
    store.close()?;
    let began = Instant::now();
    let (_store, report) = open()?;
    let took = began.elapsed().as_secs_f64();
    let gib = report.bytes as f64 / f64::from(1 << 30);
    let bytes = report.bytes as f64 / report.records as f64;
    println!(
        "restart: {gib:.2} GiB with {} records in {} rooms in {took:.2} s ({:.2} s/GiB), {bytes:.0} bytes on disk a record",
        report.records,
        report.rooms,
        took / gib
    );
    Ok(())
}
