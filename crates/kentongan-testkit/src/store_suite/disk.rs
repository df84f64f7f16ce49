//! A disk in memory that fails on demand and forgets what a real one may forget.
//!
//! It counts every call, so that a test can make each of them fail in turn. After a crash, what was not synced is there,
//! gone, torn at sectors, or there without what was written before it. After a sync that failed, what it should have
//! made safe is there to see, but will never be safe, whatever later syncs say.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kentongan_store::{Disk, DiskFile};

use crate::sim::random::Random;

/// The unit in which writes are torn.
const SECTOR: usize = 512;

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails, and has done nothing.
    Error,
    /// The call fails for want of space, and has done nothing; calls that need no space fail too.
    NoSpace,
    /// A write or read does half of it; what cannot be halved fails.
    Short,
    /// A write does half of it, and every later write fails for want of space until [`MemoryDisk::free_space`].
    Full,
    /// The machine stops before the call; every later call fails until [`MemoryDisk::restart`].
    CrashBefore,
    /// The machine stops after the call.
    CrashAfter,
}

#[derive(Debug, Default)]
struct State {
    /// What the names are now, and what a crash may go back to: all changes since the last sync, oldest first.
    names: BTreeMap<String, usize>,
    safe_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    files: Vec<FileState>,
    calls: u64,
    fault: Option<(u64, Fault)>,
    is_down: bool,
    /// No file can be made or made longer.
    is_full: bool,
    /// Nothing can be written at all, as on a disk that is itself a file on a full one.
    refuses_writes: bool,
    is_locked: bool,
    /// Locks of an earlier life do not count.
    life: u64,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Clone, Debug, Default)]
struct FileState {
    now: Vec<u8>,
    safe: Vec<u8>,
    /// Writes that no sync has made safe yet.
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
enum Pending {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
        }
    }

    /// Lets the call with this number (they count from 1) go wrong.
    pub fn fail_at(&self, call: u64, fault: Fault) {
        self.state().fault = Some((call, fault));
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Whether the machine has stopped.
    pub fn is_down(&self) -> bool {
        self.state().is_down
    }

    /// From now on no file can be made, and none made longer.
    pub fn fill(&self) {
        self.state().is_full = true;
    }

    /// There is space again.
    pub fn free_space(&self) {
        let state = &mut *self.state();
        state.is_full = false;
        state.refuses_writes = false;
    }

    /// Stops the machine, if it is not down already, and starts it again: what was not synced may be there or not.
    pub fn restart(&self, seed: u64) {
        let random = &mut Random::new(seed);
        let state = &mut *self.state();
        // Changes of names come through in their order, but nobody knows how many.
        let kept = random.below(state.name_changes.len() as u64 + 1) as usize;
        let mut names = std::mem::take(&mut state.safe_names);
        for change in state.name_changes.iter().take(kept) {
            change.apply(&mut names);
        }
        state.safe_names = names.clone();
        state.names = names;
        state.name_changes.clear();
        for file in &mut state.files {
            file.crash(random);
        }
        state.fault = None;
        state.is_down = false;
        state.is_locked = false;
        state.life += 1;
    }

    /// Ends the process, but not the machine: all that was written is there.
    pub fn kill(&self) {
        let state = &mut *self.state();
        state.fault = None;
        state.is_down = false;
        state.is_locked = false;
        state.life += 1;
    }

    /// A copy with all that is on it now.
    pub fn copy(&self) -> Self {
        let from = self.state();
        Self {
            state: Arc::new(Mutex::new(State {
                names: from.names.clone(),
                safe_names: from.safe_names.clone(),
                name_changes: from.name_changes.clone(),
                files: from.files.clone(),
                ..State::default()
            })),
        }
    }

    /// The files, by name.
    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// Changes a file's bytes behind everybody's back.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let state = &mut *self.state();
        let file = state.names.get(name).copied().expect("the file is there");
        let file = &mut state.files[file];
        change(&mut file.now);
        file.safe = file.now.clone();
        file.pending.clear();
    }

    /// Removes a file behind everybody's back.
    pub fn lose(&self, name: &str) {
        let state = &mut *self.state();
        state.names.remove(name);
        state.safe_names = state.names.clone();
        state.name_changes.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call; it is carried out by `call` unless it fails first.
    fn call<T>(&self, call: impl FnOnce(&mut State, How) -> io::Result<T>) -> io::Result<T> {
        let state = &mut *self.state();
        if state.is_down {
            return Err(io::Error::other("the machine is down"));
        }
        state.calls += 1;
        let fault = state
            .fault
            .filter(|(at, _)| *at == state.calls)
            .map(|(_, fault)| fault);
        match fault {
            None => call(state, How::Whole),
            Some(Fault::Error) => call(state, How::NotAtAll(io::ErrorKind::Other)),
            Some(Fault::NoSpace) => call(state, How::NotAtAll(io::ErrorKind::StorageFull)),
            Some(Fault::Short) => call(state, How::Half),
            Some(Fault::Full) => {
                let result = call(state, How::Half);
                state.is_full = true;
                state.refuses_writes = true;
                result
            }
            Some(Fault::CrashBefore) => {
                state.is_down = true;
                Err(io::Error::other("the machine is down"))
            }
            Some(Fault::CrashAfter) => {
                let result = call(state, How::Whole);
                state.is_down = true;
                result
            }
        }
    }

    /// A call that is carried out as a whole or not at all.
    fn plain<T>(&self, call: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.call(|state, how| match how {
            How::Whole => call(state),
            How::Half => Err(io::Error::other("an injected fault")),
            How::NotAtAll(kind) => Err(kind.into()),
        })
    }

    fn file(&self, index: usize) -> Arc<dyn DiskFile> {
        Arc::new(MemoryFile {
            disk: self.clone(),
            index,
            life: self.state().life,
        })
    }
}

