//! The bookkeeping of all rooms: epochs, offsets, windows, ids. What both stores do alike.
//!
//! A batch is first planned, which changes nothing; when its records are safe, the plan is applied. Must not know where
//! records are: a place `P` stands for that.

use std::{
    collections::{HashMap, VecDeque, hash_map::RandomState},
    hash::{BuildHasher, BuildHasherDefault, Hasher},
    sync::Arc,
};

use crate::{
    error::AppendError,
    limits::Limits,
    position::{Epoch, Epochs, Position, Span},
    record::{Ack, AckKind, Append, Durability, PageLimit, Window},
};

/// All rooms.
#[derive(Debug)]
pub(crate) struct Rooms<P> {
    by_name: HashMap<Arc<str>, Room<P>>,
    next_number: u32,
    records: u64,
    hasher: RandomState,
}

/// One room.
#[derive(Debug)]
pub(crate) struct Room<P> {
    /// Short for its name.
    pub(crate) number: u32,
    pub(crate) epoch: Epoch,
    pub(crate) next: u64,
    pub(crate) window: Window,
    /// `at_ms` of its newest record, or of the moment it was made.
    pub(crate) last_at_ms: u64,
    /// The segment of a log that last described this room; 0 when none has.
    pub(crate) described_in: u32,
    /// Invariant: dense; the last one has the offset `next - 1`.
    entries: VecDeque<Entry<P>>,
    bytes: u64,
    /// From the hash of an id to the offset of its record. Ids themselves would take several times the memory.
    ids: HashMap<u64, u64, BuildHasherDefault<Hashed>>,
    /// Ids of records before this offset are forgotten.
    ids_from: u64,
}

/// Takes a key as its own hash: hashes of ids are made with secret keys already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[derive(Debug)]
struct Entry<P> {
    at_ms: u64,
    /// 0 for a record without id.
    id_hash: u64,
    bytes: u32,
    place: P,
}

/// What a batch will come to, if it can be written.
pub(crate) struct Plan {
    /// One for each append.
    pub(crate) steps: Vec<Step>,
    /// The rooms that get records.
    pub(crate) rooms: Vec<Target>,
}

pub(crate) enum Step {
    Refuse(AppendError),
    /// The record is there.
    Duplicate(Position, u64),
    /// The same as an earlier append of this batch.
    Twin(usize),
    Append {
        /// In [`Plan::rooms`].
        room: usize,
        offset: u64,
        id_hash: u64,
    },
}

/// A room that gets records.
pub(crate) struct Target {
    pub(crate) name: Arc<str>,
    pub(crate) number: u32,
    pub(crate) epoch: Epoch,
    /// What it holds before the batch.
    pub(crate) first: u64,
    pub(crate) next: u64,
    pub(crate) window: Window,
    pub(crate) last_at_ms: u64,
    /// Whether the room is new, or its window another than before.
    pub(crate) is_changed: bool,
    is_new: bool,
    /// Offsets that this batch takes.
    taken: u64,
    /// From the hash of an id to the append of this batch that has it.
    twins: HashMap<u64, usize>,
}

impl Plan {
    /// Whether anything has to be written.
    pub(crate) fn appends(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Append { .. }))
    }

    /// The outcomes, once it is known whether the records are safe.
    pub(crate) fn outcomes(
        self,
        batch: &[Append],
        durability: Durability,
        failure: Option<&AppendError>,
    ) -> Vec<Result<Ack, AppendError>> {
        let ack = |position, at_ms, kind| Ack {
            position,
            at_ms,
            kind,
            durability,
        };
        let mut outcomes: Vec<Result<Ack, AppendError>> = Vec::with_capacity(self.steps.len());
        for (step, append) in self.steps.into_iter().zip(batch) {
            outcomes.push(match step {
                Step::Refuse(error) => Err(error),
                Step::Duplicate(position, at_ms) => Ok(ack(position, at_ms, AckKind::Duplicate)),
                Step::Twin(first) => outcomes[first].clone().map(|first| Ack {
                    kind: AckKind::Duplicate,
                    ..first
                }),
                Step::Append { room, offset, .. } => match failure {
                    Some(error) => Err(error.clone()),
                    None => {
                        let epoch = self.rooms[room].epoch;
                        let position = Position { epoch, offset };
                        Ok(ack(position, append.at_ms, AckKind::Appended))
                    }
                },
            });
        }
        outcomes
    }
}

