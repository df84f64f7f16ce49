//! A room of the model: its stream, its window, its members.

use std::collections::VecDeque;

use super::Message;
use crate::history::{
    event::{Item, Position},
    expectations::{Window, ns},
};

#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) message: Message,
    pub(super) at_ns: u64,
    pub(super) waiting: Vec<Waiting>,
}

/// Who waits for a message to be synced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// The client with its connection; without one it is the backend.
    pub(super) from: Option<(usize, u64)>,
    pub(super) call: u64,
    /// Whether it repeats what another one sent.
    pub(super) repeats: bool,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) client: usize,
    pub(super) conn: u64,
    /// The offset that was sent last.
    pub(super) sent: u64,
    pub(super) is_behind: bool,
    /// Planted: the next live message is lost.
    pub(super) loses_next: bool,
    /// Planted: sent after the next one.
    pub(super) held: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: String,
    pub(super) tenant: &'static str,
    pub(super) window: Window,
    pub(super) epoch: u64,
    /// The offset in front of the oldest record.
    pub(super) base: u64,
    pub(super) records: VecDeque<Record>,
    /// What is on disk.
    pub(super) synced: u64,
    pub(super) members: Vec<Member>,
    /// Planted: has an offset, but not yet a place.
    pub(super) reserved: Option<Message>,
}

impl Room {
    pub(super) fn new(index: usize, window: Window) -> Self {
        // Rooms 0 and 1 are of tenant a, the others of tenant b.
        let tenant = if index < 2 { "a" } else { "b" };
        Self {
            name: format!("{tenant}:room-{index}"),
            tenant,
            window,
            epoch: 1,
            base: 0,
            records: VecDeque::new(),
            synced: 0,
            members: Vec::new(),
            reserved: None,
        }
    }

    pub(super) fn top(&self) -> u64 {
        self.base + self.records.len() as u64
    }

    pub(super) fn position(&self, offset: u64) -> Position {
        Position {
            epoch: format!("e{}", self.epoch),
            offset,
        }
    }

    pub(super) fn record(&self, offset: u64) -> Option<&Record> {
        let index = offset.checked_sub(self.base + 1)?;
        self.records.get(usize::try_from(index).ok()?)
    }

    pub(super) fn record_mut(&mut self, offset: u64) -> Option<&mut Record> {
        let index = offset.checked_sub(self.base + 1)?;
        self.records.get_mut(usize::try_from(index).ok()?)
    }

    /// The offset of the message with that key.
    pub(super) fn find_key(&self, key: &str) -> Option<u64> {
        self.records
            .iter()
            .zip(self.base + 1..)
            .find(|(record, _)| record.message.key.as_deref() == Some(key))
            .map(|(_, offset)| offset)
    }

    pub(super) fn append(&mut self, record: Record) -> u64 {
        self.records.push_back(record);
        self.top()
    }

    /// Applies the window to what is on disk.
    pub(super) fn trim(&mut self, now_ns: u64) {
        let mut bytes: u64 = self.records.iter().map(|r| r.message.bytes).sum();
        while self.base < self.synced {
            let Some(oldest) = self.records.front() else {
                return;
            };
            let is_over = self
                .window
                .messages
                .is_some_and(|messages| self.records.len() as u64 > messages)
                || self.window.bytes.is_some_and(|most| bytes > most)
                || self
                    .window
                    .age_ms
                    .is_some_and(|age| now_ns > oldest.at_ns + ns(age));
            if !is_over {
                return;
            }
            bytes -= oldest.message.bytes;
            self.records.pop_front();
            self.base += 1;
        }
    }

    /// What a crash leaves: what is on disk, and `luck` of what was on its way there.
    pub(super) fn crash(&mut self, luck: u64) {
        self.synced = (self.synced + luck).min(self.top());
        while self.top() > self.synced {
            self.records.pop_back();
        }
        for record in &mut self.records {
            record.waiting.clear();
        }
        self.members.clear();
        self.reserved = None;
    }

    /// Everything is gone.
    pub(super) fn wipe(&mut self) {
        self.epoch += 1;
        self.base = 0;
        self.records.clear();
        self.synced = 0;
    }

    /// What can be read behind an offset.
    pub(super) fn items(&self, after: u64) -> Vec<Item> {
        self.records
            .iter()
            .zip(self.base + 1..)
            .filter(|(_, offset)| *offset > after && *offset <= self.synced)
            .map(|(record, offset)| Item {
                offset,
                id: record.message.id.clone(),
            })
            .collect()
    }
}
