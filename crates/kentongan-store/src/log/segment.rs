//! Segments: one file of a log, of a fixed length, with a header that says which one it is and where the one before ended.
//!
//! ```text
//! magic       8 bytes
//! version     u32
//! number      u32  counts from 1
//! bytes       u32  of the file
//! prev_end    u32  where the frames of the segment before end; 0 in the first
//! prev_chain  u32  the crc of the last of them
//! nonce       u64  makes segments of different logs different
//! crc         u32  of all before; it seeds the checksums of the frames
//! ```
//!
//! The file has its full length from the beginning, so a file that was cut shows, and the space is there when a record
//! needs it. Must not know what the entries mean.

use std::{io, sync::Arc};

use super::{
    entry::Entry,
    frame::{self, Group},
};
use crate::{
    disk::{self, Disk, DiskFile},
    error::OpenError,
};

/// Bytes of the header; the first frame is behind it.
pub(super) const HEADER_BYTES: usize = 40;
/// Bytes of the last entry, which is always found room for.
pub(super) const SEAL_BYTES: u32 = frame::HEADER_BYTES as u32 + 1;
/// A segment under construction: it gets its name when it is whole.
pub(super) const UNFINISHED: &str = "next.tmp";
const MAGIC: &[u8; 8] = b"KTGSTORE";
const VERSION: u32 = 1;
const SUFFIX: &str = ".log";

/// A segment and where its frames end.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) bytes: u32,
    pub(super) seed: u32,
    pub(super) prev_end: u32,
    pub(super) prev_chain: u32,
    /// Where the next frame goes.
    pub(super) end: u32,
    /// The crc of the last frame; of the header when there is none.
    pub(super) chain: u32,
}

/// Why something could not be written.
#[derive(Debug)]
pub(super) enum WriteFault {
    /// So many bytes of it were written.
    Write(usize, io::Error),
    Sync(io::Error),
}

impl Segment {
    /// Makes a segment. When it fails before its name is given, nothing is left of it; when the name could not be
    /// synced, nobody knows.
    pub(super) fn create(
        disk: &dyn Disk,
        number: u32,
        bytes: u32,
        before: Option<&Segment>,
        nonce: u64,
    ) -> Result<Self, WriteFault> {
        let prev_end = before.map_or(0, |before| before.end);
        let prev_chain = before.map_or(0, |before| before.chain);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        for field in [VERSION, number, bytes, prev_end, prev_chain] {
            header.extend_from_slice(&field.to_le_bytes());
        }
        header.extend_from_slice(&nonce.to_le_bytes());
        let seed = crc32c::crc32c(&header);
        header.extend_from_slice(&seed.to_le_bytes());

        let write = |error| WriteFault::Write(0, error);
        let file = disk.create(UNFINISHED).map_err(write)?;
        let finish = || -> Result<(), WriteFault> {
            file.reserve(u64::from(bytes)).map_err(write)?;
            disk::write_all(&*file, &header, 0).map_err(|(_, error)| write(error))?;
            file.sync().map_err(WriteFault::Sync)?;
            disk.rename(UNFINISHED, &name(number)).map_err(write)
        };
        finish().inspect_err(|_| {
            // Best effort: it holds space. The next attempt, or the next start, removes it too.
            let _ = disk.remove(UNFINISHED);
        })?;
        disk.sync().map_err(WriteFault::Sync)?;
        Ok(Self {
            number,
            file,
            bytes,
            seed,
            prev_end,
            prev_chain,
            end: HEADER_BYTES as u32,
            chain: seed,
        })
    }

    /// Opens a segment and reads its header.
    pub(super) fn open(disk: &dyn Disk, number: u32) -> Result<Self, OpenError> {
        let name = name(number);
        let io = |source| OpenError::Io {
            what: format!("reading {name}"),
            source,
        };
        let file = disk.open(&name).map_err(io)?;
        let mut header = [0; HEADER_BYTES];
        let read = disk::read_full(&*file, &mut header, 0).map_err(io)?;
        let damaged = |what| OpenError::Damaged {
            file: name.clone(),
            at: 0,
            what,
        };
        let field = |at| frame::number(&header, at).ok_or_else(|| damaged("its header is cut"));
        let seed = field(HEADER_BYTES - 4)?;
        let counted = header.get(..HEADER_BYTES - 4).unwrap_or_default();
        if read < HEADER_BYTES || !header.starts_with(MAGIC) || crc32c::crc32c(counted) != seed {
            return Err(damaged("its header is not what was written"));
        }
        let version = field(8)?;
        if version != VERSION {
            return Err(OpenError::Version {
                file: name,
                version,
            });
        }
        let bytes = field(16)?;
        if field(12)? != number {
            return Err(damaged("it is another segment under this name"));
        }
        if file.bytes().map_err(io)? != u64::from(bytes) {
            return Err(damaged("it does not have the length that it was made with"));
        }
        Ok(Self {
            number,
            file,
            bytes,
            seed,
            prev_end: field(20)?,
            prev_chain: field(24)?,
            end: HEADER_BYTES as u32,
            chain: seed,
        })
    }

    /// An empty group that goes behind the last frame.
    pub(super) fn group(&self, synced: u32, commit: u32) -> Group {
        Group {
            bytes: Vec::new(),
            start: self.end,
            chain: self.chain,
            seed: self.seed,
            synced,
            commit,
        }
    }

    /// Writes a group, but does not sync it.
    pub(super) fn write(&mut self, group: &Group) -> Result<(), WriteFault> {
        debug_assert_eq!(group.start, self.end, "a group goes behind the last frame");
        debug_assert!(
            group.end() <= self.bytes,
            "the caller has seen to it that it fits"
        );
        disk::write_all(&*self.file, &group.bytes, u64::from(self.end))
            .map_err(|(written, error)| WriteFault::Write(written, error))?;
        self.end = group.end();
        self.chain = group.chain;
        Ok(())
    }

    /// Overwrites everything from the end of the frames to `until` with zeros, but does not sync it.
    pub(super) fn clear(&self, until: u32) -> Result<(), WriteFault> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut at = self.end;
        while at < until {
            let block = (until - at).min(ZEROS.len() as u32);
            let zeros = ZEROS.get(..block as usize).unwrap_or_default();
            disk::write_all(&*self.file, zeros, u64::from(at))
                .map_err(|(written, error)| WriteFault::Write(written, error))?;
            at += block;
        }
        Ok(())
    }

    /// Writes the last entry, and syncs it. The frames before it are what the next segment counts on, so `end` stays.
    pub(super) fn seal(&self, commit: u32) -> Result<(), WriteFault> {
        let mut group = self.group(self.end, commit);
        group.push(|out| Entry::Seal.encode(out));
        self.clone().write(&group)?;
        self.file.sync().map_err(WriteFault::Sync)
    }
}

/// The file name of a segment.
pub(super) fn name(number: u32) -> String {
    format!("{number:010}{SUFFIX}")
}

/// The number in a file name; `None` when the file is no segment.
pub(super) fn number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(SUFFIX)?.parse().ok()?;
    (number > 0 && self::name(number) == name).then_some(number)
}
