//! Acknowledgements that clients owe: one table per namespace, each entry with somebody who waits and a deadline.
//!
//! Invariant: an entry goes when its answer comes, its deadline passes, its client leaves, or its waiter is dropped;
//! nothing is left behind (socket.io #4984).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kentongan_protocol::socket::args::Args;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::SocketInner;
use crate::{
    error::AckError,
    id::Sid,
    metrics::{self, Metrics},
};

#[derive(Default)]
pub(crate) struct Acks {
    /// One counter per namespace, shared by single emits and broadcasts, as Node does.
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
}

enum Waiting {
    One {
        socket: Arc<SocketInner>,
        answer: oneshot::Sender<Result<Args, AckError>>,
    },
    Many(Arc<Answers>),
}

/// Takes answers as they come, in place of keeping them.
pub(crate) type Forward = Box<dyn Fn(Sid, Result<Args, AckError>) + Send + Sync>;

/// The answers to one broadcast.
#[derive(Default)]
pub(crate) struct Answers {
    forward: Option<Forward>,
    state: Mutex<AnswersState>,
    complete: Notify,
}

#[derive(Default)]
struct AnswersState {
    owed: HashMap<Sid, Arc<SocketInner>>,
    given: Vec<(Sid, Result<Args, AckError>)>,
}

/// An entry in the table; dropped, it is gone from there.
pub(crate) struct Entry<'a> {
    acks: &'a Acks,
    id: u64,
}

impl Acks {
    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes that `socket` owes the answer `id`.
    pub(crate) fn expect(
        &self,
        socket: &Arc<SocketInner>,
        id: u64,
    ) -> Result<(Entry<'_>, oneshot::Receiver<Result<Args, AckError>>), AckError> {
        let (answer, receiver) = oneshot::channel();
        if !owe(socket) {
            return Err(AckError::TooManyPending);
        }
        self.waiting.lock().insert(
            id,
            Waiting::One {
                socket: Arc::clone(socket),
                answer,
            },
        );
        // The socket may have ended before the entry was there to be found.
        if !socket.is_connected() {
            self.abandoned(socket);
        }
        Ok((Entry { acks: self, id }, receiver))
    }

    /// Notes that each of `sockets` owes the answer `id`. Those who owe too many already are answered for at once.
    pub(crate) fn expect_many(
        &self,
        sockets: &[Arc<SocketInner>],
        id: u64,
    ) -> (Entry<'_>, Arc<Answers>) {
        let answers = Arc::new(Answers::default());
        self.enter(sockets, id, &answers);
        (Entry { acks: self, id }, answers)
    }

    /// As [`Self::expect_many`], but every answer goes to `forward` at once, and the entry stays until
    /// [`Self::forget`].
    pub(crate) fn expect_forwarded(
        &self,
        sockets: &[Arc<SocketInner>],
        id: u64,
        forward: Forward,
    ) -> Arc<Answers> {
        let answers = Arc::new(Answers {
            forward: Some(forward),
            ..Answers::default()
        });
        self.enter(sockets, id, &answers);
        answers
    }

    fn enter(&self, sockets: &[Arc<SocketInner>], id: u64, answers: &Arc<Answers>) {
        let mut refused = Vec::new();
        {
            let mut state = answers.state.lock();
            state.owed.reserve(sockets.len());
            for socket in sockets {
                if owe(socket) {
                    state.owed.insert(socket.id, Arc::clone(socket));
                } else {
                    refused.push(socket.id);
                }
            }
        }
        for id in refused {
            let answer = Err(AckError::TooManyPending);
            match &answers.forward {
                None => answers.state.lock().given.push((id, answer)),
                Some(forward) => forward(id, answer),
            }
        }
        self.waiting
            .lock()
            .insert(id, Waiting::Many(Arc::clone(answers)));
        for socket in sockets.iter().filter(|socket| !socket.is_connected()) {
            self.abandoned(socket);
        }
    }

