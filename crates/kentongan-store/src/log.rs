//! A log on disk. [`DiskStore`] is what is seen of it.
//!
//! Frames (`frame`) hold entries (`entry`) and lie in segments (`segment`); the writing end (`head`) adds groups of them;
//! at start `replay` reads all of it, held against the `witness`, and makes the `index`.

mod entry;
mod frame;
mod head;
mod index;
mod replay;
mod report;
mod segment;
mod store;
mod witness;

pub use report::{Cut, OpenReport, WitnessReport};
pub use store::{DiskStore, Mode, Settings};
