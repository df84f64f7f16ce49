//! Waiting until what a session was sent has been taken.
//!
//! Invariant: who waits is woken when the outbox has shrunk to its bound, and when the session or its socket is over.

use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use super::shared::{Session, State};

/// One who waits for an outbox.
pub(super) struct Waiting {
    bytes: usize,
    waker: Waker,
}

impl Session {
    /// Bytes that wait for the client, or that the kernel has not taken yet.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.machine(|machine| machine.outbox_bytes())
    }

    /// `true` once at most `bytes` wait; `false` when the session is over, or `is_over` says so.
    pub(crate) async fn drained(&self, bytes: usize, is_over: impl Fn() -> bool) -> bool {
        poll_fn(|cx| self.poll_drained(cx, bytes, &is_over)).await
    }

    fn poll_drained(
        &self,
        cx: &Context<'_>,
        bytes: usize,
        is_over: &impl Fn() -> bool,
    ) -> Poll<bool> {
        let mut state = self.state.lock();
        if state.machine.reason().is_some() || is_over() {
            return Poll::Ready(false);
        }
        if state.machine.outbox_bytes() <= bytes {
            return Poll::Ready(true);
        }
        let waiting = state.drains();
        // Polled again without having been woken: the same one waits, not one more. A task may wait for several bounds.
        waiting.retain(|other| other.bytes != bytes || !other.waker.will_wake(cx.waker()));
        waiting.push(Waiting {
            bytes,
            waker: cx.waker().clone(),
        });
        Poll::Pending
    }

    /// Wakes all who wait: something is over.
    pub(crate) fn wake_drains(&self) {
        let woken = self.state.lock().take_drains();
        woken.into_iter().for_each(|waiting| waiting.waker.wake());
    }
}

impl State {
    /// Those for whom the outbox is small enough now; to be woken when the lock is released.
    pub(super) fn drained(&mut self) -> Vec<Waker> {
        if !self.has_drains() {
            return Vec::new();
        }
        let (queued, is_over) = (self.machine.outbox_bytes(), self.machine.reason().is_some());
        self.drains()
            .extract_if(.., |waiting| is_over || queued <= waiting.bytes)
            .map(|waiting| waiting.waker)
            .collect()
    }
}
