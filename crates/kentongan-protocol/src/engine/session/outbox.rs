//! What waits to be sent to one client, counted in bytes and in time without progress.
//!
//! Invariant: `queued` is the sum of `len` over the frames held here, and nothing is allocated while at most one
//! frame waits: an idle session, and one whose frames are written at once, cost no heap.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::frame::Frame;

#[derive(Debug)]
pub(super) struct Outbox {
    /// The oldest frame.
    head: Option<Frame>,
    /// The others; present only while there are any.
    backlog: Option<Box<Backlog>>,
    queued: usize,
    /// Bytes handed to the driver and not yet taken by the kernel.
    in_flight: usize,
    /// The last time that something moved, or that the outbox stopped being empty.
    progress_at: Instant,
    /// Whether the WebSocket takes bytes, as its driver says.
    pub(super) writable: bool,
}

#[derive(Debug, Default)]
struct Backlog {
    /// With their lengths: whoever takes many out does not have to look at each.
    frames: VecDeque<(Frame, usize)>,
}

impl Outbox {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            head: None,
            backlog: None,
            queued: 0,
            in_flight: 0,
            progress_at: now,
            writable: true,
        }
    }

    /// A frame above the bound is let through when nothing waits: it is one shared allocation, not a queue.
    pub(super) fn has_room(&self, len: usize, bytes_max: usize) -> bool {
        self.bytes() == 0 || self.bytes().saturating_add(len) <= bytes_max
    }

    pub(super) fn push(&mut self, now: Instant, frame: Frame) {
        if self.bytes() == 0 {
            self.progress_at = now;
        }
        let len = frame.len();
        self.queued += len;
        if self.head.is_none() {
            self.head = Some(frame);
        } else {
            let backlog = self.backlog.get_or_insert_default();
            backlog.frames.push_back((frame, len));
        }
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.head.is_some()
    }

    /// The oldest frame, which stays.
    pub(super) fn peek(&self) -> Option<&Frame> {
        self.head.as_ref()
    }

    /// The oldest frame, for the WebSocket.
    pub(super) fn pop(&mut self) -> Option<Frame> {
        let frame = self.take()?;
        Some(self.hand_out(frame))
    }

    /// The oldest frames, for the WebSocket: at most `frames_max`, and none after `bytes_max` bytes. Returns their bytes.
    pub(super) fn pop_many(
        &mut self,
        frames_max: usize,
        bytes_max: usize,
        mut take: impl FnMut(Frame),
    ) -> usize {
        if frames_max == 0 {
            return 0;
        }
        let Some(first) = self.head.take() else {
            return 0;
        };
        let (mut frames, mut bytes) = (1, first.len());
        take(first);
        if let Some(backlog) = &mut self.backlog {
            while frames < frames_max
                && bytes < bytes_max
                && let Some((frame, len)) = backlog.frames.pop_front()
            {
                frames += 1;
                bytes += len;
                take(frame);
            }
            self.head = backlog.frames.pop_front().map(|(frame, _)| frame);
            if backlog.frames.is_empty() {
                self.backlog = None;
            }
        }
        self.queued -= bytes;
        self.in_flight = self.in_flight.saturating_add(bytes);
        bytes
    }

    /// Counts a frame as handed to the driver.
    pub(super) fn hand_out(&mut self, frame: Frame) -> Frame {
        self.in_flight = self.in_flight.saturating_add(frame.len());
        frame
    }

    /// The oldest frame, for the answer of a GET, which counts as progress at once.
    pub(super) fn pop_for_get(&mut self, now: Instant) -> Option<Frame> {
        self.progress_at = now;
        self.take()
    }

    pub(super) fn handle_progress(&mut self, now: Instant, bytes: usize) {
        if bytes > 0 {
            self.in_flight = self.in_flight.saturating_sub(bytes);
            self.progress_at = now;
        }
    }

    /// A ping is about to be handed out, which may be the first thing in flight.
    pub(super) fn handle_ping(&mut self, now: Instant) {
        if self.bytes() == 0 {
            self.progress_at = now;
        }
    }

    /// Another transport takes over what waits.
    pub(super) fn handle_upgrade(&mut self, now: Instant) {
        self.progress_at = now;
        self.writable = true;
    }

    pub(super) fn clear(&mut self) {
        self.head = None;
        self.backlog = None;
        self.queued = 0;
        self.in_flight = 0;
    }

    pub(super) fn bytes(&self) -> usize {
        self.queued + self.in_flight
    }

    /// When what waits has waited too long.
    pub(super) fn deadline(&self, age_max: Duration) -> Option<Instant> {
        (self.bytes() > 0).then(|| self.progress_at + age_max)
    }

    #[cfg(test)]
    pub(super) fn is_unallocated(&self) -> bool {
        self.backlog.is_none()
    }

    fn take(&mut self) -> Option<Frame> {
        let frame = self.head.take()?;
        self.queued -= frame.len();
        if let Some(backlog) = &mut self.backlog {
            self.head = backlog.frames.pop_front().map(|(frame, _)| frame);
            if backlog.frames.is_empty() {
                self.backlog = None;
            }
        }
        Some(frame)
    }
}
