//! The writing end of a log: one group at a time goes behind the last one, is synced, and counts only then.
//!
//! Here are the rules for what happens when the disk does not do as it is told. Must not know what the entries mean, nor
//! of the index.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    frame::Group,
    segment::{self, Segment, WriteFault},
    witness::Witness,
};
use crate::{
    disk::Disk,
    error::{AppendError, Outcome},
    position::Epochs,
};

/// When a group counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// When it is on stable storage.
    Synced,
    /// When the system has taken it.
    Written,
}

#[derive(Debug)]
pub(super) struct Head {
    disk: Arc<dyn Disk>,
    witness: Witness,
    segment: Segment,
    /// Made, but not yet in use: the seal of `segment` is still to be written.
    next: Option<Segment>,
    /// Counts attempts to write.
    attempts: u32,
    /// Up to where the segment is on stable storage.
    synced: u32,
    /// Up to where a failed write may have left something.
    littered: u32,
    /// Why nothing is written any more.
    stopped: Arc<Mutex<Option<String>>>,
    /// Makes epochs, and nonces of segments.
    pub(super) epochs: Epochs,
}

impl Head {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        witness: Witness,
        segment: Segment,
        attempts: u32,
        epochs: Epochs,
    ) -> Self {
        Self {
            disk,
            witness,
            // Whoever opens a log takes what is in the system's memory for safe only after the first sync.
            synced: segment::HEADER_BYTES as u32,
            littered: segment.end,
            segment,
            next: None,
            attempts,
            stopped: Arc::default(),
            epochs,
        }
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Why nothing is written any more; can be seen without waiting for the disk.
    pub(super) fn stopped(&self) -> Arc<Mutex<Option<String>>> {
        Arc::clone(&self.stopped)
    }

    /// An empty group to be written next.
    pub(super) fn group(&mut self) -> Group {
        self.attempts = self.attempts.wrapping_add(1);
        self.segment.group(self.synced, self.attempts)
    }

    /// Whether so many bytes fit behind the last frame, when `reserve` bytes are left free; for the seal there is always
    /// room.
    pub(super) fn fits(&self, bytes: usize, reserve: u32) -> bool {
        let reserve = reserve.max(segment::SEAL_BYTES);
        self.next.is_none()
            && bytes as u64 + u64::from(self.segment.end) + u64::from(reserve)
                <= u64::from(self.segment.bytes)
    }

    /// Writes a group, and syncs it if it counts only then.
    pub(super) fn write(&mut self, group: &Group, commit: Commit) -> Result<(), AppendError> {
        self.check()?;
        if let Err(fault) = self.sweep() {
            return Err(self.refuse(fault, Outcome::NotDone));
        }
        if let Err(fault) = self.segment.write(group) {
            if let WriteFault::Write(written, error) = &fault {
                // A full disk takes nothing of what it refuses. After other errors nobody knows.
                self.littered = if error.kind() == std::io::ErrorKind::StorageFull {
                    self.segment.end + *written as u32
                } else {
                    group.end()
                };
            }
            // Should what was written stay, then it could be found after a restart.
            let outcome = match self.remove_litter() {
                Ok(()) => Outcome::NotDone,
                Err(_) => Outcome::Unknown,
            };
            return Err(self.refuse(fault, outcome));
        }
        self.littered = self.segment.end;
        match commit {
            Commit::Synced => self.sync(),
            Commit::Written => Ok(()),
        }
    }

    /// Returns when all that was written is on stable storage.
    pub(super) fn sync(&mut self) -> Result<(), AppendError> {
        self.check()?;
        if self.synced < self.segment.end {
            if let Err(error) = self.segment.file.sync() {
                return Err(self.refuse(WriteFault::Sync(error), Outcome::Unknown));
            }
            self.synced = self.segment.end;
            self.witness.claim(&self.segment);
        }
        Ok(())
    }

    /// Goes on with a new segment of so many bytes.
    pub(super) fn rotate(&mut self, bytes: u32) -> Result<Segment, AppendError> {
        self.check()?;
        self.sync()?;
        if self.next.is_none() {
            let nonce = self.epochs.make(None).number();
            let number = self.segment.number + 1;
            match Segment::create(&*self.disk, number, bytes, Some(&self.segment), nonce) {
                Ok(next) => self.next = Some(next),
                Err(fault) => return Err(self.refuse(fault, Outcome::NotDone)),
            }
        }
        if let Err(fault) = self.sweep() {
            return Err(self.refuse(fault, Outcome::NotDone));
        }
        self.attempts = self.attempts.wrapping_add(1);
        if let Err(fault) = self.segment.seal(self.attempts) {
            self.littered = self.segment.bytes.min(self.segment.end + 64);
            return Err(self.refuse(fault, Outcome::NotDone));
        }
        if let Some(next) = self.next.take() {
            self.synced = next.end;
            self.littered = next.end;
            self.segment = next;
            self.witness.claim(&self.segment);
        }
        Ok(self.segment.clone())
    }

    fn check(&self) -> Result<(), AppendError> {
        match *self.stopped.lock() {
            Some(_) => Err(AppendError::Stopped),
            None => Ok(()),
        }
    }

    /// Removes what a failed write may have left. It need not be synced before the next group: with that, one sync makes
    /// both safe, and no old frame fits behind a new one.
    fn sweep(&mut self) -> Result<(), WriteFault> {
        if self.littered > self.segment.end {
            self.segment.clear(self.littered)?;
            self.littered = self.segment.end;
        }
        Ok(())
    }

    /// Sweeps, and makes sure that it is swept.
    fn remove_litter(&mut self) -> Result<(), WriteFault> {
        if self.littered > self.segment.end {
            self.sweep()?;
            self.segment.file.sync().map_err(|error| {
                self.stop(&error);
                WriteFault::Sync(error)
            })?;
        }
        Ok(())
    }

    fn stop(&self, error: &std::io::Error) {
        self.stopped.lock().get_or_insert_with(|| error.to_string());
    }

    /// The error for a fault. A sync that fails stops the store: the system may have thrown away what it could not write,
    /// and then says of the next sync that all is well.
    fn refuse(&mut self, fault: WriteFault, outcome: Outcome) -> AppendError {
        match fault {
            WriteFault::Write(_, error) if error.kind() == std::io::ErrorKind::StorageFull => {
                AppendError::NoSpace { outcome }
            }
            WriteFault::Write(_, error) => AppendError::Write {
                outcome,
                source: Arc::new(error),
            },
            WriteFault::Sync(error) => {
                self.stop(&error);
                AppendError::Sync {
                    source: Arc::new(error),
                }
            }
        }
    }
}
