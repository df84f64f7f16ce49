//! Every limit of a store, in one struct: name, default, reason.

use crate::{
    error::OpenError,
    record::{Append, PageLimit},
};

/// What a store takes and holds. All are inclusive, and checked before memory is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a room's name.
    pub room_bytes_max: usize,
    /// Bytes of an id. 128 holds a UUID with a prefix.
    pub id_bytes_max: usize,
    /// Bytes of one record's data. Slightly more than a Socket.IO message of 1,000,000 bytes.
    pub record_bytes_max: usize,
    /// Rooms at a time. Each takes a few hundred bytes of memory, even when it holds no record.
    pub rooms_max: usize,
    /// Ids remembered for each room, the newest ones. One that is forgotten may append again.
    pub ids_max: usize,
    /// Milliseconds for which a room without records is remembered, so that clients who come back can still be told
    /// that they missed nothing. 30 days.
    pub room_idle_ms: u64,
    /// Records of one page.
    pub page_records_max: usize,
    /// Bytes of data of one page.
    pub page_bytes_max: usize,
    /// Bytes that are written before one sync. Bounds how long the first append of a group waits for the last.
    pub commit_bytes_max: usize,
    /// Bytes that wait for [`GroupCommit`](crate::GroupCommit).
    pub queue_bytes_max: usize,
    /// Appends that wait for [`GroupCommit`](crate::GroupCommit).
    pub queue_appends_max: usize,
    /// Bytes of one segment file; they are reserved when it is made. At least 4 commits; at most 1 GiB, since a
    /// segment is read in one piece at start.
    pub segment_bytes: u32,
    /// Bytes of all segment files. A store that would need more answers `no_space`.
    pub log_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            room_bytes_max: 256,
            id_bytes_max: 128,
            record_bytes_max: 1 << 20,
            rooms_max: 100_000,
            ids_max: 100_000,
            room_idle_ms: 30 * 24 * 60 * 60 * 1000,
            page_records_max: 1000,
            page_bytes_max: 4 << 20,
            commit_bytes_max: 4 << 20,
            queue_bytes_max: 64 << 20,
            queue_appends_max: 100_000,
            segment_bytes: 64 << 20,
            log_bytes_max: 64 << 30,
        }
    }
}

/// Largest [`Limits::segment_bytes`].
const SEGMENT_CEILING: u32 = 1 << 30;
/// What a record takes up in a commit besides room, id and data: its frame, and that of its room. Rounded up.
pub(crate) const APPEND_OVERHEAD: usize = 192;

impl Limits {
    /// What one append may take up in a commit.
    pub(crate) fn append_bytes_max(&self) -> usize {
        append_bytes(
            self.room_bytes_max,
            self.id_bytes_max,
            self.record_bytes_max,
        )
    }

    /// Never more than the limits allow, never nothing.
    pub(crate) fn page(&self, asked: PageLimit) -> PageLimit {
        PageLimit {
            records: asked.records.clamp(1, self.page_records_max.max(1)),
            bytes: asked.bytes.min(self.page_bytes_max),
        }
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let refuse = |what| Err(OpenError::Limits { what });
        if self.room_bytes_max > usize::from(u16::MAX) || self.id_bytes_max > usize::from(u8::MAX) {
            return refuse("room_bytes_max is at most 65,535, id_bytes_max at most 255");
        }
        if self.segment_bytes > SEGMENT_CEILING {
            return refuse("segment_bytes is at most 1 GiB");
        }
        if self.append_bytes_max() > self.commit_bytes_max {
            return refuse("commit_bytes_max must hold the largest record with its room and id");
        }
        if self.commit_bytes_max > self.segment_bytes as usize / 4 {
            return refuse("segment_bytes must hold at least 4 times commit_bytes_max");
        }
        Ok(())
    }
}

/// What an append takes up in a commit at most.
pub(crate) fn commit_bytes(append: &Append) -> usize {
    append_bytes(append.room.len(), append.id.len(), append.data.len())
}

fn append_bytes(room: usize, id: usize, data: usize) -> usize {
    APPEND_OVERHEAD + room + id + data
}
