//! One WebSocket over a byte stream: reading messages, writing frames, answering pings, closing.
//!
//! Owns left-over bytes only: reading goes through a buffer of the worker thread, writing straight from shared frames,
//! so an idle connection keeps no buffer. It must not know sessions or packets.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use kentongan_protocol::{
    engine::payload::SEPARATOR,
    frame::Frame,
    websocket::{
        decode::{Decoder, Incoming, Role},
        encode,
    },
};
use smallvec::SmallVec;

use super::{io::Io, shared::now};
use crate::config::Config;

pub(crate) struct WebSocket {
    io: Io,
    decoder: Decoder,
    /// Bytes that the kernel has not taken yet.
    pending: VecDeque<Bytes>,
    /// What hyper read behind the handshake; empty afterwards.
    early: Bytes,
    /// Bytes of a message from which it is compressed; `None` when deflate was not negotiated.
    deflate_bytes_min: Option<usize>,
    base64: bool,
    /// `take` stopped inside a read: the decoder may hold whole frames, which no new bytes will announce.
    interrupted: bool,
    control: ControlRate,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Our close frame is queued or sent: nothing more is read as messages.
    Closing,
}

/// How a WebSocket ended from the peer's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A close frame or the end of the stream.
    Closed,
    /// The stream broke.
    Broken,
    /// Bytes that are not WebSocket or a limit; the code to close with and its stable name.
    Violation(u16, &'static str),
}

/// A message handed to the caller of [`WebSocket::poll_read`].
pub(crate) enum Received<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

impl WebSocket {
    pub(crate) fn new(io: Io, early: Bytes, deflate: bool, base64: bool, config: &Config) -> Self {
        Self {
            io,
            decoder: Decoder::new(Role::Server, deflate),
            pending: VecDeque::new(),
            early,
            deflate_bytes_min: config
                .deflate
                .filter(|_| deflate)
                .map(|deflate| deflate.bytes_min),
            base64,
            interrupted: false,
            control: ControlRate {
                since: now(),
                frames: 0,
            },
            state: State::Open,
        }
    }

    /// Reads once and hands every whole message to `take`, which returns `false` to stop. What it did not take
    /// comes with the next call.
    ///
    /// `Ready(Ok(n))` tells that `n` bytes were read and more may be there.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        config: &Config,
        mut take: impl FnMut(Received<'_>) -> bool,
    ) -> Poll<Result<usize, Ended>> {
        if std::mem::take(&mut self.interrupted) {
            return Poll::Ready(self.consume(&mut [], config, &mut take).map(|()| 0));
        }
        if !self.early.is_empty() {
            let mut early = BytesMut::from(std::mem::take(&mut self.early));
            let length = early.len();
            return Poll::Ready(self.consume(&mut early, config, &mut take).map(|()| length));
        }
        // The buffer leaves its place while it is used, so that a nested read could not find it borrowed.
        let mut buffer = READ_BUFFER.take();
        buffer.resize(READ_BYTES, 0);
        let result = match ready_or_return(self.io.poll_read(cx, &mut buffer), &mut buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => Err(Ended::Broken),
            Poll::Ready(Ok(0)) => Err(Ended::Closed),
            Poll::Ready(Ok(length)) => self
                .consume(
                    buffer.get_mut(..length).unwrap_or_default(),
                    config,
                    &mut take,
                )
                .map(|()| length),
        };
        READ_BUFFER.set(buffer);
        Poll::Ready(result)
    }

