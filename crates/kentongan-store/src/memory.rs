//! A store in memory: for tests, for one node without a disk, and as the plainest reading of the contract.

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    contract::{Health, Store},
    error::{AppendError, OpenError, ReadError},
    limits::Limits,
    page,
    position::{Epochs, Position, Span},
    record::{Ack, Append, Durability, Page, PageLimit, Record},
    rooms::Rooms,
};

/// Keeps everything in memory, and says so in each acknowledgement.
#[derive(Debug)]
pub struct MemoryStore {
    limits: Limits,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    rooms: Rooms<Kept>,
    epochs: Epochs,
}

#[derive(Clone, Debug)]
struct Kept {
    id: String,
    data: Bytes,
}

impl MemoryStore {
    /// An empty store. `seed` makes its epochs: take it from a good source of chance, so that they differ from those of
    /// any store before it.
    ///
    /// # Errors
    /// When the limits contradict each other.
    pub fn new(limits: Limits, seed: u64) -> Result<Self, OpenError> {
        limits.check()?;
        let held = Mutex::new(Held {
            rooms: Rooms::new(),
            epochs: Epochs::new(seed),
        });
        Ok(Self { limits, held })
    }
}

impl Store for MemoryStore {
    fn append(&self, batch: &[Append]) -> Vec<Result<Ack, AppendError>> {
        let held = &mut *self.held.lock();
        let plan = held
            .rooms
            .plan(batch, &self.limits, &mut held.epochs, |kept, append| {
                Ok((kept.id == append.id).then(|| kept.data == append.data))
            });
        let place = |index: usize| {
            // Copied: a slice would keep the whole message that it was cut from.
            let (id, data) = batch.get(index).map_or_else(Default::default, |append| {
                (append.id.clone(), Bytes::copy_from_slice(&append.data))
            });
            Kept { id, data }
        };
        held.rooms
            .apply(&plan, batch, &self.limits, place, |_gone| {});
        plan.outcomes(batch, Durability::Memory, None)
    }

    fn read(
        &self,
        room: &str,
        since: Option<Position>,
        limit: PageLimit,
    ) -> Result<Page, ReadError> {
        let held = self.held.lock();
        let Some(room) = held.rooms.room(room) else {
            return Ok(page::of_unknown_room(since));
        };
        let (recovery, after) = page::start(room.span(), since);
        let limit = self.limits.page(limit);
        let (records, more) = room.page(after, limit, |offset, at_ms, kept| Record {
            offset,
            at_ms,
            id: kept.id.clone(),
            data: kept.data.clone(),
        });
        Ok(Page {
            span: Some(room.span()),
            recovery,
            records,
            more,
        })
    }

    fn span(&self, room: &str) -> Option<Span> {
        self.held.lock().rooms.span(room)
    }

    fn reset(&self, room: &str) -> Result<Option<Span>, AppendError> {
        let held = &mut *self.held.lock();
        let Some(span) = held.rooms.span(room) else {
            return Ok(None);
        };
        let epoch = held.epochs.make(Some(span.epoch));
        held.rooms.reset(room, epoch, |_gone| {});
        Ok(held.rooms.span(room))
    }

    fn trim(&self, now_ms: u64) -> Result<(), AppendError> {
        let mut held = self.held.lock();
        held.rooms
            .trim(now_ms, self.limits.room_idle_ms, |_gone| {});
        Ok(())
    }

    fn sync(&self) -> Result<(), AppendError> {
        Ok(())
    }

    fn health(&self) -> Health {
        let held = self.held.lock();
        Health {
            rooms: held.rooms.len(),
            records: held.rooms.records(),
            ..Health::default()
        }
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }
}
