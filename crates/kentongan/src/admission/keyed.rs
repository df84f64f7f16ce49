//! A token bucket for every address prefix, or user, so that coming back on a new connection does not fill it.
//!
//! Invariant: at most `keys_max` buckets are held, whatever the clients do; and a bucket is forgotten only when it
//! is full, or when there are too many.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    time::Instant,
};

use parking_lot::Mutex;

use super::bucket::{Bucket, time_to_fill};
use crate::config::Rate;

#[derive(Debug)]
pub(crate) struct KeyedBuckets<K> {
    rate: Rate,
    /// Buckets of one generation of one shard.
    generation_max: usize,
    hasher: RandomState,
    shards: [Mutex<Shard<K>>; SHARDS],
}

/// Two generations: what was used since the last turn, and what was used before. A turn drops the older one at once,
/// so nothing is ever searched through.
#[derive(Debug)]
struct Shard<K> {
    current: HashMap<K, Bucket>,
    previous: HashMap<K, Bucket>,
    turned_at: Option<Instant>,
}

impl<K: Copy + Eq + Hash> KeyedBuckets<K> {
    pub(crate) fn new(rate: Rate, keys_max: usize) -> Self {
        Self {
            rate,
            generation_max: (keys_max / SHARDS / 2).max(1),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(Shard::new())),
        }
    }

    /// Takes a token of `key`. `false`: there is none.
    pub(crate) fn take(&self, now: Instant, key: K) -> bool {
        let index = self.hasher.hash_one(key) % SHARDS as u64;
        let Some(shard) = self.shards.get(usize::try_from(index).unwrap_or_default()) else {
            return true;
        };
        let mut shard = shard.lock();
        shard.turn(now, self.rate, self.generation_max);
        let older = shard.previous.remove(&key);
        shard
            .current
            .entry(key)
            .or_insert_with(|| older.unwrap_or_else(|| Bucket::full(now)))
            .take(now, self.rate)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| {
                let shard = shard.lock();
                shard.current.len() + shard.previous.len()
            })
            .sum()
    }
}

impl<K: Eq + Hash> Shard<K> {
    fn new() -> Self {
        Self {
            current: HashMap::new(),
            previous: HashMap::new(),
            turned_at: None,
        }
    }

    fn turn(&mut self, now: Instant, rate: Rate, generation_max: usize) {
        let turned_at = *self.turned_at.get_or_insert(now);
        // What was not used for the time to fill is full, which is as good as absent.
        let is_stale = now.saturating_duration_since(turned_at) >= time_to_fill(rate);
        if is_stale || self.current.len() >= generation_max {
            self.previous = std::mem::take(&mut self.current);
            self.turned_at = Some(now);
        }
    }
}

const SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        time::Duration,
    };

    use super::*;
    use crate::admission::address::Prefix;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 20,
    };

    fn prefix(number: u32) -> Prefix {
        Prefix::from(IpAddr::V4(Ipv4Addr::from_bits(number << 8)))
    }

    #[test]
    fn buckets_survive_a_turn() {
        let buckets = KeyedBuckets::new(RATE, 65_536);
        let start = Instant::now();
        let mut taken = 0;
        // 10 s of a flood: five times as long as a bucket takes to fill, so several turns.
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            taken += u32::from(buckets.take(now, prefix(1)));
        }
        assert!((118..=120).contains(&taken), "{taken}");
        assert!(buckets.take(start, prefix(2)), "others are not concerned");
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let max = 64;
        let buckets = KeyedBuckets::new(RATE, max);
        let start = Instant::now();
        for number in 0..10_000 {
            assert!(buckets.take(start, prefix(number)), "a new one is let in");
            assert!(buckets.len() <= max, "{}", buckets.len());
        }
    }

    #[test]
    fn quiet_addresses_are_forgotten() {
        let buckets = KeyedBuckets::new(RATE, 65_536);
        let start = Instant::now();
        for number in 0..10_000 {
            buckets.take(start, prefix(number));
        }
        assert_eq!(buckets.len(), 10_000);
        for seconds in [10, 20] {
            for number in 0..1000 {
                buckets.take(start + Duration::from_secs(seconds), prefix(number));
            }
        }
        assert_eq!(buckets.len(), 1000);
    }
}
