//! The contract of a store, with the obligations of whoever implements it and of whoever calls it.
//!
//! `kentongan-testkit` (feature `store`) checks them.

use crate::{
    error::{AppendError, ReadError},
    limits::Limits,
    position::{Position, Span},
    record::{Ack, Append, Page, PageLimit},
};

/// Keeps an ordered log for each room.
///
/// All calls are blocking, and none waits for another room's reader. [`GroupCommit`](crate::GroupCommit) runs a store in a
/// thread of its own for callers that must not block.
///
/// # Obligations of a store
///
/// 1. **Dense.** In one epoch of a room, records have the offsets 1, 2, 3 … in the order in which they were appended.
///    An append that fails takes no offset.
/// 2. **Acknowledged is kept.** What [`Ack::durability`] says holds before the acknowledgement is given. Nothing that
///    was acknowledged is lost within the window, or the epoch changes.
/// 3. **Three outcomes.** An append is acknowledged, or it failed with
///    [`Outcome::NotDone`](crate::Outcome::NotDone) and is never seen, or with
///    [`Outcome::Unknown`](crate::Outcome::Unknown) and is seen once or not at all.
/// 4. **Once.** An append with an id whose record is in the window answers with that record's position and appends
///    nothing; with other data, it fails as `id_reused`. This holds within a batch, and after a restart.
/// 5. **Windows.** A room keeps what its window allows, by count, bytes and age, and drops from the oldest on. Count and
///    bytes are applied with every append, age with every append to the room and with [`Store::trim`].
/// 6. **Pages.** [`Store::read`] gives records in order and without holes, all of one epoch, and decides at the same
///    moment what the position is worth.
/// 7. **Epochs.** A room that was forgotten, reset, or lost acknowledged records has another epoch than before.
///    Otherwise it never changes.
/// 8. **Bounded.** Everything is held against [`Limits`] before memory is taken.
/// 9. **The truth.** Damaged records are never served, and never skipped. An append that fails spoils nothing else.
/// 10. **Clocks are the caller's.** A store reads no clock; time that runs backwards changes ages only.
///
/// # Obligations of the caller
///
/// Give every append of a room the same window, unless the rules have changed. Call [`Store::trim`] regularly (once a
/// minute) and [`Store::sync`] regularly when the store acknowledges before it syncs.
pub trait Store: Send + Sync {
    /// Appends in the given order, in as few groups as possible; each group is synced once. One outcome for each append,
    /// in the same order.
    fn append(&self, batch: &[Append]) -> Vec<Result<Ack, AppendError>>;

    /// Reads what comes after `since`; `None` means from the oldest record on, and is always
    /// [`Recovery::Complete`](crate::Recovery::Complete). After a gap or a reset, also from the oldest record on.
    ///
    /// # Errors
    /// When the records cannot be read or are damaged. Nothing is served then.
    fn read(
        &self,
        room: &str,
        since: Option<Position>,
        limit: PageLimit,
    ) -> Result<Page, ReadError>;

    /// What a room holds; `None` when there is no such room.
    fn span(&self, room: &str) -> Option<Span>;

    /// Begins a new epoch for a room and drops what it holds; `None` when there is no such room.
    ///
    /// # Errors
    /// As for an append.
    fn reset(&self, room: &str) -> Result<Option<Span>, AppendError>;

    /// Drops what is too old, forgets rooms that have long been empty, and gives space back.
    ///
    /// # Errors
    /// When space could not be given back. What readers see is trimmed nevertheless.
    fn trim(&self, now_ms: u64) -> Result<(), AppendError>;

    /// Makes everything acknowledged so far as safe as the store can.
    ///
    /// # Errors
    /// When the sync failed: then the store has stopped.
    fn sync(&self) -> Result<(), AppendError>;

    /// What it holds, and whether it is well.
    fn health(&self) -> Health;

    /// What it takes and holds.
    fn limits(&self) -> &Limits;
}

/// How a store is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Rooms that it knows.
    pub rooms: usize,
    /// Records in the windows.
    pub records: u64,
    /// Bytes of the files that it occupies; 0 in memory.
    pub disk_bytes: u64,
    /// Why it takes no more appends: a sync failed. Open it again.
    pub stopped: Option<String>,
    /// The last append was refused because there is no space.
    pub is_full: bool,
    /// The first damage that a reader met, with file and byte.
    pub damage: Option<String>,
}
