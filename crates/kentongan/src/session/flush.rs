//! Writing what waits in the outbox of a session to its WebSocket: by its own task, or by another one for it.
//!
//! Invariant: who writes holds the lock of the writing half, so that frames leave in the order of the outbox; what
//! could not be written is left to the session's own task, which alone waits for the kernel.

use std::{
    task::{Context, Poll, Waker},
    time::Instant,
};

use kentongan_protocol::engine::session::CloseReason;

use super::{
    shared::Session,
    websocket::writer::{BATCH_BYTES, Batch, Taken},
};
use crate::metrics;

impl Session {
    /// Writes what waits, for the session's own task, which is woken through `cx` when more can be written.
    pub(crate) fn flush(&self, cx: &mut Context<'_>, now: Instant) {
        self.write(cx, now, Writes::Own);
    }

    /// Writes what waits, on a thread that has just filled the outboxes of many. `wake`: the session's own task.
    pub(crate) fn flush_for_others(&self, now: Instant) {
        // Whatever this one asks to be woken for, the session's own task asks again when it is woken below.
        let cx = &mut Context::from_waker(Waker::noop());
        if let Some(task) = self.write(cx, now, Writes::ForOthers) {
            task.wake();
        }
    }

    /// Writes, and returns the session's task if it has to look.
    fn write(&self, cx: &mut Context<'_>, now: Instant, by: Writes) -> Option<Waker> {
        let mut writer = self.writer.lock();
        let result = match writer.as_mut() {
            None => Poll::Ready(Ok(())),
            Some(writer) => writer.poll_write(cx, &self.engine.config, |taken, max, batch| {
                self.exchange(now, taken, max, batch);
            }),
        };
        // Still under the lock of the writing half: who wrote last decides whether anybody waits for the kernel.
        self.wrote(&result, now, by)
    }

    /// Tells the state machine what the kernel took, and takes the next frames.
    fn exchange(&self, now: Instant, taken: Taken, frames_max: usize, batch: &mut Batch) {
        let mut state = self.state.lock();
        state.on_list = false;
        let machine = &mut state.machine;
        match taken {
            Taken::Nothing => {}
            // Compressed bytes are fewer than what the outbox counts; the rest is settled when all is written.
            Taken::Bytes(bytes) => machine.handle_transmit_progress(now, bytes),
            Taken::All(_) => machine.handle_transmit_done(now),
        }
        let mut bytes = 0;
        while batch.len() < frames_max && bytes < BATCH_BYTES {
            let Some(frame) = machine.poll_transmit() else {
                break;
            };
            bytes += frame.len();
            batch.push(frame);
        }
        drop(state);
        if let Taken::Bytes(bytes) | Taken::All(bytes) = taken {
            metrics::add(&self.engine.metrics.bytes_out, bytes);
        }
    }

    /// Notes how a write ended. Returns the task, if it has to look.
    fn wrote(&self, result: &Poll<std::io::Result<()>>, now: Instant, by: Writes) -> Option<Waker> {
        let mut state = self.state.lock();
        let blocked = result.is_pending();
        if state.blocked != blocked {
            state.blocked = blocked;
            state.machine.set_writable(!blocked);
        }
        if let Poll::Ready(Err(_)) = result {
            state
                .machine
                .handle_websocket_closed(now, CloseReason::TransportError("socket error"));
        }
        // Blocked: the deadline of the outbox runs, and somebody has to wait for the kernel.
        let is_news = blocked || state.machine.is_closed();
        let task = if is_news { state.task.take() } else { None };
        // A task that runs just now, and has written already, would go to sleep without having asked.
        state.unwatched = blocked && by == Writes::ForOthers && task.is_none();
        task
    }
}

/// On whose thread a session is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    Own,
    ForOthers,
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use http::Request;
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::{
        Config, Server,
        handshake::Handshake,
        session::{io, shared::Settled, websocket::writer::WebSocketWriter},
    };

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The flusher took a session from its list while the session's own task ran, behind its last write and without a waker
    /// to be woken by. The kernel was full, the flusher's waker does nothing, and the task went to sleep: nobody wrote
    /// the rest before the next heartbeat.
    #[tokio::test]
    async fn a_task_that_runs_while_another_finds_the_kernel_full_does_not_sleep() {
        let config = Config::default();
        let server = Server::new(config.clone()).unwrap();
        let (mut parts, ()) = Request::new(()).into_parts();
        let session = server.engine().prepare(Handshake::new(&mut parts, &config));
        let (ours, mut peer) = tokio::io::duplex(8);
        let stream: Box<dyn io::Stream> = Box::new(ours);
        let (_reader, writer) = tokio::io::split(stream);
        let mut writer = WebSocketWriter::new(io::Writer::Other(writer), false, false);
        writer.queue_text("4more than eight bytes");
        *session.writer.lock() = Some(writer);

        session.flush_for_others(Instant::now());
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let cx = &mut Context::from_waker(&waker);
        assert!(matches!(session.settle(cx, true), Settled::Busy));
        session.flush(cx, Instant::now());
        assert!(matches!(session.settle(cx, true), Settled::Idle(_)));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        peer.read_exact(&mut [0; 8]).await.unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }
}
