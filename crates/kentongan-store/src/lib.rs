//! The store of logs: an ordered stream of records for each room, in memory or on disk.
//!
//! ```
//! use std::sync::Arc;
//! use kentongan_store::{Append, Limits, MemoryStore, PageLimit, Store, Window};
//!
//! let store = MemoryStore::new(Limits::default(), 1)?;
//! let window = Window { records: 1000, age_ms: 7 * 86_400_000, bytes: 4 << 20 };
//! let append = Append {
//!     room: "chat/acme/general".into(),
//!     id: "b2f1".into(),
//!     at_ms: 1_790_000_000_000,
//!     data: "hello".into(),
//!     window,
//! };
//! let ack = store.append(&[append]).remove(0)?;
//! assert_eq!(ack.position.offset, 1);
//!
//! let page = store.read("chat/acme/general", None, PageLimit { records: 100, bytes: 1 << 20 })?;
//! assert_eq!(page.records[0].data, "hello");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Store`] is the contract, with its obligations. [`MemoryStore`] and [`DiskStore`] keep it; `kentongan-testkit` (feature
//! `store`) has the suite that any other has to pass. [`GroupCommit`] runs a store in a thread of its own: what waits is
//! appended as one group with one sync, and each publisher is answered when its record is safe.
//!
//! # What an acknowledgement means
//!
//! [`Ack::durability`] says it. By default a [`DiskStore`] answers after `fdatasync` has returned ([`Durability::Disk`]).
//! [`Mode::Written`] answers earlier, and says [`Durability::Cache`].
//!
//! | what happens | what the store does |
//! |---|---|
//! | the process or the machine stops | nothing acknowledged is lost; what was on its way is there or not |
//! | the disk is full | appends fail with `no_space`, reading goes on; appending too, once there is space |
//! | a write fails | the append fails; what it may have left is removed before the answer says that it was not done |
//! | a sync fails | the append fails with `sync_failed`, outcome unknown; no more appends until the store is opened again |
//! | a file is damaged, cut, gone, or an older state of itself | at start: the store does not open, and names file and byte; later: the read fails |
//! | the very end is torn, and was never acknowledged | it is cut, and [`OpenReport::cut`] says so |
//! | a second store on the folder | is refused as `locked` |
//!
//! A sync that failed is never tried again and believed: the system may have dropped what it could not write. When the
//! store is opened again, it writes all that is not known to be safe once more, and syncs that.
//!
//! # Why a log of our own
//!
//! A room's stream needs little of what a database engine offers: append, read by offset, drop the oldest. It needs what
//! engines hide: which I/O call may be believed, and what is left after one that failed. Here every call goes through
//! [`Disk`], and the tests make each one of a script fail in each way. Besides, an engine's own log and its tables would
//! write each record twice.
//!
//! What it costs: the index is in memory and grows with the records in the windows; a segment is given back as a whole, when
//! the last of its records has left its room's window.

mod contract;
mod disk;
mod error;
mod folder;
mod limits;
// What it reads may be damaged.
#[cfg_attr(not(test), warn(clippy::indexing_slicing))]
mod log;
mod memory;
mod page;
mod position;
mod queue;
mod record;
mod rooms;

pub use contract::{Health, Store};
pub use disk::{Disk, DiskFile};
pub use error::{AppendError, OpenError, Outcome, ReadError};
pub use folder::Folder;
pub use limits::Limits;
pub use log::{Cut, DiskStore, Mode, OpenReport, Settings, WitnessReport};
pub use memory::MemoryStore;
pub use position::{Epoch, Position, Recovery, ResetReason, Span};
pub use queue::GroupCommit;
pub use record::{Ack, AckKind, Append, Durability, Page, PageLimit, Record, Window};
