//! Damaged files: every flipped bit, cut, lost or replaced file is noticed, and nothing wrong is ever served.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::{collections::BTreeMap, sync::Arc};

use kentongan_store::{
    Append, DiskStore, Limits, OpenError, OpenReport, PageLimit, Record, Settings, Store, Window,
};
use kentongan_testkit::store_suite::{MemoryDisk, WIDE, append, read_all};

const ROOMS: [&str; 3] = ["a", "b", "c"];

fn open(disk: &MemoryDisk) -> Result<(DiskStore, OpenReport), OpenError> {
    let settings = Settings {
        limits: Limits {
            record_bytes_max: 4000,
            commit_bytes_max: 8 << 10,
            segment_bytes: 32 << 10,
            ..Limits::default()
        },
        seed: 3,
        ..Settings::default()
    };
    DiskStore::open(Arc::new(disk.clone()), settings)
}

fn contents(store: &DiskStore) -> BTreeMap<&'static str, Vec<Record>> {
    let rooms = ROOMS.into_iter();
    rooms
        .map(|room| (room, read_all(store, room, None)))
        .collect()
}

/// A log of several segments, some already dropped, whose process was killed; and what was acknowledged.
fn log() -> (MemoryDisk, BTreeMap<&'static str, Vec<Record>>) {
    let disk = MemoryDisk::new();
    let (store, _) = open(&disk).unwrap();
    for number in 0..150 {
        let window = Window {
            records: 40,
            ..WIDE
        };
        let batch: Vec<Append> = ROOMS
            .into_iter()
            .map(|room| Append {
                window,
                ..append(
                    room,
                    &format!("{number}"),
                    vec![number as u8; 300 + number * 3],
                )
            })
            .collect();
        for outcome in store.append(&batch) {
            outcome.unwrap();
        }
        store.trim(0).unwrap();
    }
    let contents = contents(&store);
    disk.kill();
    drop(store);
    let names = disk.names();
    assert!(!names.contains(&"0000000001.log".to_owned()), "{names:?}");
    assert!(names.len() >= 4, "{names:?}");
    (disk, contents)
}

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

/// Whether a damage is noticed at start. What is served nevertheless is whole.
fn is_noticed(disk: &MemoryDisk, contents_before: &BTreeMap<&'static str, Vec<Record>>) -> bool {
    match open(disk) {
        Err(OpenError::Damaged { file, .. }) => {
            assert!(file.ends_with(".log"), "it is named");
            true
        }
        Err(error) => panic!("{error}"),
        Ok((store, report)) => {
            assert_eq!(&contents(&store), contents_before, "{report:?}");
            !report.is_clean()
        }
    }
}

#[test]
fn an_undamaged_log_opens_clean() {
    let (disk, contents) = log();
    assert!(!is_noticed(&disk, &contents));
}

#[test]
fn a_thousand_damages_are_noticed() {
    let (original, contents) = log();
    let names = original.names();
    let random = &mut Random(1);
    for seed in 0..1000 {
        let disk = original.copy();
        let name = &names[random.below(names.len())];
        let mut what = String::new();
        disk.tamper(name, |bytes| {
            if seed % 5 == 4 {
                let length = random.below(bytes.len());
                what = format!("{name} cut to {length} of {}", bytes.len());
                bytes.truncate(length);
            } else {
                let bit = random.below(bytes.len() * 8);
                what = format!("bit {bit} of {name} flipped");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        });
        assert!(is_noticed(&disk, &contents), "{what}");
    }
}

/// A file of which half the damages would lie in unused zeros says little: here every byte of the last records is hit.
#[test]
fn every_byte_of_the_last_commit_counts() {
    let (original, contents) = log();
    let name = original
        .names()
        .iter()
        .rfind(|name| name.ends_with(".log"))
        .unwrap()
        .clone();
    let mut used = 0;
    original.copy().tamper(&name, |bytes| {
        used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    });
    for at in used - 1000..used {
        let disk = original.copy();
        disk.tamper(&name, |bytes| bytes[at] ^= 0x10);
        assert!(is_noticed(&disk, &contents), "byte {at}");
    }
    // The same with zeros from there on, as after a write that never came to the disk.
    for at in (used - 1000..used).step_by(50) {
        let disk = original.copy();
        disk.tamper(&name, |bytes| bytes[at..].fill(0));
        assert!(is_noticed(&disk, &contents), "zeros from {at}");
    }
}

/// Without the file `head`, later frames still bear witness to those before them.
#[test]
fn a_broken_commit_before_the_last_one_is_never_cut() {
    let (original, contents) = log();
    original.lose("head");
    let names = original.names();
    let name = names.iter().rfind(|name| name.ends_with(".log")).unwrap();
    let mut used = 0;
    original.copy().tamper(name, |bytes| {
        used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    });
    // A commit has about 2,300 bytes.
    for at in (100..used - 2500).step_by(97) {
        let disk = original.copy();
        disk.tamper(name, |bytes| bytes[at] ^= 1);
        assert!(is_noticed(&disk, &contents), "byte {at}");
    }
}

/// Two copies of one log that went different ways: each is whole, but it is not what was acknowledged here.
#[test]
fn the_same_segment_of_another_life_is_noticed() {
    let (original, _) = log();
    let append_one = |disk: &MemoryDisk, data: &'static str| {
        let (store, _) = open(disk).unwrap();
        store
            .append(&[append("a", "last", data)])
            .remove(0)
            .unwrap();
        let contents = contents(&store);
        disk.kill();
        drop(store);
        contents
    };
    let (here, there) = (original.copy(), original.copy());
    let contents = append_one(&here, "this");
    append_one(&there, "that");
    let names = here.names();
    let name = names.iter().rfind(|name| name.ends_with(".log")).unwrap();
    let mut other = Vec::new();
    there.tamper(name, |bytes| other = bytes.clone());
    assert!(!is_noticed(&here.copy(), &contents));
    here.tamper(name, |bytes| *bytes = other);
    assert!(is_noticed(&here, &contents));
}

