//! Start: reads all segments in order, holds them against each other and against the witness, and makes the index.
//!
//! Whatever was on stable storage when the store stopped must be here, or the log does not open. What comes after that was
//! not acknowledged: if it is whole it stays, if not it is cut.

use std::{collections::HashMap, sync::Arc};

use super::{
    entry::{Acknowledged, Entry, RecordEntry, RoomEntry},
    frame,
    index::{self, Index, Place},
    report::{Cut, OpenReport},
    segment::{self, Segment, WriteFault},
    witness::Claim,
};
use crate::{
    disk::{self, Disk},
    error::OpenError,
    limits::Limits,
    rooms::Room,
};

/// A log that has been read.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) index: Index,
    /// The segment that is written to; `None` when there is no log.
    pub(super) head: Option<Segment>,
    /// The last attempt to write.
    pub(super) commit: u32,
    /// The last life of the store acknowledged before it synced, and did not close in good order.
    pub(super) may_have_lost: bool,
    /// How the last life of the store acknowledged.
    pub(super) acknowledged: Acknowledged,
}

struct Replay<'a> {
    limits: &'a Limits,
    disk: &'a dyn Disk,
    claim: Option<Claim>,
    index: Index,
    names: HashMap<u32, Arc<str>>,
    dropped: u32,
    commit: u32,
    may_have_lost: bool,
    acknowledged: Acknowledged,
    buffer: Vec<u8>,
}

/// What one segment says of itself.
struct Scan {
    is_sealed: bool,
    /// Up to where it was on stable storage, by its own frames.
    synced: u32,
}

/// Reads the log in these files.
pub(super) fn replay(
    disk: &dyn Disk,
    names: &[String],
    claim: Option<Claim>,
    limits: &Limits,
    report: &mut OpenReport,
) -> Result<Replayed, OpenError> {
    let mut replay = Replay {
        limits,
        disk,
        claim,
        index: Index::new(),
        names: HashMap::new(),
        dropped: 0,
        commit: 0,
        may_have_lost: false,
        acknowledged: Acknowledged::Synced,
        buffer: Vec::new(),
    };
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| segment::number(name))
        .collect();
    numbers.sort_unstable();
    // Segments that were dropped are removed one by one, and some may be left: the log is what comes after the last hole.
    let holes = numbers
        .windows(2)
        .rposition(|pair| pair.first().map(|number| number + 1) != pair.last().copied());
    let leftover: Vec<u32> = numbers.drain(..holes.map_or(0, |hole| hole + 1)).collect();
    let lowest = numbers.first().copied().unwrap_or(1);
    // The witness knows of a later segment, or of a log that is gone.
    if let Some(claim) = claim
        && numbers.last().is_none_or(|last| *last < claim.segment)
    {
        return Err(missing(claim.segment));
    }

    let mut segments = Vec::with_capacity(numbers.len());
    for number in numbers {
        segments.push(Segment::open(disk, number)?);
    }
    let mut rest = segments.as_mut_slice();
    while let Some((segment, after)) = rest.split_first_mut() {
        report.bytes += u64::from(segment.bytes);
        replay.segment(segment, after.first(), after.len(), report)?;
        rest = after;
    }
    replay.finish(lowest, leftover, segments.pop())
}

