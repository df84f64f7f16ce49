//! All that a log needs of a file system, as two small traits: every I/O call of the log goes through here, so that a
//! test can make each of them fail.
//!
//! Must not know what is in the files.

use std::{fmt, io, sync::Arc};

/// One folder.
pub trait Disk: fmt::Debug + Send + Sync {
    /// The names of its files.
    ///
    /// # Errors
    /// What the system says; so for all that follows.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// Also when there is no such file.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes an empty file; one of that name is emptied.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name. Whether that survives the loss of power is open until [`Disk::sync`].
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Whoever has it open can still read it.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names safe: files that were made, renamed or removed.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&self) -> io::Result<()>;

    /// Takes the folder for one owner until the lock is dropped or the process ends.
    ///
    /// # Errors
    /// `WouldBlock` when somebody has it.
    fn lock(&self, name: &str) -> io::Result<Box<dyn fmt::Debug + Send + Sync>>;
}

/// One file. Positions are bytes from its beginning.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Its length.
    ///
    /// # Errors
    /// What the system says; so for all that follows.
    fn bytes(&self) -> io::Result<u64>;

    /// Makes an empty file this long, all zero, and reserves the space where the system can.
    ///
    /// # Errors
    /// `StorageFull` when there is not so much space.
    fn reserve(&self, bytes: u64) -> io::Result<()>;

    /// Reads at a position; may read less, and reads 0 bytes only at the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes at a position; may write less.
    ///
    /// # Errors
    /// `StorageFull` when there is no space.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;

    /// Returns when what was written is on stable storage. After an error, nobody knows what is.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&self) -> io::Result<()>;
}

/// Writes all, or says after how many bytes it failed.
pub(crate) fn write_all(
    file: &dyn DiskFile,
    bytes: &[u8],
    at: u64,
) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write_at(rest, at + written as u64) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// Fills the buffer; says how much of it there was before the end of the file.
pub(crate) fn read_full(file: &dyn DiskFile, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