#[test]
fn a_file_that_grew_is_noticed() {
    let (original, contents) = log();
    for name in original.names() {
        let disk = original.copy();
        disk.tamper(&name, |bytes| bytes.push(0));
        assert!(is_noticed(&disk, &contents), "{name}");
    }
}

#[test]
fn a_lost_file_is_noticed() {
    let (original, contents) = log();
    for name in original.names() {
        let disk = original.copy();
        disk.lose(&name);
        assert!(is_noticed(&disk, &contents), "{name}");
    }
    let disk = original.copy();
    for name in original
        .names()
        .iter()
        .filter(|name| name.ends_with(".log"))
    {
        disk.lose(name);
    }
    assert!(
        open(&disk).is_err(),
        "a log that is gone is not an empty log"
    );
}

#[test]
fn an_older_state_of_a_file_is_noticed() {
    let disk = MemoryDisk::new();
    let (store, _) = open(&disk).unwrap();
    let mut states = Vec::new();
    for number in 0..60 {
        for outcome in store.append(&[append("a", &format!("{number}"), vec![1; 1500])]) {
            outcome.unwrap();
        }
        states.push(disk.copy());
    }
    let contents = contents(&store);
    disk.kill();
    drop(store);
    let last = disk.names();
    let mut tried = 0;
    for state in states.iter().step_by(3) {
        for name in last.iter().filter(|name| name.ends_with(".log")) {
            let (mut old, mut new) = (None, None);
            if !state.names().contains(name) {
                continue;
            }
            state.tamper(name, |bytes| old = Some(bytes.clone()));
            disk.copy().tamper(name, |bytes| new = Some(bytes.clone()));
            if old == new {
                continue;
            }
            let damaged = disk.copy();
            damaged.tamper(name, |bytes| *bytes = old.clone().unwrap());
            assert!(is_noticed(&damaged, &contents), "{name}");
            tried += 1;
        }
    }
    assert!(tried > 15, "only {tried}");
}

#[test]
fn two_segments_that_changed_places_are_noticed() {
    let (original, contents) = log();
    let names: Vec<String> = original.names();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    original
        .copy()
        .tamper(&names[0], |bytes| one = bytes.clone());
    original
        .copy()
        .tamper(&names[1], |bytes| two = bytes.clone());
    let disk = original.copy();
    disk.tamper(&names[0], |bytes| *bytes = two);
    disk.tamper(&names[1], |bytes| *bytes = one);
    assert!(is_noticed(&disk, &contents));
}

#[test]
fn a_newer_format_is_named() {
    let (disk, _) = log();
    let name = disk.names()[0].clone();
    disk.tamper(&name, |bytes| {
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
    });
    let error = open(&disk).unwrap_err();
    assert_eq!(error.code(), "version", "{error}");
    assert!(error.to_string().contains(&name));
}

/// Damage that comes while the store is open: the read fails and names it; other rooms are served.
#[test]
fn damage_under_a_running_store_is_not_served() {
    let (disk, contents) = log();
    let (store, _) = open(&disk).unwrap();
    let victim = &contents["b"][20];
    let needle = vec![victim.data[0]; victim.data.len()];
    for name in disk.names().iter().filter(|name| name.ends_with(".log")) {
        disk.tamper(name, |bytes| {
            let found = bytes.windows(needle.len()).position(|part| part == needle);
            // The data of room `a` with this number comes first, that of `b` behind it.
            if let Some(first) = found {
                let rest = &mut bytes[first + needle.len()..];
                let second = rest
                    .windows(needle.len())
                    .position(|part| part == needle)
                    .unwrap();
                rest[second + 5] ^= 1;
            }
        });
    }
    let limit = PageLimit {
        records: 1000,
        bytes: 1 << 20,
    };
    let error = store.read("b", None, limit).unwrap_err();
    assert_eq!(error.code(), "damaged", "{error}");
    assert!(error.to_string().contains(".log is damaged at byte "));
    assert_eq!(store.health().damage, Some(error.to_string()));
    for room in ["a", "c"] {
        assert_eq!(read_all(&store, room, None), contents[room]);
    }
    // A retry of the damaged record cannot be judged, so it is refused.
    let retry = Append {
        window: Window {
            records: 40,
            ..WIDE
        },
        ..append("b", &victim.id, victim.data.clone())
    };
    assert_eq!(
        store.append(&[retry]).remove(0).unwrap_err().code(),
        "damaged"
    );
}
