//! What goes in and comes out: appends, acknowledgements, records, pages, windows.
//!
//! Plain values. Must not know how they are kept, nor what their bytes mean.

use bytes::Bytes;

use crate::position::{Position, Recovery, Span};

/// One record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The room. It is made with its first record.
    pub room: String,
    /// Chosen by whoever publishes, so that a retry is safe: an id appends once per room, as long as its record is in
    /// the window. Empty: no such protection.
    pub id: String,
    /// When it was published, in milliseconds since 1970 by the caller's clock. Ages are reckoned from it, order never.
    pub at_ms: u64,
    /// What to keep. The store does not look into it.
    pub data: Bytes,
    /// How much the room keeps from now on.
    pub window: Window,
}

impl Append {
    /// Bytes that it takes up while it waits.
    pub fn bytes(&self) -> usize {
        self.room.len() + self.id.len() + self.data.len()
    }
}

/// How much a room keeps. A record leaves when it is beyond any of the three. The newest record is kept whatever its
/// size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Records.
    pub records: u64,
    /// Milliseconds since a record's `at_ms`.
    pub age_ms: u64,
    /// Bytes of data of all records.
    pub bytes: u64,
}

/// How safe an acknowledged record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On stable storage: `fdatasync` has returned. Survives the loss of power.
    Disk,
    /// Handed to the operating system. Survives the end of the process, not of the machine.
    Cache,
    /// In this process. Survives nothing.
    Memory,
}

impl Durability {
    /// A stable name for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Cache => "cache",
            Self::Memory => "memory",
        }
    }
}

/// The record is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Where it stands.
    pub position: Position,
    /// Its `at_ms`; of a duplicate, that of the first one.
    pub at_ms: u64,
    /// Whether this is a fresh record or one that was here before.
    pub kind: AckKind,
    /// How safe it is.
    pub durability: Durability,
}

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// A new record.
    Appended,
    /// The id was there already, with the same data: nothing was appended.
    Duplicate,
}

/// One record, as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the epoch of the page.
    pub offset: u64,
    /// As given with the append.
    pub at_ms: u64,
    /// As given with the append.
    pub id: String,
    /// As given with the append.
    pub data: Bytes,
}

/// How much one page may hold. The first record comes whatever its size, so that a reader gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Records; at least 1.
    pub records: usize,
    /// Bytes of data.
    pub bytes: usize,
}

/// Records of a room, read at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What the room holds; `None` when there is no such room.
    pub span: Option<Span>,
    /// What the position that was asked for is worth. Decided at the same moment as what is read.
    pub recovery: Recovery,
    /// In order, without holes: those after the position ([`Recovery::Complete`]), or from the oldest that is kept on.
    pub records: Vec<Record>,
    /// Whether more are held after these.
    pub more: bool,
}

impl Page {
    /// From where to read on; `None` when there is no such room.
    pub fn end(&self) -> Option<Position> {
        let span = self.span?;
        let offset = match self.records.last() {
            Some(record) => record.offset,
            None => span.next - 1,
        };
        Some(Position {
            epoch: span.epoch,
            offset,
        })
    }
}
