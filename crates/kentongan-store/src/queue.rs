//! Group commit: a thread that appends everything that waits as one group, so that one sync serves many publishers.
//!
//! Must not know what a store does with a group.

use std::{
    io, mem,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use crate::{
    contract::Store,
    error::{AppendError, Outcome},
    record::{Ack, Append},
};

/// Runs a [`Store`] in a thread of its own.
///
/// While a group is on its way to the disk, the next one gathers. Each append is answered exactly once, by a call from
/// that thread, which must not block. Dropping it finishes what waits.
#[derive(Debug)]
pub struct GroupCommit {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    bytes_max: usize,
    appends_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    appends: Vec<Append>,
    done: Vec<Completion>,
    bytes: usize,
    is_closed: bool,
}

type Answer = Box<dyn FnOnce(Result<Ack, AppendError>) + Send>;

/// Answers once: should the thread die, then with an error.
struct Completion(Option<Answer>);

impl std::fmt::Debug for Completion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Completion")
    }
}

impl Completion {
    fn answer(mut self, result: Result<Ack, AppendError>) {
        if let Some(answer) = self.0.take() {
            answer(result);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer(Err(AppendError::Closed {
                outcome: Outcome::Unknown,
            }));
        }
    }
}

impl GroupCommit {
    /// Starts the thread. When the store acknowledges before it syncs, `sync_every` says how often the thread syncs while
    /// records come in.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(store: Arc<dyn Store>, sync_every: Option<Duration>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            bytes_max: store.limits().queue_bytes_max,
            appends_max: store.limits().queue_appends_max,
        });
        let thread = thread::Builder::new()
            .name("kentongan-store".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.run(&*store, sync_every)
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Puts an append in the queue. `done` is called with what it came to, unless this call fails.
    ///
    /// # Errors
    /// `queue_full` when too much waits, `closed` when the thread has ended.
    pub fn submit(
        &self,
        append: Append,
        done: impl FnOnce(Result<Ack, AppendError>) + Send + 'static,
    ) -> Result<(), AppendError> {
        let mut queue = self.shared.queue.lock();
        if queue.is_closed {
            return Err(AppendError::Closed {
                outcome: Outcome::NotDone,
            });
        }
        let bytes = queue.bytes.saturating_add(append.bytes());
        if bytes > self.shared.bytes_max || queue.appends.len() >= self.shared.appends_max {
            return Err(AppendError::QueueFull);
        }
        queue.bytes = bytes;
        queue.appends.push(append);
        queue.done.push(Completion(Some(Box::new(done))));
        drop(queue);
        self.shared.filled.notify_one();
        Ok(())
    }

    /// Appends and waits for what it comes to.
    ///
    /// # Errors
    /// As [`GroupCommit::submit`], and as the store says.
    pub fn append(&self, append: Append) -> Result<Ack, AppendError> {
        let (tx, rx) = mpsc::sync_channel(1);
        self.submit(append, move |result| {
            // The receiver is in this function until it has the answer.
            let _ = tx.send(result);
        })?;
        rx.recv().unwrap_or(Err(AppendError::Closed {
            outcome: Outcome::Unknown,
        }))
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        self.shared.queue.lock().is_closed = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has answered all who waited, by way of `Completion`.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, store: &dyn Store, sync_every: Option<Duration>) {
        /// Nobody may wait for a thread that has ended, whatever ended it.
        struct Close<'a>(&'a Shared);
        impl Drop for Close<'_> {
            fn drop(&mut self) {
                let queue = &mut *self.0.queue.lock();
                queue.is_closed = true;
                drop(mem::take(&mut queue.done));
            }
        }
        let _close = Close(self);

        // When the oldest record that is not yet synced came.
        let mut unsynced: Option<Instant> = None;
        loop {
            let patience = sync_every
                .zip(unsynced)
                .map(|(every, since)| every.saturating_sub(since.elapsed()));
            if patience == Some(Duration::ZERO) {
                // An error stays with the store: it has stopped, and tells every append so.
                let _ = store.sync();
                unsynced = None;
                continue;
            }
            let Some(group) = self.next(patience) else {
                break;
            };
            if group.appends.is_empty() {
                continue;
            }
            let outcomes = store.append(&group.appends);
            unsynced = unsynced.or_else(|| Some(Instant::now()));
            for (done, outcome) in group.done.into_iter().zip(outcomes) {
                done.answer(outcome);
            }
        }
        let _ = store.sync();
    }

    /// What waits; nothing when it took longer than `patience`; `None` at the end.
    fn next(&self, patience: Option<Duration>) -> Option<Queue> {
        let mut queue = self.queue.lock();
        while queue.appends.is_empty() {
            if queue.is_closed {
                return None;
            }
            match patience {
                None => self.filled.wait(&mut queue),
                Some(patience) => {
                    if self.filled.wait_for(&mut queue, patience).timed_out()
                        && queue.appends.is_empty()
                    {
                        return Some(Queue::default());
                    }
                }
            }
        }
        let is_closed = queue.is_closed;
        let group = mem::take(&mut *queue);
        queue.is_closed = is_closed;
        Some(group)
    }
}