impl Replay<'_> {
    fn segment(
        &mut self,
        segment: &mut Segment,
        next: Option<&Segment>,
        later: usize,
        report: &mut OpenReport,
    ) -> Result<(), OpenError> {
        let mut bytes = std::mem::take(&mut self.buffer);
        load(segment, &mut bytes)?;
        self.index.add(segment);
        let scan = self.frames(segment, &bytes, next.map(|next| next.prev_end))?;
        match next {
            None => self.tail(segment, &bytes, &scan, report)?,
            Some(next) => self.joint(segment, &bytes, next, later, report)?,
        }
        self.buffer = bytes;
        Ok(())
    }

    /// Reads frames as long as they follow each other; leaves the segment's end behind the last one.
    fn frames(
        &mut self,
        segment: &mut Segment,
        bytes: &[u8],
        until: Option<u32>,
    ) -> Result<Scan, OpenError> {
        let mut scan = Scan {
            is_sealed: false,
            synced: 0,
        };
        let claim = self.claim.filter(|claim| claim.segment == segment.number);
        loop {
            if let Some(claim) = claim
                && claim.end == segment.end
                && claim.chain != segment.chain
            {
                return Err(damaged(
                    segment,
                    "it is an older or another state of this file",
                ));
            }
            if scan.is_sealed || until == Some(segment.end) {
                return Ok(scan);
            }
            let rest = bytes.get(segment.end as usize..).unwrap_or_default();
            let Some(frame) = frame::parse(rest, segment.end, segment.seed)
                .filter(|frame| frame.prev == segment.chain)
            else {
                return Ok(scan);
            };
            let entry = Entry::decode(frame.payload).ok_or_else(|| {
                damaged(segment, "it has an entry that this version does not know")
            })?;
            let place = Place {
                segment: segment.number,
                at: segment.end,
                bytes: frame.bytes() as u32,
            };
            scan.is_sealed = entry == Entry::Seal;
            scan.synced = scan.synced.max(frame.synced);
            self.entry(segment, entry, place)?;
            self.commit = frame.commit;
            segment.end += place.bytes;
            segment.chain = frame.crc;
        }
    }

    fn entry(
        &mut self,
        segment: &Segment,
        entry: Entry<'_>,
        place: Place,
    ) -> Result<(), OpenError> {
        match entry {
            Entry::Room(room) => self.room(segment, &room)?,
            Entry::Record(record) => self.record(segment, &record, place)?,
            Entry::Seal => {}
            Entry::Dropped { through } => self.dropped = self.dropped.max(through),
            Entry::Opened(acknowledged) => {
                self.acknowledged = acknowledged;
                self.may_have_lost = acknowledged == Acknowledged::Written;
            }
            Entry::Closed => self.may_have_lost = false,
        }
        Ok(())
    }

    fn room(&mut self, segment: &Segment, entry: &RoomEntry<'_>) -> Result<(), OpenError> {
        let name: Arc<str> = Arc::from(entry.name);
        self.names.insert(entry.number, Arc::clone(&name));
        let Index { rooms, sources } = &mut self.index;
        let mut gone = |place| index::release(sources, place);
        let continues = match rooms.room(&name) {
            Some(room) if room.epoch == entry.epoch && room.next != entry.next => {
                return Err(damaged(segment, "a room does not go on where it stopped"));
            }
            Some(room) => room.next == entry.next,
            None => false,
        };
        if !continues {
            rooms.remove(&name, &mut gone);
            rooms.restore_room(&name, Room::new(entry.number, entry.epoch, entry.next));
        }
        rooms.restore(&name, |room| {
            room.drop_before(entry.first, &mut gone);
            room.number = entry.number;
            room.epoch = entry.epoch;
            room.window = entry.window;
            room.last_at_ms = entry.last_at_ms;
            room.described_in = segment.number;
        });
        Ok(())
    }

    fn record(
        &mut self,
        segment: &Segment,
        entry: &RecordEntry<'_>,
        place: Place,
    ) -> Result<(), OpenError> {
        let Index { rooms, sources } = &mut self.index;
        let unknown = || damaged(segment, "a record belongs to no room");
        let name = self.names.get(&entry.room).ok_or_else(unknown)?;
        let id_hash = rooms.id_hash(entry.id);
        let ids_max = self.limits.ids_max;
        let follows = rooms
            .restore(name, |room| {
                if room.next != entry.offset {
                    return false;
                }
                if let Some(source) = sources.get_mut(&place.segment) {
                    source.live += 1;
                }
                room.push(entry.at_ms, id_hash, entry.data.len() as u32, place);
                room.apply_window(entry.at_ms, &mut |place| index::release(sources, place));
                room.forget_ids(ids_max);
                true
            })
            .ok_or_else(unknown)?;
        if follows {
            Ok(())
        } else {
            Err(damaged(segment, "records do not follow each other"))
        }
    }

    /// The end of the log: whether all that was on stable storage is here; cuts what is not whole.
    fn tail(
        &self,
        segment: &Segment,
        bytes: &[u8],
        scan: &Scan,
        report: &mut OpenReport,
    ) -> Result<(), OpenError> {
        if scan.is_sealed {
            return Err(missing(segment.number + 1));
        }
        let begin = segment.end as usize;
        let used = frame::used(bytes.get(begin..).unwrap_or_default());
        let claim = self.claim.filter(|claim| claim.segment == segment.number);
        let mut synced = scan.synced.max(claim.map_or(0, |claim| claim.end));
        if used > 0 {
            synced = synced.max(frame::synced_after(bytes, begin, segment.seed));
        }
        if synced > segment.end {
            return Err(damaged(segment, "acknowledged records are damaged or gone"));
        }
        let name = segment::name(segment.number);
        // What is not known to be safe is written once more: after a sync that failed, the system may show what is not on
        // disk, and believe that it is. The store syncs before it does anything else.
        let begin = (synced as usize).max(segment::HEADER_BYTES);
        let again = bytes.get(begin..segment.end as usize).unwrap_or_default();
        let write = |(written, error)| WriteFault::Write(written, error);
        disk::write_all(&*segment.file, again, begin as u64)
            .map_err(write)
            .and_then(|()| segment.clear(segment.end + used as u32))
            .map_err(|fault| io(&format!("mending {name}"), fault))?;
        if used > 0 {
            report.cut = Some(Cut {
                file: name,
                at: u64::from(segment.end),
                bytes: used as u64,
            });
        }
        Ok(())
    }

    /// The end of a segment that has a successor.
    fn joint(
        &self,
        segment: &Segment,
        bytes: &[u8],
        next: &Segment,
        later: usize,
        report: &mut OpenReport,
    ) -> Result<(), OpenError> {
        if (segment.end, segment.chain) != (next.prev_end, next.prev_chain) {
            return Err(damaged(segment, "acknowledged records are damaged or gone"));
        }
        let rest = bytes.get(segment.end as usize..).unwrap_or_default();
        let used = frame::used(rest);
        let seal = frame::parse(rest, segment.end, segment.seed)
            .filter(|frame| frame.prev == segment.chain)
            .filter(|frame| Entry::decode(frame.payload) == Some(Entry::Seal));
        let is_whole = seal.is_some_and(|seal| seal.bytes() == used);
        // The successor was made, but the store stopped before it was used: then the seal may be missing, torn, or there
        // to see but not safe.
        let is_used = later > 1
            || self.claim.is_some_and(|claim| claim.segment == next.number)
            || has_frames(next)?;
        if is_used && is_whole {
            return Ok(());
        }
        if is_used {
            return Err(damaged(
                segment,
                "what follows the last record is not what was written",
            ));
        }
        let repair = || {
            segment.clear(segment.end + used as u32)?;
            segment.seal(self.commit.wrapping_add(1))
        };
        let name = segment::name(segment.number);
        repair().map_err(|fault| io(&format!("sealing {name}"), fault))?;
        if used > 0 && !is_whole {
            report.cut = Some(Cut {
                file: name,
                at: u64::from(segment.end),
                bytes: used as u64,
            });
        }
        Ok(())
    }

    fn finish(
        mut self,
        lowest: u32,
        leftover: Vec<u32>,
        head: Option<Segment>,
    ) -> Result<Replayed, OpenError> {
        if lowest > self.dropped + 1 {
            return Err(missing(lowest - 1));
        }
        // What the store had dropped when it stopped, but not yet removed.
        let dropped = self.dropped;
        let Index { rooms, sources } = &mut self.index;
        let names: Vec<Arc<str>> = rooms.iter().map(|(name, _)| Arc::clone(name)).collect();
        for name in names {
            rooms.restore(&name, |room| {
                room.drop_while(|place| place.segment <= dropped, &mut |place| {
                    index::release(sources, place)
                });
            });
        }
        let kept = sources.split_off(&(dropped + 1));
        for number in std::mem::replace(sources, kept).into_keys().chain(leftover) {
            // Should it stay, the next start tries again.
            let _ = self.disk.remove(&segment::name(number));
        }
        Ok(Replayed {
            index: self.index,
            head,
            commit: self.commit,
            may_have_lost: self.may_have_lost,
            acknowledged: self.acknowledged,
        })
    }
}

