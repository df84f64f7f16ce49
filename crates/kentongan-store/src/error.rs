//! What can go wrong, by operation. Codes are stable: they are for programs, alerts and searching.

use std::{io, sync::Arc};

use thiserror::Error;

/// Whether something that failed may have happened nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It certainly did not happen, and will not be found later.
    NotDone,
    /// It may be found after the store is opened again. Retry with the same id.
    Unknown,
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The room's name is empty or longer than `room_bytes_max`.
    #[error("a room's name has 1 to {max} bytes, not {bytes}")]
    RoomName {
        /// Bytes of the name.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The id is longer than `id_bytes_max`.
    #[error("an id has at most {max} bytes, not {bytes}")]
    IdTooLong {
        /// Bytes of the id.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The data is longer than `record_bytes_max`.
    #[error("a record has at most {max} bytes, not {bytes}")]
    RecordTooLarge {
        /// Bytes of the data.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The id was used for other data in this room.
    #[error("the id belongs to other data, at offset {offset}")]
    IdReused {
        /// Where that data is.
        offset: u64,
    },
    /// There are `rooms_max` rooms.
    #[error("there are {max} rooms already")]
    RoomsFull {
        /// The limit.
        max: usize,
    },
    /// Too much waits to be written.
    #[error("too much waits to be written")]
    QueueFull,
    /// The disk is full, or the log is as large as it may be. Reading goes on, and so does appending once there is
    /// space.
    #[error("no space is left for the log")]
    NoSpace {
        /// Whether the record may be found later.
        outcome: Outcome,
    },
    /// Writing failed.
    #[error("writing the log failed: {source}")]
    Write {
        /// Whether the record may be found later.
        outcome: Outcome,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A sync failed: nobody knows what is on disk. The store takes no more appends until it is opened again.
    #[error("syncing the log failed: {source}")]
    Sync {
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A sync failed earlier. Open the store again.
    #[error("the store has stopped: an earlier sync failed")]
    Stopped,
    /// The earlier record with this id cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store is being closed, or what ran it has ended.
    #[error("the store is closed")]
    Closed {
        /// Whether the record may be found later.
        outcome: Outcome,
    },
}

impl AppendError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::RoomName { .. } => "room_name",
            Self::IdTooLong { .. } => "id_too_long",
            Self::RecordTooLarge { .. } => "record_too_large",
            Self::IdReused { .. } => "id_reused",
            Self::RoomsFull { .. } => "rooms_full",
            Self::QueueFull => "queue_full",
            Self::NoSpace { .. } => "no_space",
            Self::Write { .. } => "write_failed",
            Self::Sync { .. } => "sync_failed",
            Self::Stopped => "stopped",
            Self::Read(error) => error.code(),
            Self::Closed { .. } => "closed",
        }
    }

    /// Whether the record may be there nevertheless.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NoSpace { outcome } | Self::Write { outcome, .. } | Self::Closed { outcome } => {
                *outcome
            }
            Self::Sync { .. } => Outcome::Unknown,
            _ => Outcome::NotDone,
        }
    }
}

/// Why nothing can be read.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// What is on disk is not what was written. It is not served.
    #[error("{file} is damaged at byte {at}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Reading failed.
    #[error("reading {file} failed: {source}")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl ReadError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "damaged",
            Self::Read { .. } => "read_failed",
        }
    }
}

/// Why a store does not open.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another store of this one, has the folder.
    #[error("the folder is in use by another store")]
    Locked,
    /// The limits contradict each other.
    #[error("{what}")]
    Limits {
        /// Which.
        what: &'static str,
    },
    /// A file was written by a newer version.
    #[error("{file} has format {version}, which this version does not know")]
    Version {
        /// The file.
        file: String,
        /// Its format.
        version: u32,
    },
    /// What was acknowledged cannot be read any more. Nothing was changed. Restore the folder from a copy, or move it
    /// away: then every room begins a new epoch, and clients are told.
    #[error("{file} is damaged at byte {at}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The system refused.
    #[error("{what} failed: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The log could be read, but what has to be written at start could not be.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl OpenError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Limits { .. } => "limits",
            Self::Version { .. } => "version",
            Self::Damaged { .. } => "damaged",
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => "no_space",
            Self::Io { .. } => "io",
            Self::Append(error) => error.code(),
        }
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged { file, at, what } => Self::Damaged { file, at, what },
            ReadError::Read { file, source } => Self::Io {
                what: format!("reading {file}"),
                source: io::Error::new(source.kind(), source),
            },
        }
    }
}
