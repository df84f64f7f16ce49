//! All stores against the suite that every store has to pass.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;

use kentongan_store::{DiskStore, Durability, Folder, Limits, MemoryStore, Mode, Settings, Store};
use kentongan_testkit::store_suite::{MemoryDisk, Subject, check_all};

struct Memory;

impl Subject for Memory {
    fn open(&self, limits: Limits) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new(limits, 1).unwrap())
    }

    fn reopen(&self, _store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        None
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }
}

/// A log on a disk in memory.
struct Log {
    disk: std::cell::RefCell<MemoryDisk>,
    mode: Mode,
}

impl Log {
    fn new(mode: Mode) -> Self {
        Self {
            disk: std::cell::RefCell::default(),
            mode,
        }
    }

    fn open_disk(&self, limits: Limits) -> Arc<dyn Store> {
        let settings = Settings {
            limits,
            mode: self.mode,
            seed: 5,
        };
        let disk = Arc::new(self.disk.borrow().clone());
        let (store, report) = DiskStore::open(disk, settings).unwrap();
        assert!(report.is_clean(), "{report:?}");
        Arc::new(store)
    }
}

impl Subject for Log {
    fn open(&self, limits: Limits) -> Arc<dyn Store> {
        self.disk.replace(MemoryDisk::new());
        self.open_disk(limits)
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        let limits = store.limits().clone();
        drop(store);
        Some(self.open_disk(limits))
    }

    fn durability(&self) -> Durability {
        match self.mode {
            Mode::Synced => Durability::Disk,
            Mode::Written => Durability::Cache,
        }
    }
}

/// A log in a folder.
struct Real {
    folder: std::cell::RefCell<tempfile::TempDir>,
}

impl Real {
    fn open_folder(&self, limits: Limits) -> Arc<dyn Store> {
        let folder = Folder::open(self.folder.borrow().path()).unwrap();
        let settings = Settings {
            limits,
            seed: 5,
            ..Settings::default()
        };
        let (store, report) = DiskStore::open(Arc::new(folder), settings).unwrap();
        assert!(report.is_clean(), "{report:?}");
        Arc::new(store)
    }
}

impl Subject for Real {
    fn open(&self, limits: Limits) -> Arc<dyn Store> {
        self.folder.replace(tempfile::tempdir().unwrap());
        self.open_folder(limits)
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        let limits = store.limits().clone();
        drop(store);
        Some(self.open_folder(limits))
    }

    fn durability(&self) -> Durability {
        Durability::Disk
    }
}

/// Small segments, so that every check goes over several.
struct Small<S>(S);

impl<S: Subject> Subject for Small<S> {
    fn open(&self, limits: Limits) -> Arc<dyn Store> {
        self.0.open(Limits {
            record_bytes_max: limits.record_bytes_max.min(6000),
            commit_bytes_max: 8 << 10,
            segment_bytes: 32 << 10,
            ..limits
        })
    }

    fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        self.0.reopen(store)
    }

    fn durability(&self) -> Durability {
        self.0.durability()
    }
}

#[test]
fn the_memory_store_passes() {
    check_all(&Memory);
}

#[test]
fn the_log_passes() {
    check_all(&Small(Log::new(Mode::Synced)));
}

#[test]
fn the_log_that_acknowledges_early_passes() {
    check_all(&Small(Log::new(Mode::Written)));
}

#[test]
fn the_log_in_a_folder_passes() {
    let folder = std::cell::RefCell::new(tempfile::tempdir().unwrap());
    check_all(&Small(Real { folder }));
}
