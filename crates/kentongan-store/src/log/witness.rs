//! The witness: a small file that says up to where the log was on stable storage, rewritten after each sync.
//!
//! It is not synced itself: it may be old after the loss of power, but it never says too much. It is what makes a log show
//! that lost its last, acknowledged records.

use std::{io, sync::Arc};

use super::{frame, segment::Segment};
use crate::disk::{self, Disk, DiskFile};

const NAME: &str = "head";
const BYTES: usize = 20;
const MAGIC: u32 = u32::from_le_bytes(*b"KTGH");

/// Where the log was on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) segment: u32,
    pub(super) end: u32,
    pub(super) chain: u32,
}

/// What the file said at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Testimony {
    /// There is no such file, or it was never written.
    Missing,
    /// Its checksum is wrong.
    Damaged,
    Claim(Claim),
}

#[derive(Debug)]
pub(super) struct Witness {
    file: Arc<dyn DiskFile>,
}

impl Witness {
    /// Opens the file and reads it; makes it when there is none.
    pub(super) fn open(disk: &dyn Disk, names: &[String]) -> io::Result<(Self, Testimony)> {
        if !names.iter().any(|name| name == NAME) {
            let file = disk.create(NAME)?;
            return Ok((Self { file }, Testimony::Missing));
        }
        let file = disk.open(NAME)?;
        // One byte more than it has, so that a longer file shows.
        let mut bytes = [0; BYTES + 1];
        let read = disk::read_full(&*file, &mut bytes, 0)?;
        let testimony = if read == 0 {
            Testimony::Missing
        } else {
            bytes
                .get(..read)
                .and_then(decode)
                .map_or(Testimony::Damaged, Testimony::Claim)
        };
        Ok((Self { file }, testimony))
    }

    /// Says that this segment is on stable storage up to its end. A failure is of no consequence: an old claim is true
    /// too.
    pub(super) fn claim(&self, head: &Segment) {
        let mut bytes = Vec::with_capacity(BYTES);
        for field in [MAGIC, head.number, head.end, head.chain] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let _ = disk::write_all(&*self.file, &bytes, 0);
    }
}

fn decode(bytes: &[u8]) -> Option<Claim> {
    let field = |at| frame::number(bytes, at);
    let is_whole = bytes.len() == BYTES
        && field(0)? == MAGIC
        && crc32c::crc32c(bytes.get(..BYTES - 4)?) == field(BYTES - 4)?;
    Some(Claim {
        segment: field(4)?,
        end: field(8)?,
        chain: field(12)?,
    })
    .filter(|_| is_whole)
}
