//! The table of live sessions, by id.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::shared::Session;
use crate::id::Sid;

/// Sessions in shards, so that handshakes on different cores rarely meet.
#[derive(Default)]
pub(crate) struct SessionTable {
    shards: [Mutex<HashMap<Sid, Arc<Session>>>; SHARDS],
    count: AtomicUsize,
    /// Told when the last session is gone.
    empty: Notify,
}

impl SessionTable {
    /// Adds a session unless `sessions_max` are open.
    pub(crate) fn insert(&self, session: &Arc<Session>, sessions_max: usize) -> bool {
        let taken = self
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                (count < sessions_max).then_some(count + 1)
            });
        if taken.is_err() {
            return false;
        }
        self.shard(&session.id)
            .lock()
            .insert(session.id, Arc::clone(session));
        true
    }

    pub(crate) fn find(&self, id: &Sid) -> Option<Arc<Session>> {
        self.shard(id).lock().get(id).cloned()
    }

    pub(crate) fn remove(&self, id: &Sid) {
        if self.shard(id).lock().remove(id).is_some()
            && self.count.fetch_sub(1, Ordering::AcqRel) == 1
        {
            self.empty.notify_waiters();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.shards
            .iter()
            .flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Returns once no session is left.
    pub(crate) async fn drained(&self) {
        loop {
            let mut empty = std::pin::pin!(self.empty.notified());
            empty.as_mut().enable();
            if self.len() == 0 {
                return;
            }
            empty.await;
        }
    }

    fn shard(&self, id: &Sid) -> &Mutex<HashMap<Sid, Arc<Session>>> {
        &self.shards[id.shard(SHARDS)]
    }
}

const SHARDS: usize = 16;
