//! [`DiskStore`]: the contract, on a log.
//!
//! Appends, resets and trims hold the writing end; readers look into the index and then read the files, so that they wait
//! for no disk but their own. The index changes only after what it says is safe.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};

use super::{
    entry::{Acknowledged, Entry, RecordEntry, RoomEntry},
    frame::Group,
    head::{Commit, Head},
    index::{self, Index, Place, Source},
    replay::{self, Replayed},
    report::{OpenReport, WitnessReport},
    segment::{self, Segment, WriteFault},
    witness::{Testimony, Witness},
};
use crate::{
    contract::{Health, Store},
    disk::Disk,
    error::{AppendError, OpenError, Outcome, ReadError},
    limits::{self, Limits},
    page,
    position::{Epochs, Position, Span},
    record::{Ack, Append, Durability, Page, PageLimit},
    rooms::{Plan, Room, Step},
};

const LOCK: &str = "lock";
/// Bytes of a segment that records leave free, so that a log on a full disk can still give space back.
const RESERVE: u32 = 4096;
/// Two records of a room are read together when no more than this lies between them.
const READ_GAP: u32 = 4096;
/// Most bytes of one such read.
const READ_RUN: u32 = 1 << 20;

/// How a [`DiskStore`] is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What it takes and holds.
    pub limits: Limits,
    /// When it acknowledges.
    pub mode: Mode,
    /// Makes epochs. Take it from a good source of chance at every start, so that no two lives of a room have the same.
    pub seed: u64,
}

/// When a [`DiskStore`] acknowledges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// When `fdatasync` has returned: [`Durability::Disk`].
    #[default]
    Synced,
    /// When the system has taken the record: [`Durability::Cache`]. If the store is then not closed
    /// in good order, every room begins a new epoch at the next start, since nobody can know what the machine lost.
    Written,
}

/// Keeps logs in a folder.
#[derive(Debug)]
pub struct DiskStore {
    disk: Arc<dyn Disk>,
    limits: Limits,
    mode: Mode,
    head: Mutex<Writing>,
    index: RwLock<Index>,
    stopped: Arc<Mutex<Option<String>>>,
    is_full: AtomicBool,
    damage: Mutex<Option<String>>,
    /// Released last.
    _lock: Box<dyn std::fmt::Debug + Send + Sync>,
}

#[derive(Debug)]
struct Writing {
    head: Head,
    /// Whether the log says how records are acknowledged in this life of the store.
    is_opened: bool,
}