    /// Nobody waits for the answers `id` any more.
    pub(crate) fn forget(&self, id: u64) {
        let removed = self.waiting.lock().remove(&id);
        match removed {
            Some(Waiting::One { socket, .. }) => settle(&socket),
            Some(Waiting::Many(answers)) => {
                for socket in answers.state.lock().owed.values() {
                    settle(socket);
                }
            }
            None => {}
        }
    }

    /// An answer came.
    pub(crate) fn answered(
        &self,
        socket: &Arc<SocketInner>,
        id: u64,
        args: Args,
        metrics: &Metrics,
    ) {
        let expected = {
            let mut waiting = self.waiting.lock();
            match waiting.get(&id) {
                Some(Waiting::One {
                    socket: expected, ..
                }) if expected.id == socket.id => waiting.remove(&id),
                Some(Waiting::Many(answers)) => Some(Waiting::Many(Arc::clone(answers))),
                _ => None,
            }
        };
        let taken = match expected {
            Some(Waiting::One { socket, answer }) => {
                settle(&socket);
                answer.send(Ok(args)).is_ok()
            }
            Some(Waiting::Many(answers)) => answers.give(socket.id, Ok(args)),
            None => false,
        };
        metrics::add(
            if taken {
                &metrics.acks_in
            } else {
                &metrics.acks_unexpected
            },
            1,
        );
    }

    /// `socket` has left: it answers nothing any more.
    pub(crate) fn abandoned(&self, socket: &SocketInner) {
        if socket.acks_owed.load(Ordering::Acquire) == 0 {
            return;
        }
        let (mut ones, mut many) = (Vec::new(), Vec::new());
        {
            let mut waiting = self.waiting.lock();
            let ids: Vec<u64> = waiting.iter().filter(|(_, entry)| matches!(entry, Waiting::One { socket: each, .. } if each.id == socket.id)).map(|(id, _)| *id).collect();
            ones.extend(ids.iter().filter_map(|id| waiting.remove(id)));
            many.extend(waiting.values().filter_map(|entry| {
                if let Waiting::Many(answers) = entry {
                    Some(Arc::clone(answers))
                } else {
                    None
                }
            }));
        }
        for entry in ones {
            if let Waiting::One { socket, answer } = entry {
                settle(&socket);
                // Nobody waits any more: nothing to tell.
                let _ = answer.send(Err(AckError::Disconnected));
            }
        }
        for answers in many {
            answers.give(socket.id, Err(AckError::Disconnected));
        }
    }

    /// Entries in the table.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().len()
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.acks.forget(self.id);
    }
}

impl Answers {
    fn give(&self, id: Sid, answer: Result<Args, AckError>) -> bool {
        let mut state = self.state.lock();
        let Some(socket) = state.owed.remove(&id) else {
            return false;
        };
        settle(&socket);
        let is_last = state.owed.is_empty();
        match &self.forward {
            // Under the same lock: whoever sees that nobody owes any more sees all that was given.
            None => {
                state.given.push((id, answer));
                drop(state);
            }
            Some(forward) => {
                drop(state);
                forward(id, answer);
            }
        }
        if is_last {
            self.complete.notify_one();
        }
        true
    }

    /// Waits until everybody has answered, or `timeout`; returns what there is, and who is still silent.
    pub(crate) async fn collect(
        &self,
        timeout: Duration,
    ) -> (Vec<(Sid, Result<Args, AckError>)>, Vec<Sid>) {
        let complete = async {
            while !self.state.lock().owed.is_empty() {
                self.complete.notified().await;
            }
        };
        // A time-out leaves a partial result, which is the answer.
        let _ = tokio::time::timeout(timeout, complete).await;
        let mut state = self.state.lock();
        (
            std::mem::take(&mut state.given),
            state.owed.keys().copied().collect(),
        )
    }
}

fn owe(socket: &SocketInner) -> bool {
    let max =
        u32::try_from(socket.session.engine.config.held.acks_per_socket_max).unwrap_or(u32::MAX);
    socket
        .acks_owed
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |owed| {
            (owed < max).then_some(owed + 1)
        })
        .is_ok()
}

fn settle(socket: &SocketInner) {
    socket.acks_owed.fetch_sub(1, Ordering::AcqRel);
}