/// Makes a [`Plan`].
struct Planner<'a, P, F> {
    rooms: &'a Rooms<P>,
    batch: &'a [Append],
    limits: &'a Limits,
    epochs: &'a mut Epochs,
    is_same: F,
    targets: HashMap<&'a str, usize>,
    plan: Plan,
}

impl<'a, P, F> Planner<'a, P, F>
where
    F: FnMut(&P, &Append) -> Result<Option<bool>, AppendError>,
{
    fn step(&mut self, append: &'a Append) -> Result<Step, AppendError> {
        check(append, self.limits)?;
        let id_hash = self.rooms.id_hash(&append.id);
        if let Some(room) = self.rooms.by_name.get(append.room.as_str())
            && let Some((offset, entry)) = room.with_id(id_hash, append)
        {
            match (self.is_same)(&entry.place, append)? {
                Some(true) => {
                    let epoch = room.epoch;
                    return Ok(Step::Duplicate(Position { epoch, offset }, entry.at_ms));
                }
                Some(false) => return Err(AppendError::IdReused { offset }),
                None => {}
            }
        }

        let room = self.target(append)?;
        if let Some(twin) = self.twin(room, id_hash, append)? {
            return Ok(Step::Twin(twin));
        }
        let index = self.plan.steps.len();
        let target = &mut self.plan.rooms[room];
        if id_hash != 0 {
            target.twins.insert(id_hash, index);
        }
        let offset = target.next + target.taken;
        target.taken += 1;
        Ok(Step::Append {
            room,
            offset,
            id_hash,
        })
    }

    /// The append of this batch with the same id.
    fn twin(
        &self,
        room: usize,
        id_hash: u64,
        append: &Append,
    ) -> Result<Option<usize>, AppendError> {
        let Some(&twin) = self.plan.rooms[room].twins.get(&id_hash) else {
            return Ok(None);
        };
        match self.plan.steps[twin] {
            Step::Append { offset, .. } if self.batch[twin].id == append.id => {
                if self.batch[twin].data == append.data {
                    Ok(Some(twin))
                } else {
                    Err(AppendError::IdReused { offset })
                }
            }
            _ => Ok(None),
        }
    }

    fn target(&mut self, append: &'a Append) -> Result<usize, AppendError> {
        if let Some(target) = self.targets.get(append.room.as_str()) {
            return Ok(*target);
        }
        let name: Arc<str> = Arc::from(append.room.as_str());
        let window = append.window;
        let target = match self.rooms.by_name.get(append.room.as_str()) {
            Some(room) => Target {
                name,
                number: room.number,
                epoch: room.epoch,
                first: room.first(),
                next: room.next,
                window,
                last_at_ms: append.at_ms,
                is_changed: room.window != window,
                is_new: false,
                taken: 0,
                twins: HashMap::new(),
            },
            None => self.new_target(name, append)?,
        };
        self.plan.rooms.push(target);
        let index = self.plan.rooms.len() - 1;
        self.targets.insert(append.room.as_str(), index);
        Ok(index)
    }

    fn new_target(&mut self, name: Arc<str>, append: &Append) -> Result<Target, AppendError> {
        let max = self.limits.rooms_max;
        let made = self.plan.rooms.iter().filter(|room| room.is_new).count();
        if self.rooms.by_name.len() + made >= max {
            return Err(AppendError::RoomsFull { max });
        }
        Ok(Target {
            name,
            number: self.rooms.next_number.wrapping_add(made as u32),
            epoch: self.epochs.make(None),
            first: 1,
            next: 1,
            window: append.window,
            last_at_ms: append.at_ms,
            is_changed: true,
            is_new: true,
            taken: 0,
            twins: HashMap::new(),
        })
    }
}

impl<P> Rooms<P> {
    pub(crate) fn new() -> Self {
        Self {
            by_name: HashMap::new(),
            next_number: 1,
            records: 0,
            hasher: RandomState::new(),
        }
    }

    /// Decides what each append comes to. `is_same` tells whether the record at a place has the append's id and data;
    /// `None` when it has another id.
    pub(crate) fn plan(
        &self,
        batch: &[Append],
        limits: &Limits,
        epochs: &mut Epochs,
        is_same: impl FnMut(&P, &Append) -> Result<Option<bool>, AppendError>,
    ) -> Plan {
        let mut planner = Planner {
            rooms: self,
            batch,
            limits,
            epochs,
            is_same,
            targets: HashMap::new(),
            plan: Plan {
                steps: Vec::with_capacity(batch.len()),
                rooms: Vec::new(),
            },
        };
        for append in batch {
            let step = planner.step(append).unwrap_or_else(Step::Refuse);
            planner.plan.steps.push(step);
        }
        planner.plan
    }

