//! Who may come in, and how fast: address prefixes, token buckets, connections that have joined nothing yet.
//!
//! Owns what outlives a connection: the buckets of addresses and the counts of the unauthenticated. It must not know
//! packets or HTTP answers. Nothing here is allocated unless its limit is set.

pub(crate) mod address;
pub(crate) mod bucket;
pub(crate) mod keyed;
pub(crate) mod unauthenticated;

use std::{
    hash::{BuildHasher, RandomState},
    time::Instant,
};

use self::{
    address::Prefix,
    keyed::KeyedBuckets,
    unauthenticated::{Crowd, Unauthenticated},
};
use crate::config::Config;

/// The state of one server.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    events: Option<KeyedBuckets<Prefix>>,
    /// By a keyed hash of the identity, so that a key has one size whatever applications call their users.
    user_events: Option<(RandomState, KeyedBuckets<u64>)>,
    unauthenticated: Option<Unauthenticated>,
}

impl Admission {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            events: config
                .rates
                .address_events
                .map(|rate| KeyedBuckets::new(rate, config.rates.addresses_max)),
            user_events: config.rates.user_events.map(|rate| {
                let buckets = KeyedBuckets::new(rate, config.rates.users_max);
                (RandomState::new(), buckets)
            }),
            unauthenticated: Unauthenticated::new(&config.unauthenticated),
        }
    }

    /// Whether an event from `prefix` is within the rate. A client whose address is unknown is not limited by it.
    pub(crate) fn take_event(&self, now: Instant, prefix: Option<Prefix>) -> bool {
        match (&self.events, prefix) {
            (Some(events), Some(prefix)) => events.take(now, prefix),
            _ => true,
        }
    }

    /// Whether an event of the user is within the rate. Who has no identity is not limited by it.
    pub(crate) fn take_event_of_user(&self, now: Instant, identity: Option<&str>) -> bool {
        match (&self.user_events, identity) {
            (Some((hasher, events)), Some(identity)) => events.take(now, hasher.hash_one(identity)),
            _ => true,
        }
    }

    /// Counts a connection in. Each must be counted out again, once.
    pub(crate) fn enter(&self, prefix: Option<Prefix>) -> Result<(), Crowd> {
        match &self.unauthenticated {
            Some(unauthenticated) => unauthenticated.enter(prefix),
            None => Ok(()),
        }
    }

    /// Counts a connection out: it has joined a namespace, or is over.
    pub(crate) fn leave(&self, prefix: Option<Prefix>) {
        if let Some(unauthenticated) = &self.unauthenticated {
            unauthenticated.leave(prefix);
        }
    }
}