fn load(segment: &Segment, bytes: &mut Vec<u8>) -> Result<(), OpenError> {
    bytes.clear();
    bytes.resize(segment.bytes as usize, 0);
    let read = disk::read_full(&*segment.file, bytes, 0).map_err(|error| {
        io(
            &format!("reading {}", segment::name(segment.number)),
            WriteFault::Sync(error),
        )
    })?;
    if read == bytes.len() {
        Ok(())
    } else {
        Err(damaged(segment, "it has been cut"))
    }
}

fn has_frames(segment: &Segment) -> Result<bool, OpenError> {
    let mut bytes = Vec::new();
    load(segment, &mut bytes)?;
    let frames = bytes.get(segment::HEADER_BYTES..).unwrap_or_default();
    Ok(frame::used(frames) > 0)
}

fn damaged(segment: &Segment, what: &'static str) -> OpenError {
    OpenError::Damaged {
        file: segment::name(segment.number),
        at: u64::from(segment.end),
        what,
    }
}

fn missing(number: u32) -> OpenError {
    OpenError::Damaged {
        file: segment::name(number),
        at: 0,
        what: "it is missing",
    }
}

fn io(what: &str, fault: WriteFault) -> OpenError {
    let (WriteFault::Write(_, source) | WriteFault::Sync(source)) = fault;
    OpenError::Io {
        what: what.to_owned(),
        source,
    }
}