    /// Takes the records of a plan in; `place` says where that of each append is, `gone` is told of each that leaves.
    pub(crate) fn apply(
        &mut self,
        plan: &Plan,
        batch: &[Append],
        limits: &Limits,
        mut place: impl FnMut(usize) -> P,
        mut gone: impl FnMut(P),
    ) {
        for target in &plan.rooms {
            let room = self.by_name.entry(Arc::clone(&target.name));
            let room = room.or_insert_with(|| Room::new(target.number, target.epoch, target.next));
            room.window = target.window;
            self.next_number = self.next_number.max(target.number.wrapping_add(1));
        }
        for (index, (step, append)) in plan.steps.iter().zip(batch).enumerate() {
            let Step::Append { room, id_hash, .. } = step else {
                continue;
            };
            let Some(room) = self.by_name.get_mut(&plan.rooms[*room].name) else {
                continue;
            };
            room.push(
                append.at_ms,
                *id_hash,
                append.data.len() as u32,
                place(index),
            );
            self.records += 1;
            self.records -= room.apply_window(append.at_ms, &mut gone);
            room.forget_ids(limits.ids_max);
        }
    }

    /// Applies all ages, and forgets the rooms that have long been empty.
    pub(crate) fn trim(&mut self, now_ms: u64, idle_ms: u64, mut gone: impl FnMut(P)) {
        let mut trimmed = 0;
        self.by_name.retain(|_, room| {
            trimmed += room.apply_window(now_ms, &mut gone);
            !room.entries.is_empty() || now_ms <= room.last_at_ms.saturating_add(idle_ms)
        });
        self.records -= trimmed;
    }

    /// Begins a new epoch for a room and drops what it holds.
    pub(crate) fn reset(&mut self, name: &str, epoch: Epoch, mut gone: impl FnMut(P)) {
        if let Some(room) = self.by_name.get_mut(name) {
            self.records -= room.drop_before(room.next, &mut gone);
            room.ids.clear();
            room.ids_from = 1;
            room.next = 1;
            room.epoch = epoch;
        }
    }

    pub(crate) fn span(&self, name: &str) -> Option<Span> {
        self.by_name.get(name).map(Room::span)
    }

    pub(crate) fn room(&self, name: &str) -> Option<&Room<P>> {
        self.by_name.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Room<P>)> {
        self.by_name.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Never 0 for an id; 0 for none.
    pub(crate) fn id_hash(&self, id: &str) -> u64 {
        if id.is_empty() {
            0
        } else {
            self.hasher.hash_one(id).max(1)
        }
    }

    /// Puts a room in place as the log describes it.
    pub(crate) fn restore_room(&mut self, name: &Arc<str>, restored: Room<P>) {
        self.next_number = self.next_number.max(restored.number.wrapping_add(1));
        self.by_name.insert(Arc::clone(name), restored);
    }

    /// Takes a room out with all that it holds.
    pub(crate) fn remove(&mut self, name: &str, mut gone: impl FnMut(P)) {
        if let Some(mut room) = self.by_name.remove(name) {
            self.records -= room.drop_before(room.next, &mut gone);
        }
    }

    /// Changes a room that the log speaks of; records that leave it are counted.
    pub(crate) fn restore<T>(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Room<P>) -> T,
    ) -> Option<T> {
        let room = self.by_name.get_mut(name)?;
        let before = room.entries.len() as u64;
        let result = change(room);
        self.records = self.records - before + room.entries.len() as u64;
        Some(result)
    }
}

impl<P> Room<P> {
    pub(crate) fn new(number: u32, epoch: Epoch, next: u64) -> Self {
        Self {
            number,
            epoch,
            next,
            window: Window {
                records: u64::MAX,
                age_ms: u64::MAX,
                bytes: u64::MAX,
            },
            last_at_ms: 0,
            described_in: 0,
            entries: VecDeque::new(),
            bytes: 0,
            ids: HashMap::default(),
            ids_from: 1,
        }
    }

    pub(crate) fn first(&self) -> u64 {
        self.next - self.entries.len() as u64
    }

    pub(crate) fn span(&self) -> Span {
        Span {
            epoch: self.epoch,
            first: self.first(),
            next: self.next,
        }
    }