impl DiskStore {
    /// Opens the log in a folder, or begins one. Says what it found.
    ///
    /// # Errors
    /// `locked` when another store has the folder; `damaged` when something that was acknowledged cannot be read any more
    /// (nothing is changed then); and what the disk says.
    pub fn open(disk: Arc<dyn Disk>, settings: Settings) -> Result<(Self, OpenReport), OpenError> {
        let Settings { limits, mode, seed } = settings;
        limits.check()?;
        if u64::from(RESERVE) > u64::from(limits.segment_bytes) / 8 {
            return Err(OpenError::Limits {
                what: "segment_bytes is at least 32 KiB",
            });
        }
        let lock = disk.lock(LOCK).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked,
            _ => failed("locking the folder", error),
        })?;
        let names = disk
            .list()
            .map_err(|error| failed("listing the folder", error))?;
        if names.iter().any(|name| name == segment::UNFINISHED) {
            disk.remove(segment::UNFINISHED)
                .map_err(|error| failed("removing an unfinished segment", error))?;
        }
        let (witness, testimony) = Witness::open(&*disk, &names)
            .map_err(|error| failed("reading the file `head`", error))?;
        let claim = match testimony {
            Testimony::Claim(claim) => Some(claim),
            Testimony::Missing | Testimony::Damaged => None,
        };
        let mut report = OpenReport::default();
        let replayed = replay::replay(&*disk, &names, claim, &limits, &mut report)?;
        report.witness = match testimony {
            Testimony::Damaged => WitnessReport::Damaged,
            Testimony::Missing if replayed.head.is_some() => WitnessReport::Missing,
            Testimony::Missing | Testimony::Claim(_) => WitnessReport::Agrees,
        };

        // A segment may have got its name without that being safe; before anything is written to it, it has to be.
        disk.sync()
            .map_err(|error| failed("syncing the folder", error))?;

        let Replayed {
            mut index,
            head,
            commit,
            may_have_lost,
            acknowledged,
        } = replayed;
        let mut epochs = Epochs::new(seed);
        let segment = match head {
            Some(segment) => segment,
            None => first_segment(&*disk, limits.segment_bytes, &mut epochs, &mut index)?,
        };
        let head = Head::new(Arc::clone(&disk), witness, segment, commit, epochs);
        let store = Self {
            stopped: head.stopped(),
            head: Mutex::new(Writing {
                head,
                is_opened: mode == Mode::Synced && acknowledged == Acknowledged::Synced,
            }),
            disk,
            limits,
            mode,
            index: RwLock::new(index),
            is_full: AtomicBool::new(false),
            damage: Mutex::new(None),
            _lock: lock,
        };
        store.settle(may_have_lost, &mut report)?;
        Ok((store, report))
    }

    /// Syncs, and says in the log that all is safe. Dropping the store does the same, but cannot say whether it worked.
    ///
    /// # Errors
    /// When the sync failed.
    pub fn close(self) -> Result<(), AppendError> {
        self.finish()
    }

    /// What is to be written at start: what was found becomes safe, and rooms that may have lost records get new epochs.
    fn settle(&self, may_have_lost: bool, report: &mut OpenReport) -> Result<(), OpenError> {
        let writing = &mut *self.head.lock();
        // What was read may be in the system's memory alone.
        writing.head.sync()?;
        if may_have_lost {
            self.renew(writing)?;
        }
        let index = self.index.read();
        report.has_new_epochs = may_have_lost;
        report.rooms = index.rooms.len();
        report.records = index.rooms.records();
        Ok(())
    }

    fn renew(&self, writing: &mut Writing) -> Result<(), AppendError> {
        let mut renewed = Vec::new();
        for (name, room) in self.index.read().rooms.iter() {
            let mut span = room.span();
            span.epoch = writing.head.epochs.make(Some(span.epoch));
            renewed.push((Arc::clone(name), span));
        }
        self.describe(writing, &renewed, &[Entry::Closed])?;
        let index = &mut *self.index.write();
        for (name, span) in renewed {
            index.rooms.restore(&name, |room| room.epoch = span.epoch);
        }
        Ok(())
    }

    /// Writes what these rooms are, then these entries; all of it is synced.
    fn describe(
        &self,
        writing: &mut Writing,
        rooms: &[(Arc<str>, Span)],
        entries: &[Entry<'_>],
    ) -> Result<(), AppendError> {
        let each = limits::APPEND_OVERHEAD + self.limits.room_bytes_max;
        let at_once = (self.limits.commit_bytes_max / each).max(2) - 1;
        let mut rest = rooms;
        loop {
            let (now, later) = rest.split_at(rest.len().min(at_once));
            let bytes = now
                .iter()
                .map(|(name, _)| name.len() + limits::APPEND_OVERHEAD);
            let bytes = bytes.sum::<usize>() + limits::APPEND_OVERHEAD;
            if !writing.head.fits(bytes, 0) {
                self.rotate(writing)?;
            }
            let mut group = writing.head.group();
            let described_in = writing.head.segment().number;
            {
                let index = self.index.read();
                for (name, span) in now {
                    if let Some(room) = index.rooms.room(name) {
                        push_room(&mut group, name, *span, room);
                    }
                }
            }
            if later.is_empty() {
                for entry in entries {
                    group.push(|out| entry.encode(out));
                }
            }
            writing.head.write(&group, Commit::Synced)?;
            let index = &mut *self.index.write();
            for (name, _) in now {
                index
                    .rooms
                    .restore(name, |room| room.described_in = described_in);
            }
            if later.is_empty() {
                return Ok(());
            }
            rest = later;
        }
    }

    fn append_group(
        &self,
        writing: &mut Writing,
        batch: &[Append],
    ) -> Vec<Result<Ack, AppendError>> {
        let plan = {
            let index = self.index.read();
            let Index { rooms, sources } = &*index;
            let epochs = &mut writing.head.epochs;
            rooms.plan(batch, &self.limits, epochs, |place, append| {
                self.is_same(sources, *place, append)
            })
        };
        let written = if plan.appends() {
            self.write_plan(writing, &plan, batch)
        } else {
            Ok(())
        };
        if plan.appends() {
            let is_full = matches!(written, Err(AppendError::NoSpace { .. }));
            self.is_full.store(is_full, Ordering::Relaxed);
        }
        let durability = match self.mode {
            Mode::Synced => Durability::Disk,
            Mode::Written => Durability::Cache,
        };
        plan.outcomes(batch, durability, written.err().as_ref())
    }

    fn write_plan(
        &self,
        writing: &mut Writing,
        plan: &Plan,
        batch: &[Append],
    ) -> Result<(), AppendError> {
        let bytes = batch.iter().map(limits::commit_bytes).sum();
        if !writing.head.fits(bytes, RESERVE) {
            // Space may be there for the taking. Should that fail, the new segment fails for the same reason.
            let _ = self.drop_segments(writing);
            if !writing.head.fits(bytes, RESERVE) {
                self.rotate(writing)?;
            }
        }
        let mut group = writing.head.group();
        let segment = writing.head.segment().number;
        if !writing.is_opened {
            let acknowledged = match self.mode {
                Mode::Synced => Acknowledged::Synced,
                Mode::Written => Acknowledged::Written,
            };
            group.push(|out| Entry::Opened(acknowledged).encode(out));
        }
        let described = self.push_rooms(&mut group, plan, segment);
        let places = push_records(&mut group, plan, batch, segment);
        let commit = match self.mode {
            Mode::Synced => Commit::Synced,
            Mode::Written => Commit::Written,
        };
        writing.head.write(&group, commit)?;

        writing.is_opened = true;
        let Index { rooms, sources } = &mut *self.index.write();
        if let Some(source) = sources.get_mut(&segment) {
            source.live += places.len() as u64;
        }
        let mut places = places.into_iter();
        let nowhere = Place {
            segment,
            at: 0,
            bytes: 0,
        };
        rooms.apply(
            plan,
            batch,
            &self.limits,
            |_index| places.next().unwrap_or(nowhere),
            |place| index::release(sources, place),
        );
        for room in described {
            if let Some(target) = plan.rooms.get(room) {
                rooms.restore(&target.name, |room| room.described_in = segment);
            }
        }
        Ok(())
    }

    /// Describes the rooms of a plan that this segment does not know, or not as they are now; says which.
    fn push_rooms(&self, group: &mut Group, plan: &Plan, segment: u32) -> Vec<usize> {
        let index = self.index.read();
        let mut described = Vec::new();
        for (number, target) in plan.rooms.iter().enumerate() {
            let known = index.rooms.room(&target.name);
            if !target.is_changed && known.is_some_and(|room| room.described_in == segment) {
                continue;
            }
            described.push(number);
            let entry = Entry::Room(RoomEntry {
                number: target.number,
                epoch: target.epoch,
                first: target.first,
                next: target.next,
                window: target.window,
                last_at_ms: known.map_or(target.last_at_ms, |room| room.last_at_ms),
                name: &target.name,
            });
            group.push(|out| entry.encode(out));
        }
        described
    }

    /// Whether the record at a place has this id and this data.
    fn is_same(
        &self,
        sources: &BTreeMap<u32, Source>,
        place: Place,
        append: &Append,
    ) -> Result<Option<bool>, AppendError> {
        let Some(source) = sources.get(&place.segment) else {
            return Ok(None);
        };
        let record = index::read_any(source, place).inspect_err(|error| self.note(error))?;
        Ok((record.id == append.id).then(|| record.data == append.data))
    }

    fn rotate(&self, writing: &mut Writing) -> Result<(), AppendError> {
        let bytes = self.limits.segment_bytes;
        if self.index.read().disk_bytes() + u64::from(bytes) > self.limits.log_bytes_max {
            return Err(AppendError::NoSpace {
                outcome: Outcome::NotDone,
            });
        }
        let segment = writing.head.rotate(bytes)?;
        self.index.write().add(&segment);
        Ok(())
    }

    /// Removes the oldest segments that hold nothing any more. First the log says so, on stable storage, and once more
    /// what the rooms are that only they described.
    fn drop_segments(&self, writing: &mut Writing) -> Result<(), AppendError> {
        let head = writing.head.segment().number;
        let mut rooms = Vec::new();
        let through = {
            let index = self.index.read();
            let Some(through) = index.droppable(head) else {
                return Ok(());
            };
            for (name, room) in index.rooms.iter() {
                if room.described_in <= through {
                    rooms.push((Arc::clone(name), room.span()));
                }
            }
            through
        };
        self.describe(writing, &rooms, &[Entry::Dropped { through }])?;
        let index = &mut *self.index.write();
        let kept = index.sources.split_off(&(through + 1));
        for number in std::mem::replace(&mut index.sources, kept).into_keys() {
            // Should it stay, the next start removes it.
            let _ = self.disk.remove(&segment::name(number));
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), AppendError> {
        let writing = &mut *self.head.lock();
        writing.head.sync()?;
        if self.mode == Mode::Written && writing.is_opened {
            let mut group = writing.head.group();
            group.push(|out| Entry::Closed.encode(out));
            if writing.head.fits(group.bytes.len(), 0) {
                writing.head.write(&group, Commit::Synced)?;
            }
            writing.is_opened = false;
        }
        Ok(())
    }

    fn note(&self, error: &ReadError) {
        if matches!(error, ReadError::Damaged { .. }) {
            self.damage.lock().get_or_insert_with(|| error.to_string());
        }
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`.
        let _ = self.finish();
    }
}

impl Store for DiskStore {
    fn append(&self, batch: &[Append]) -> Vec<Result<Ack, AppendError>> {
        let writing = &mut *self.head.lock();
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut rest = batch;
        while !rest.is_empty() {
            let mut bytes = 0_usize;
            let fitting = rest.iter().take_while(|append| {
                bytes = bytes.saturating_add(limits::commit_bytes(append));
                bytes <= self.limits.commit_bytes_max
            });
            // One that is larger alone is over the limits, and refused as such.
            let (group, later) = rest.split_at(fitting.count().max(1));
            outcomes.extend(self.append_group(writing, group));
            rest = later;
        }
        outcomes
    }

    fn read(
        &self,
        room: &str,
        since: Option<Position>,
        limit: PageLimit,
    ) -> Result<Page, ReadError> {
        let (mut page, places, sources) = {
            let index = self.index.read();
            let Some(room) = index.rooms.room(room) else {
                return Ok(page::of_unknown_room(since));
            };
            let (recovery, after) = page::start(room.span(), since);
            let limit = self.limits.page(limit);
            let (places, more) = room.page(after, limit, |offset, _at_ms, place| (offset, *place));
            let mut sources = BTreeMap::new();
            for (_, place) in &places {
                if let Some(source) = index.sources.get(&place.segment) {
                    sources
                        .entry(place.segment)
                        .or_insert_with(|| source.clone());
                }
            }
            let page = Page {
                span: Some(room.span()),
                recovery,
                records: Vec::with_capacity(places.len()),
                more,
            };
            (page, places, sources)
        };
        for run in places.chunk_by(|(_, one), (_, two)| {
            one.segment == two.segment && two.at - (one.at + one.bytes) <= READ_GAP
        }) {
            for run in split(run) {
                let source = run
                    .first()
                    .and_then(|(_, place)| sources.get(&place.segment));
                if let Some(source) = source {
                    index::read_run(source, run, &mut page.records)
                        .inspect_err(|error| self.note(error))?;
                }
            }
        }
        Ok(page)
    }

    fn span(&self, room: &str) -> Option<Span> {
        self.index.read().rooms.span(room)
    }

    fn reset(&self, room: &str) -> Result<Option<Span>, AppendError> {
        let writing = &mut *self.head.lock();
        let Some(mut span) = self.index.read().rooms.span(room) else {
            return Ok(None);
        };
        span.epoch = writing.head.epochs.make(Some(span.epoch));
        span.first = 1;
        span.next = 1;
        self.describe(writing, &[(Arc::from(room), span)], &[])?;
        let Index { rooms, sources } = &mut *self.index.write();
        rooms.reset(room, span.epoch, |place| index::release(sources, place));
        Ok(Some(span))
    }

    fn trim(&self, now_ms: u64) -> Result<(), AppendError> {
        let writing = &mut *self.head.lock();
        {
            let Index { rooms, sources } = &mut *self.index.write();
            rooms.trim(now_ms, self.limits.room_idle_ms, |place| {
                index::release(sources, place);
            });
        }
        self.drop_segments(writing)
    }

    fn sync(&self) -> Result<(), AppendError> {
        self.head.lock().head.sync()
    }

    fn health(&self) -> Health {
        let index = self.index.read();
        Health {
            rooms: index.rooms.len(),
            records: index.rooms.records(),
            disk_bytes: index.disk_bytes(),
            stopped: self.stopped.lock().clone(),
            is_full: self.is_full.load(Ordering::Relaxed),
            damage: self.damage.lock().clone(),
        }
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// Cuts a run into reads of bounded length.
fn split(mut run: &[(u64, Place)]) -> impl Iterator<Item = &[(u64, Place)]> {
    std::iter::from_fn(move || {
        let (_, first) = run.first()?;
        let begin = first.at;
        let fitting = run
            .iter()
            .take_while(|(_, place)| place.at + place.bytes - begin <= READ_RUN);
        let (now, later) = run.split_at(fitting.count().max(1));
        run = later;
        Some(now)
    })
}

fn first_segment(
    disk: &dyn Disk,
    bytes: u32,
    epochs: &mut Epochs,
    index: &mut Index,
) -> Result<Segment, OpenError> {
    let segment =
        Segment::create(disk, 1, bytes, None, epochs.make(None).number()).map_err(|fault| {
            match fault {
                WriteFault::Write(_, error) | WriteFault::Sync(error) => {
                    failed("making the first segment", error)
                }
            }
        })?;
    index.add(&segment);
    Ok(segment)
}

fn push_room(group: &mut Group, name: &str, span: Span, room: &Room<Place>) {
    let entry = Entry::Room(RoomEntry {
        number: room.number,
        epoch: span.epoch,
        first: span.first,
        next: span.next,
        window: room.window,
        last_at_ms: room.last_at_ms,
        name,
    });
    group.push(|out| entry.encode(out));
}

/// Adds the records of a plan; says where each will be, in order.
fn push_records(group: &mut Group, plan: &Plan, batch: &[Append], segment: u32) -> Vec<Place> {
    let mut places = Vec::with_capacity(batch.len());
    for (step, append) in plan.steps.iter().zip(batch) {
        let Step::Append { room, offset, .. } = step else {
            continue;
        };
        let Some(room) = plan.rooms.get(*room) else {
            continue;
        };
        let entry = Entry::Record(RecordEntry {
            room: room.number,
            offset: *offset,
            at_ms: append.at_ms,
            id: &append.id,
            data: &append.data,
        });
        let (at, bytes) = group.push(|out| entry.encode(out));
        places.push(Place { segment, at, bytes });
    }
    places
}

fn failed(what: &str, source: io::Error) -> OpenError {
    OpenError::Io {
        what: what.to_owned(),
        source,
    }
}
