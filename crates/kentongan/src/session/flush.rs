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

    /// Writes what waits, on a thread that has just filled the outboxes of many.
    pub(crate) fn flush_for_others(&self, now: Instant) {
        // Whatever this one asks to be woken for, the session's own task asks again when it is woken below.
        let cx = &mut Context::from_waker(Waker::noop());
        if let Some(task) = self.write(cx, now, Writes::ForOthers) {
            task.wake();
        }
    }

    /// Returns the session's own task, if it has to look.
    fn write(&self, cx: &mut Context<'_>, now: Instant, by: Writes) -> Option<Waker> {
        let mut is_closed = false;
        // Held to the end: between a write and the note of how it went nobody else may write.
        let mut writer = self.writer.lock();
        let result =
            writer
                .as_mut()?
                .poll_write(cx, &self.engine.config, |taken, frames_max, batch| {
                    is_closed = self.exchange(now, taken, frames_max, batch);
                });
        match result {
            Poll::Ready(Ok(())) if !is_closed => None,
            Poll::Ready(result) => self.ended(now, result.is_err()),
            Poll::Pending => self.blocked(by),
        }
    }

    /// Tells the state machine what the kernel took, and takes the next frames. `true`: the session is closed.
    fn exchange(&self, now: Instant, taken: Taken, frames_max: usize, batch: &mut Batch) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.on_list = false;
        let machine = &mut state.machine;
        match taken {
            Taken::Nothing => {}
            // Compressed bytes are fewer than what the outbox counts; the rest is settled when all is written.
            Taken::Bytes(bytes) => machine.handle_transmit_progress(now, bytes),
            Taken::All(_) => {
                machine.handle_transmit_done(now);
                state.unwatched = false;
                if std::mem::take(&mut state.blocked) {
                    machine.set_writable(true);
                }
            }
        }
        batch.bytes = machine.transmit_many(frames_max, BATCH_BYTES, |frame| {
            batch.frames.push(frame);
        });
        let is_closed = machine.is_closed();
        let drained = state.drained();
        drop(guard);
        drained.into_iter().for_each(Waker::wake);
        if let Taken::Bytes(bytes) | Taken::All(bytes) = taken {
            metrics::add(&self.engine.metrics.bytes_out, bytes);
        }
        is_closed
    }

    /// The kernel takes no more: the deadline of the outbox runs, and somebody has to wait for the kernel.
    fn blocked(&self, by: Writes) -> Option<Waker> {
        let mut state = self.state.lock();
        if !std::mem::replace(&mut state.blocked, true) {
            state.machine.set_writable(false);
        }
        let task = state.task.take();
        // A task that runs just now, and has written already, would go to sleep without having asked.
        state.unwatched = by == Writes::ForOthers && task.is_none();
        task
    }

    /// The session is over, perhaps because its stream broke.
    fn ended(&self, now: Instant, is_broken: bool) -> Option<Waker> {
        let mut state = self.state.lock();
        if is_broken {
            state
                .machine
                .handle_websocket_closed(now, CloseReason::TransportError("socket error"));
        }
        state.task.take()
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
    use kentongan_protocol::{
        engine::session::{Class, Sent},
        frame::Frame,
    };
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
        assert!(matches!(session.settle(cx, true, true), Settled::Busy));
        session.flush(cx, Instant::now());
        assert!(matches!(session.settle(cx, true, true), Settled::Idle(_)));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        peer.read_exact(&mut [0; 8]).await.unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }

    /// With `5` the state machine is on the WebSocket, which the task gets a moment later. A frame that waited then kept the
    /// task running in circles until it came.
    #[tokio::test]
    async fn a_task_without_its_websocket_sleeps_with_frames_waiting() {
        let config = Config::default();
        let server = Server::new(config.clone()).unwrap();
        let (mut parts, ()) = Request::new(()).into_parts();
        let session = server.engine().prepare(Handshake::new(&mut parts, &config));
        assert_eq!(
            session.send(Frame::from_text("4x"), Class::Reliable),
            Sent::Queued
        );
        let cx = &Context::from_waker(Waker::noop());
        assert!(matches!(session.settle(cx, true, true), Settled::Busy));
        assert!(matches!(session.settle(cx, true, false), Settled::Idle(_)));
    }
}
