//! For the tests of this crate: files on disk and in memory, and chance from a seed.
#![allow(dead_code, reason = "each test uses a part")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its files should fail"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kentongan_rules::{Diagnostic, Files, ReadError, Rules, compile};

/// A folder on disk.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Files for Folder {
    fn read(&self, path: &str) -> Result<String, ReadError> {
        std::fs::read_to_string(self.0.join(path)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ReadError::Missing,
            _ => ReadError::Other(error.to_string()),
        })
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of the example workspace, in memory.
pub(crate) fn workspace() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let folder = root().join("examples/workspace");
    for part in ["", "contracts", "policies"] {
        for entry in std::fs::read_dir(folder.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(&folder).unwrap().to_str().unwrap();
                files.insert(name.to_owned(), std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

/// Compiles a rules file with the files that it names.
pub(crate) fn compile_with(rules: &str, others: &[(&str, &str)]) -> Result<Rules, Vec<Diagnostic>> {
    let mut files = BTreeMap::from([("kentongan.toml".to_owned(), rules.to_owned())]);
    for (path, text) in others {
        files.insert((*path).to_owned(), (*text).to_owned());
    }
    compile(&files, "kentongan.toml")
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap();
        usize::try_from(self.next() % bound).unwrap()
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}