    /// The places of one page after `offset`, with offset and time; and whether there are more.
    pub(crate) fn page<T>(
        &self,
        offset: u64,
        limit: PageLimit,
        mut take: impl FnMut(u64, u64, &P) -> T,
    ) -> (Vec<T>, bool) {
        let first = self.first();
        let skip = (offset + 1).saturating_sub(first) as usize;
        let mut bytes = 0_usize;
        let mut taken = Vec::new();
        for (index, entry) in self.entries.iter().enumerate().skip(skip) {
            bytes = bytes.saturating_add(entry.bytes as usize);
            if taken.len() >= limit.records || bytes > limit.bytes && !taken.is_empty() {
                return (taken, true);
            }
            taken.push(take(first + index as u64, entry.at_ms, &entry.place));
        }
        (taken, false)
    }

    pub(crate) fn push(&mut self, at_ms: u64, id_hash: u64, bytes: u32, place: P) {
        if id_hash != 0 {
            self.ids.insert(id_hash, self.next);
        }
        self.entries.push_back(Entry {
            at_ms,
            id_hash,
            bytes,
            place,
        });
        self.bytes += u64::from(bytes);
        self.next += 1;
        self.last_at_ms = self.last_at_ms.max(at_ms);
    }

    /// Drops the records before an offset; says how many.
    pub(crate) fn drop_before(&mut self, offset: u64, gone: &mut impl FnMut(P)) -> u64 {
        let mut dropped = 0;
        while self.first() < offset && self.drop_oldest(gone) {
            dropped += 1;
        }
        dropped
    }

    /// Drops the oldest records as long as their places are such; says how many.
    pub(crate) fn drop_while(
        &mut self,
        is_such: impl Fn(&P) -> bool,
        gone: &mut impl FnMut(P),
    ) -> u64 {
        let mut dropped = 0;
        while self
            .entries
            .front()
            .is_some_and(|oldest| is_such(&oldest.place))
            && self.drop_oldest(gone)
        {
            dropped += 1;
        }
        dropped
    }

    /// Drops what is beyond the window; says how many.
    pub(crate) fn apply_window(&mut self, now_ms: u64, gone: &mut impl FnMut(P)) -> u64 {
        let mut dropped = 0;
        while let Some(oldest) = self.entries.front() {
            let len = self.entries.len() as u64;
            let is_over = len > self.window.records.max(1)
                || len > 1 && self.bytes > self.window.bytes
                || oldest.is_too_old(self.window, now_ms);
            if !is_over || !self.drop_oldest(gone) {
                break;
            }
            dropped += 1;
        }
        dropped
    }

    /// Keeps the newest ids only.
    pub(crate) fn forget_ids(&mut self, ids_max: usize) {
        while self.ids.len() > ids_max {
            let from = self.ids_from.max(self.first());
            let index = (from - self.first()) as usize;
            let Some(entry) = self.entries.get(index) else {
                break;
            };
            if self.ids.get(&entry.id_hash) == Some(&from) {
                self.ids.remove(&entry.id_hash);
            }
            self.ids_from = from + 1;
        }
    }

    fn drop_oldest(&mut self, gone: &mut impl FnMut(P)) -> bool {
        let offset = self.first();
        let Some(oldest) = self.entries.pop_front() else {
            return false;
        };
        self.bytes -= u64::from(oldest.bytes);
        if self.ids.get(&oldest.id_hash) == Some(&offset) {
            self.ids.remove(&oldest.id_hash);
        }
        gone(oldest.place);
        true
    }

    /// The record with an append's id, unless it is too old for the append's window.
    fn with_id(&self, id_hash: u64, append: &Append) -> Option<(u64, &Entry<P>)> {
        let offset = *self.ids.get(&id_hash)?;
        let entry = self
            .entries
            .get(offset.checked_sub(self.first())? as usize)?;
        (!entry.is_too_old(append.window, append.at_ms)).then_some((offset, entry))
    }
}

impl<P> Entry<P> {
    fn is_too_old(&self, window: Window, now_ms: u64) -> bool {
        now_ms > self.at_ms.saturating_add(window.age_ms)
    }
}

/// Holds one append against the limits.
fn check(append: &Append, limits: &Limits) -> Result<(), AppendError> {
    let (bytes, max) = (append.room.len(), limits.room_bytes_max);
    if bytes == 0 || bytes > max {
        return Err(AppendError::RoomName { bytes, max });
    }
    let (bytes, max) = (append.id.len(), limits.id_bytes_max);
    if bytes > max {
        return Err(AppendError::IdTooLong { bytes, max });
    }
    let (bytes, max) = (append.data.len(), limits.record_bytes_max);
    if bytes > max {
        return Err(AppendError::RecordTooLarge { bytes, max });
    }
    Ok(())
}
