//! Decisions that were made before. Bounded: two halves, and when the younger one is full the older one is forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Decision;
use super::identity::Class;
use crate::limits::DECISIONS_MAX;

/// What a decision depends on.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key<'k> {
    pub(crate) class: &'k Class,
    /// Only when some policy looks at who the user is.
    pub(crate) user: Option<&'k str>,
    pub(crate) action: &'k str,
    pub(crate) room: &'k str,
}

/// Remembered decisions.
#[derive(Debug)]
pub(crate) struct Cache {
    hasher: RandomState,
    half_max: usize,
    halves: Mutex<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    /// By the hash of the key. Two keys with one hash replace each other, which costs time and nothing else.
    young: HashMap<u64, Entry>,
    old: HashMap<u64, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    class: Arc<Class>,
    user: Option<Box<str>>,
    action: Box<str>,
    room: Box<str>,
    decision: Decision,
}

impl Cache {
    pub(crate) fn new() -> Self {
        Self::with_max(DECISIONS_MAX)
    }

    fn with_max(max: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            half_max: max / 2,
            halves: Mutex::default(),
        }
    }

    pub(crate) fn find(&self, key: &Key<'_>) -> Option<Decision> {
        let hash = self.hasher.hash_one(key);
        let mut halves = self.halves.lock();
        if let Some(entry) = halves.young.get(&hash) {
            return entry.is_for(key).then(|| entry.decision.clone());
        }
        let entry = halves.old.get(&hash).filter(|entry| entry.is_for(key))?;
        let entry = entry.clone();
        let decision = entry.decision.clone();
        // What is asked for stays.
        halves.put(hash, entry, self.half_max);
        Some(decision)
    }

    pub(crate) fn remember(&self, key: &Key<'_>, class: &Arc<Class>, decision: Decision) {
        let entry = Entry {
            class: Arc::clone(class),
            user: key.user.map(Into::into),
            action: key.action.into(),
            room: key.room.into(),
            decision,
        };
        let hash = self.hasher.hash_one(key);
        self.halves.lock().put(hash, entry, self.half_max);
    }

    /// How many decisions are remembered.
    pub(crate) fn len(&self) -> usize {
        let halves = self.halves.lock();
        halves.young.len() + halves.old.len()
    }
}

impl Halves {
    fn put(&mut self, hash: u64, entry: Entry, half_max: usize) {
        if self.young.len() >= half_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, entry);
    }
}

impl Entry {
    fn is_for(&self, key: &Key<'_>) -> bool {
        *self.class == *key.class
            && self.user.as_deref() == key.user
            && *self.action == *key.action
            && *self.room == *key.room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Identity;

    fn key<'k>(identity: &'k Identity, action: &'k str, room: &'k str) -> Key<'k> {
        Key {
            class: &identity.class,
            user: None,
            action,
            room,
        }
    }

    #[test]
    fn every_part_of_the_key_counts() {
        let cache = Cache::new();
        let anna = Identity::new("anna", "acme", [], []).unwrap();
        let ben = Identity::new("ben", "other", [], []).unwrap();
        let known = key(&anna, "join:chat", "chat/a");
        cache.remember(&known, &anna.class, Decision::new(true, Vec::new()));
        assert!(cache.find(&known).unwrap().allowed);
        assert!(cache.find(&key(&ben, "join:chat", "chat/a")).is_none());
        assert!(cache.find(&key(&anna, "read:chat", "chat/a")).is_none());
        assert!(cache.find(&key(&anna, "join:chat", "chat/b")).is_none());
        let personal = Key {
            user: Some("anna"),
            ..key(&anna, "join:chat", "chat/a")
        };
        assert!(cache.find(&personal).is_none());
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let cache = Cache::with_max(100);
        let anna = Identity::new("anna", "", [], []).unwrap();
        let used = key(&anna, "join:chat", "used");
        cache.remember(&used, &anna.class, Decision::new(true, Vec::new()));
        for number in 0..1_000 {
            let room = number.to_string();
            let key = key(&anna, "join:chat", &room);
            cache.remember(&key, &anna.class, Decision::new(false, Vec::new()));
            assert!(cache.find(&used).is_some(), "{number}");
            assert!(cache.len() <= 100);
        }
        assert!(cache.find(&key(&anna, "join:chat", "0")).is_none());
    }
}