    fn consume(
        &mut self,
        input: &mut [u8],
        config: &Config,
        take: &mut impl FnMut(Received<'_>) -> bool,
    ) -> Result<(), Ended> {
        let mut pong = None;
        let mut feed = self.decoder.feed(input, &config.limits);
        while let Some(incoming) = feed.next() {
            let goes_on = match incoming
                .map_err(|error| Ended::Violation(error.close_code(), error.code()))?
            {
                Incoming::Text(text) => take(Received::Text(text)),
                Incoming::Binary(data) => take(Received::Binary(data)),
                Incoming::Ping(payload) => {
                    // Only the last of several pings needs an answer (RFC 6455, section 5.5.3).
                    pong = Some(Bytes::copy_from_slice(payload));
                    self.control
                        .count(config.held.control_frames_per_second_max)?;
                    true
                }
                Incoming::Pong(_) => {
                    self.control
                        .count(config.held.control_frames_per_second_max)?;
                    true
                }
                Incoming::Close { code, .. } => {
                    drop(feed);
                    self.close(code);
                    return Err(Ended::Closed);
                }
            };
            if !goes_on {
                self.interrupted = true;
                break;
            }
        }
        drop(feed);
        if let Some(payload) = pong.filter(|_| self.state == State::Open) {
            self.pending.push_back(encode::pong(&payload));
        }
        Ok(())
    }

    /// Queues bytes that are a finished text frame's payload, such as a probe's answer.
    pub(crate) fn queue_text(&mut self, text: &str) {
        self.pending
            .push_back(Frame::from_text(text).websocket().clone());
    }

    /// Queues a close frame; `None` sends none of our own codes. Nothing is read afterwards.
    pub(crate) fn close(&mut self, code: Option<u16>) {
        if self.state == State::Open {
            self.state = State::Closing;
            self.pending.push_back(encode::close(code, ""));
        }
    }

    /// Writes frames from `next` until there are none or the kernel takes no more. `Ready(Ok(bytes))`: all is written.
    /// `taken` is told of every byte that the kernel took.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut() -> Option<Frame>,
        mut taken: impl FnMut(usize),
    ) -> Poll<io::Result<()>> {
        loop {
            let mut batch: SmallVec<[Bytes; BATCH_INLINE]> = SmallVec::new();
            let mut bytes = 0;
            while batch.len() < BATCH_FRAMES && bytes < BATCH_BYTES {
                let Some(item) = self
                    .pending
                    .pop_front()
                    .or_else(|| next().and_then(|frame| self.bytes_of(&frame)))
                else {
                    break;
                };
                bytes += item.len();
                batch.push(item);
            }
            if batch.is_empty() {
                self.pending = VecDeque::new();
                return self.io.poll_flush(cx);
            }
            let result = {
                let slices: SmallVec<[IoSlice<'_>; BATCH_INLINE]> =
                    batch.iter().map(|item| IoSlice::new(item)).collect();
                self.io.poll_write(cx, &slices)
            };
            let written = match &result {
                Poll::Ready(Ok(written)) => *written,
                _ => 0,
            };
            self.put_back(batch, written);
            taken(written);
            match ready!(result) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Ends our direction of the stream.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }

    /// Reads and forgets what still comes, until the peer ends its direction.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut buffer = [0; 1024];
        loop {
            if !matches!(ready!(self.io.poll_read(cx, &mut buffer)), Ok(length) if length > 0) {
                return Poll::Ready(());
            }
        }
    }

    fn put_back(&mut self, batch: SmallVec<[Bytes; BATCH_INLINE]>, written: usize) {
        let mut written = written;
        let mut kept = 0;
        for mut item in batch {
            if written >= item.len() {
                written -= item.len();
                continue;
            }
            item.advance(written);
            written = 0;
            self.pending.insert(kept, item);
            kept += 1;
        }
    }

    /// The bytes of `frame` for this connection.
    fn bytes_of(&mut self, frame: &Frame) -> Option<Bytes> {
        if self.base64 {
            let mut texts = frame.polling().split(|byte| *byte == SEPARATOR);
            let first = texts.next().and_then(text_frame);
            self.pending.extend(texts.filter_map(text_frame));
            return first;
        }
        Some(match self.deflate_bytes_min {
            Some(bytes_min) => frame.websocket_deflated(bytes_min).clone(),
            None => frame.websocket().clone(),
        })
    }
}

fn text_frame(packet: &[u8]) -> Option<Bytes> {
    std::str::from_utf8(packet)
        .ok()
        .map(|text| Frame::from_text(text).websocket().clone())
}

fn ready_or_return(poll: Poll<io::Result<usize>>, buffer: &mut Vec<u8>) -> Poll<io::Result<usize>> {
    if poll.is_pending() {
        READ_BUFFER.set(std::mem::take(buffer));
    }
    poll
}

/// Counts ping and pong frames per second: a flood costs the sender its connection, not us our time.
struct ControlRate {
    since: Instant,
    frames: u32,
}

impl ControlRate {
    fn count(&mut self, frames_max: u32) -> Result<(), Ended> {
        let now = now();
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self {
                since: now,
                frames: 0,
            };
        }
        self.frames += 1;
        if self.frames > frames_max {
            Err(Ended::Violation(1008, "websocket_control_flood"))
        } else {
            Ok(())
        }
    }
}

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

const READ_BYTES: usize = 64 * 1024;
const BATCH_INLINE: usize = 16;
const BATCH_FRAMES: usize = 64;
const BATCH_BYTES: usize = 256 * 1024;
