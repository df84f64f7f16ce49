//! Writing for many: a broadcast fills outboxes and leaves their sessions here; as many tasks as there are worker
//! threads write them, a few at a time.
//!
//! Waking every session's task instead would cost more user time than the write itself. What comes between two broadcasts
//! of one turn still leaves in one write, because nothing is written before the emitter gives the thread away.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::runtime::Handle;

use super::shared::{Session, now};

#[derive(Default)]
pub(crate) struct Flusher {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Sessions that have something to write, each once.
    waiting: VecDeque<Arc<Session>>,
    /// Tasks with nothing to do.
    idle: Vec<Waker>,
    /// Tasks that there are.
    tasks: usize,
    closed: bool,
}

/// Sessions that one task writes before others get the thread.
type Turn = SmallVec<[Arc<Session>; TURN]>;

impl Flusher {
    /// Starts the tasks, unless they run. To be called on the runtime.
    pub(crate) fn start(self: &Arc<Self>) {
        let wanted = {
            let mut state = self.state.lock();
            if state.tasks > 0 || state.closed {
                return;
            }
            state.tasks = Handle::current().metrics().num_workers();
            state.tasks
        };
        for _ in 0..wanted {
            tokio::spawn(run(Working(Arc::clone(self))));
        }
    }

    /// Ends the tasks.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        for task in idle {
            task.wake();
        }
    }

    /// Has `session` written soon.
    pub(crate) fn add(&self, session: &Arc<Session>) {
        self.extend(std::iter::once(Arc::clone(session)));
    }

    fn extend(&self, sessions: impl Iterator<Item = Arc<Session>>) {
        let woken = {
            let mut state = self.state.lock();
            if state.tasks == 0 {
                // No runtime, or not any more.
                drop(state);
                let now = now();
                sessions.for_each(|session| session.flush_for_others(now));
                return;
            }
            state.waiting.extend(sessions);
            let first = state.idle.pop();
            // The second one is for another thread; it wakes a third.
            let second = if state.waiting.len() > TURN {
                state.idle.pop()
            } else {
                None
            };
            [second, first]
        };
        for task in woken.into_iter().flatten() {
            task.wake();
        }
    }

    fn poll_turn(&self, cx: &Context<'_>) -> Poll<Option<Turn>> {
        let mut state = self.state.lock();
        if state.closed {
            return Poll::Ready(None);
        }
        if state.waiting.is_empty() {
            state.idle.push(cx.waker().clone());
            return Poll::Pending;
        }
        let length = state.waiting.len().min(TURN);
        let turn = state.waiting.drain(..length).collect();
        if state.waiting.capacity() > KEPT_MAX && state.waiting.is_empty() {
            state.waiting = VecDeque::new();
        }
        let next = if state.waiting.len() > TURN {
            state.idle.pop()
        } else {
            None
        };
        drop(state);
        if let Some(task) = next {
            task.wake();
        }
        Poll::Ready(Some(turn))
    }
}

async fn run(working: Working) {
    while let Some(turn) = poll_fn(|cx| working.0.poll_turn(cx)).await {
        let now = now();
        for session in turn {
            session.flush_for_others(now);
        }
        tokio::task::yield_now().await;
    }
}

/// One task; dropped with its runtime, it is not counted any more.
struct Working(Arc<Flusher>);

impl Drop for Working {
    fn drop(&mut self) {
        let left = {
            let mut state = self.0.state.lock();
            state.tasks -= 1;
            if state.tasks > 0 {
                return;
            }
            state.idle.clear();
            std::mem::take(&mut state.waiting)
        };
        let now = now();
        left.iter()
            .for_each(|session| session.flush_for_others(now));
    }
}

/// Has the sessions that `collect` adds to a list, all of one engine, written soon. The list is the thread's, which keeps its memory.
pub(crate) fn flush_all(collect: impl FnOnce(&mut Vec<Arc<Session>>)) {
    let mut list = LIST.take();
    collect(&mut list);
    if let Some(first) = list.first() {
        let flusher = Arc::clone(&first.engine.flusher);
        flusher.extend(list.drain(..));
    }
    if list.capacity() <= KEPT_MAX {
        LIST.set(list);
    }
}

thread_local! {
    static LIST: RefCell<Vec<Arc<Session>>> = const { RefCell::new(Vec::new()) };
}

const TURN: usize = 32;
/// Places in a list that are kept for the next broadcast.
const KEPT_MAX: usize = 1 << 16;
