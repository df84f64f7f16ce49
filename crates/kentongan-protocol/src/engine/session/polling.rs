//! The requests of long polling: the parked GET with its answer, the POST in flight, and their overlap rule.

use std::time::Instant;

use bytes::{BufMut, BytesMut};

use super::close::State;
use super::{CloseReason, RequestError, Session, SessionConfig, Transport};
use crate::engine::payload::SEPARATOR;

const CLOSE: u8 = b'1';
const PING: u8 = b'2';
const NOOP: u8 = b'6';
/// Packets of one answer: python-engineio drops a connection that is sent more at once.
const BODY_PACKETS_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Polling {
    /// A GET is parked.
    pub(super) get: bool,
    /// A POST is being read.
    pub(super) post: bool,
    /// A GET was answered with packets. A later GET does not show that they have arrived: clients that poll again
    /// after a failure exist, and the news of the failure may come last.
    pub(super) carried: bool,
    /// The server's close found no parked GET.
    pub(super) closed_unparked: bool,
}

impl Session {
    /// Parks a GET. The driver then asks [`Session::poll_get`] for the answer, now and after every other call.
    ///
    /// Deadlines that have passed come first, so that a late timer cannot let a dead session answer.
    ///
    /// # Errors
    /// `Unknown` when closed; `Mismatch` when a WebSocket carries the session; `Overlap` when a GET is parked
    /// already: the session closes, the parked one is answered `1`, the new one gets an empty 400.
    pub fn handle_get(&mut self, config: &SessionConfig, now: Instant) -> Result<(), RequestError> {
        self.handle_timeout(config, now);
        self.accept_request()?;
        if self.polling.get {
            self.finish(CloseReason::TransportError("overlapping GET"));
            return Err(RequestError::Overlap);
        }
        self.polling.get = true;
        Ok(())
    }

    /// Appends the body of the parked GET to `out` when there is one to send; the GET is then no longer parked.
    ///
    /// What is buffered goes into one body, up to 16 packets. With nothing buffered a GET is answered at once with a noop while a
    /// probe is open, because the client waits for it before it sends `5`.
    pub fn poll_get(&mut self, now: Instant, out: &mut BytesMut) -> bool {
        if !self.polling.get {
            return false;
        }
        match self.state {
            State::Closed {
                reason: CloseReason::TransportClose,
            } => out.put_u8(NOOP),
            State::Closed { .. } => out.put_u8(CLOSE),
            // A GET that was parked when its session moved on: nothing may follow on it.
            _ if self.transport == Transport::WebSocket => out.put_u8(NOOP),
            State::Closing { reason, .. } => {
                // Never in one body: stock clients from 4.5 on handle `1` before the packets in front of it.
                if !self.drain_to_body(now, out) {
                    if self.polling.closed_unparked {
                        push_packet(out, &[NOOP]);
                    }
                    push_packet(out, &[CLOSE]);
                    self.finish(reason);
                }
            }
            State::Open => {
                if self.drain_to_body(now, out) {
                    self.polling.carried = true;
                } else if self.probes.is_probed() {
                    out.put_u8(NOOP);
                } else {
                    return false;
                }
            }
        }
        self.polling.get = false;
        true
    }

    /// The client is gone before a GET was answered in full, parked or not. What was taken for the answer may be
    /// lost, and nobody can tell: the session ends, even when a later GET has been answered or a WebSocket has taken
    /// over since.
    ///
    /// A GET that is parked meanwhile still gets its answer; when the parked one itself is gone, the driver has
    /// nobody left to ask [`Session::poll_get`] for.
    pub fn handle_get_aborted(&mut self, _now: Instant) {
        if !self.is_closed() && (self.transport == Transport::Polling || self.polling.carried) {
            self.finish(CloseReason::TransportError(
                "poll connection closed prematurely",
            ));
        }
    }

    /// A POST has begun. Its packets go to [`Session::handle_packet`], its end to [`Session::handle_post_end`].
    ///
    /// # Errors
    /// As for [`Session::handle_get`], with the POST in flight instead of the parked GET.
    pub fn handle_post(&mut self, _now: Instant) -> Result<(), RequestError> {
        self.accept_request()?;
        if self.polling.post {
            self.finish(CloseReason::TransportError("overlapping POST"));
            return Err(RequestError::Overlap);
        }
        self.polling.post = true;
        Ok(())
    }

    /// The POST has been read in full, or refused; its response may go out after this call. A POST that breaks off
    /// is a `close` by the driver.
    pub fn handle_post_end(&mut self) {
        self.polling.post = false;
    }

    fn accept_request(&self) -> Result<(), RequestError> {
        match (self.is_closed(), self.transport) {
            (true, _) => Err(RequestError::Unknown),
            (false, Transport::WebSocket) => Err(RequestError::Mismatch),
            (false, Transport::Polling) => Ok(()),
        }
    }

    /// Moves the due ping and the oldest frames into `out`, as many as one body may hold: the next GET gets more.
    /// False when there was nothing.
    fn drain_to_body(&mut self, now: Instant, out: &mut BytesMut) -> bool {
        let start = out.len();
        let mut packets = 0;
        if self.heartbeat.take_ping() {
            push_packet(out, &[PING]);
            packets += 1;
        }
        while let Some(next) = self.outbox.peek() {
            packets += memchr::memchr_iter(SEPARATOR, next.polling()).count() + 1;
            let body_is_full = out.len() > start && packets > BODY_PACKETS_MAX;
            if body_is_full {
                break;
            }
            let Some(frame) = self.outbox.pop_for_get(now) else {
                break;
            };
            push_packet(out, frame.polling());
        }
        out.len() > start
    }
}

fn push_packet(out: &mut BytesMut, packet: &[u8]) {
    if !out.is_empty() {
        out.put_u8(SEPARATOR);
    }
    out.put_slice(packet);
}
