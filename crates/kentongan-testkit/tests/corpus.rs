//! Replays the seeds of every fuzz target on stable, and keeps targets, entries and corpora in step.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kentongan_testkit::fuzz::TARGETS;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz")
        .join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let path = entry.expect("the folder is readable").path();
            let stem = path.file_stem().expect("an entry has a name");
            stem.to_string_lossy().into_owned()
        })
        .collect()
}

#[test]
fn every_seed_passes() {
    for (name, target) in TARGETS {
        let corpus = folder("corpus").join(name);
        let mut seeds = 0;
        for entry in fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{name}: {error}")) {
            let path = entry.unwrap().path();
            let data = fs::read(&path).unwrap();
            let passed = std::panic::catch_unwind(|| target(&data));
            assert!(passed.is_ok(), "{} breaks an invariant", path.display());
            seeds += 1;
        }
        assert!(seeds > 0, "{name} has no seeds");
    }
}

#[test]
fn every_target_has_an_entry_and_a_corpus() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder("fuzz_targets")), targets);
    assert_eq!(names(&folder("corpus")), targets);
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for name in targets {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

#[test]
fn the_empty_input_passes() {
    for (_, target) in TARGETS {
        target(&[]);
    }
}