/// How a call is carried out.
enum How {
    Whole,
    Half,
    NotAtAll(io::ErrorKind),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl State {
    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }
}

impl FileState {
    fn crash(&mut self, random: &mut Random) {
        let mut bytes = std::mem::take(&mut self.safe);
        for pending in self.pending.drain(..) {
            match pending {
                Pending::Length(length) => {
                    if random.chance(50) {
                        bytes.resize(length, 0);
                    }
                }
                Pending::Bytes(at, written) => {
                    // All of it, nothing, or some sectors.
                    let (all, none) = (random.chance(30), random.chance(30));
                    let mut begin = 0;
                    while begin < written.len() {
                        let end = ((at + begin) / SECTOR * SECTOR + SECTOR - at).min(written.len());
                        if all || !none && random.chance(50) {
                            put(&mut bytes, at + begin, &written[begin..end]);
                        }
                        begin = end;
                    }
                }
            }
        }
        self.now = bytes.clone();
        self.safe = bytes;
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    let end = at + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(written);
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.plain(|state| Ok(state.names.keys().cloned().collect()))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let index = self.plain(|state| {
            let file = state.names.get(name).copied();
            file.ok_or_else(|| io::ErrorKind::NotFound.into())
        })?;
        Ok(self.file(index))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let index = self.plain(|state| {
            if state.is_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.files.push(FileState::default());
            let index = state.files.len() - 1;
            state.change_names(NameChange::Create(name.to_owned(), index));
            Ok(index)
        })?;
        Ok(self.file(index))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.plain(|state| {
            if !state.names.contains_key(from) {
                return Err(io::ErrorKind::NotFound.into());
            }
            state.change_names(NameChange::Rename(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.plain(|state| {
            if !state.names.contains_key(name) {
                return Err(io::ErrorKind::NotFound.into());
            }
            state.change_names(NameChange::Remove(name.to_owned()));
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.plain(|state| {
            state.safe_names = state.names.clone();
            state.name_changes.clear();
            Ok(())
        })
    }

    fn lock(&self, _name: &str) -> io::Result<Box<dyn fmt::Debug + Send + Sync>> {
        let life = self.plain(|state| {
            if state.is_locked {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            state.is_locked = true;
            Ok(state.life)
        })?;
        Ok(Box::new(Lock {
            disk: self.clone(),
            life,
        }))
    }
}

#[derive(Debug)]
struct Lock {
    disk: MemoryDisk,
    life: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let state = &mut *self.disk.state();
        if state.life == self.life {
            state.is_locked = false;
        }
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    index: usize,
    /// Who opened it is gone after a restart: then it does nothing any more.
    life: u64,
}

impl MemoryFile {
    fn call<T>(&self, call: impl FnOnce(&mut State, How) -> io::Result<T>) -> io::Result<T> {
        let is_stale = self.disk.state().life != self.life;
        if is_stale {
            return Err(io::Error::other("the machine has been restarted"));
        }
        self.disk.call(call)
    }
}

impl DiskFile for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        self.call(|state, how| match how {
            How::Whole => Ok(state.files[self.index].now.len() as u64),
            How::Half => Err(io::Error::other("an injected fault")),
            How::NotAtAll(kind) => Err(kind.into()),
        })
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.call(|state, how| {
            match how {
                How::Whole if state.is_full => return Err(io::ErrorKind::StorageFull.into()),
                How::Whole => {}
                How::Half => return Err(io::Error::other("an injected fault")),
                How::NotAtAll(kind) => return Err(kind.into()),
            }
            let file = &mut state.files[self.index];
            file.now.resize(bytes as usize, 0);
            file.pending.push(Pending::Length(bytes as usize));
            Ok(())
        })
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.call(|state, how| {
            let file = &state.files[self.index];
            let rest = file.now.get(at as usize..).unwrap_or_default();
            let count = match how {
                How::Whole => rest.len().min(buffer.len()),
                How::Half => (rest.len().min(buffer.len()) / 2).max(1).min(rest.len()),
                How::NotAtAll(kind) => return Err(kind.into()),
            };
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        self.call(|state, how| {
            let is_inside = (at as usize) + bytes.len() <= state.files[self.index].now.len();
            if state.refuses_writes || state.is_full && !is_inside {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = match how {
                How::Whole => bytes.len(),
                How::Half => (bytes.len() / 2).max(1),
                How::NotAtAll(kind) => return Err(kind.into()),
            };
            let file = &mut state.files[self.index];
            put(&mut file.now, at as usize, &bytes[..count]);
            file.pending
                .push(Pending::Bytes(at as usize, bytes[..count].to_vec()));
            Ok(count)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.call(|state, how| {
            let file = &mut state.files[self.index];
            let pending = std::mem::take(&mut file.pending);
            match how {
                How::Whole => {
                    for pending in pending {
                        match pending {
                            Pending::Length(length) => file.safe.resize(length, 0),
                            Pending::Bytes(at, written) => put(&mut file.safe, at, &written),
                        }
                    }
                    Ok(())
                }
                // What was pending is forgotten: visible, but never to be safe.
                How::Half => Err(io::Error::other("an injected fault")),
                How::NotAtAll(kind) => Err(kind.into()),
            }
        })
    }
}
