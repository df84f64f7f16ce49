//! The index: which rooms there are, where their records lie, which segments there are. In memory, made anew at start.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    entry::{Entry, RecordEntry},
    frame,
    segment::{self, Segment},
};
use crate::{
    disk::{self, DiskFile},
    error::ReadError,
    record::Record,
    rooms::Rooms,
};

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) at: u32,
    /// Of its frame.
    pub(super) bytes: u32,
}

/// A segment as readers need it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) bytes: u32,
    pub(super) seed: u32,
    /// Records of it that are in their rooms' windows.
    pub(super) live: u64,
}

#[derive(Debug)]
pub(super) struct Index {
    pub(super) rooms: Rooms<Place>,
    pub(super) sources: BTreeMap<u32, Source>,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            rooms: Rooms::new(),
            sources: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, segment: &Segment) {
        let source = Source {
            file: Arc::clone(&segment.file),
            bytes: segment.bytes,
            seed: segment.seed,
            live: 0,
        };
        self.sources.insert(segment.number, source);
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        let bytes = self.sources.values().map(|source| u64::from(source.bytes));
        bytes.sum()
    }

    /// The newest of the oldest segments that hold nothing any more; `None` when the oldest one is needed.
    pub(super) fn droppable(&self, head: u32) -> Option<u32> {
        let free = self.sources.iter();
        let free = free.take_while(|(number, source)| **number != head && source.live == 0);
        free.last().map(|(number, _)| *number)
    }
}

/// One record less in a window.
pub(super) fn release(sources: &mut BTreeMap<u32, Source>, place: Place) {
    if let Some(source) = sources.get_mut(&place.segment) {
        source.live -= 1;
    }
}

/// Reads one record.
pub(super) fn read_any(source: &Source, place: Place) -> Result<Record, ReadError> {
    let mut bytes = vec![0; place.bytes as usize];
    fill(source, place, &mut bytes)?;
    with_record(source, place, &bytes, |record| Some(owned(record)))
}

/// Reads the frames from the first to the last place, which lie in one segment and in order.
pub(super) fn read_run(
    source: &Source,
    run: &[(u64, Place)],
    records: &mut Vec<Record>,
) -> Result<(), ReadError> {
    let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else {
        return Ok(());
    };
    let mut bytes = vec![0; (last.at + last.bytes - first.at) as usize];
    fill(source, *first, &mut bytes)?;
    for (offset, place) in run {
        let begin = (place.at - first.at) as usize;
        let frame = bytes.get(begin..).unwrap_or_default();
        records.push(with_record(source, *place, frame, |record| {
            (record.offset == *offset).then(|| owned(record))
        })?);
    }
    Ok(())
}

fn fill(source: &Source, place: Place, bytes: &mut [u8]) -> Result<(), ReadError> {
    let read = disk::read_full(&*source.file, bytes, u64::from(place.at)).map_err(|error| {
        ReadError::Read {
            file: segment::name(place.segment),
            source: Arc::new(error),
        }
    })?;
    if read == bytes.len() {
        Ok(())
    } else {
        Err(damaged(place, "it has been cut"))
    }
}

fn with_record<T>(
    source: &Source,
    place: Place,
    bytes: &[u8],
    take: impl FnOnce(&RecordEntry<'_>) -> Option<T>,
) -> Result<T, ReadError> {
    let frame = frame::parse(bytes, place.at, source.seed);
    match frame.and_then(|frame| Entry::decode(frame.payload)) {
        Some(Entry::Record(record)) => take(&record),
        _ => None,
    }
    .ok_or_else(|| damaged(place, "a record is not what was written"))
}

fn owned(record: &RecordEntry<'_>) -> Record {
    Record {
        offset: record.offset,
        at_ms: record.at_ms,
        id: record.id.to_owned(),
        data: bytes::Bytes::copy_from_slice(record.data),
    }
}

fn damaged(place: Place, what: &'static str) -> ReadError {
    ReadError::Damaged {
        file: segment::name(place.segment),
        at: u64::from(place.at),
        what,
    }
}
