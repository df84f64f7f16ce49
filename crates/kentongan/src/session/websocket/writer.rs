//! The writing half: frames become bytes, many of them in one system call.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use kentongan_protocol::{engine::payload::SEPARATOR, frame::Frame, websocket::encode};
use smallvec::SmallVec;

use super::Answer;
use crate::{config::Config, session::io::Writer};

pub(crate) struct WebSocketWriter {
    io: Writer,
    /// Bytes that the kernel has not taken yet.
    pending: VecDeque<Bytes>,
    deflate: bool,
    base64: bool,
    /// Our close frame is queued or sent: nothing is sent after it.
    closing: bool,
}

/// What the kernel has taken since the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Nothing,
    /// So many bytes, and others wait.
    Bytes(usize),
    /// So many bytes, which were all that there were.
    All(usize),
}

/// Frames on their way into one write.
pub(crate) type Batch = SmallVec<[Frame; BATCH_INLINE]>;

impl WebSocketWriter {
    pub(in crate::session) fn new(io: Writer, deflate: bool, base64: bool) -> Self {
        Self {
            io,
            pending: VecDeque::new(),
            deflate,
            base64,
            closing: false,
        }
    }

    /// Queues bytes that are a finished text frame's payload, such as a probe's answer.
    pub(crate) fn queue_text(&mut self, text: &str) {
        self.pending
            .push_back(Frame::from_text(text).websocket().clone());
    }

    /// Queues what the reading half found to be owed.
    pub(crate) fn queue_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Pong(frame) if !self.closing => self.pending.push_back(frame),
            Answer::Pong(_) => {}
            Answer::Close(code) => self.close(code),
        }
    }

    /// Queues a close frame; `None` sends none of our own codes. Nothing is sent afterwards.
    pub(crate) fn close(&mut self, code: Option<u16>) {
        if !self.closing {
            self.closing = true;
            self.pending.push_back(encode::close(code, ""));
        }
    }

    /// Writes until there is nothing left or the kernel takes no more. `exchange` is told what was taken and adds the
    /// next frames, at most as many as the number it is given. `Ready(Ok(()))`: all is written.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        config: &Config,
        mut exchange: impl FnMut(Taken, usize, &mut Batch),
    ) -> Poll<io::Result<()>> {
        let mut taken = Taken::Nothing;
        loop {
            let mut frames = Batch::new();
            exchange(
                taken,
                BATCH_FRAMES.saturating_sub(self.pending.len()),
                &mut frames,
            );
            let mut batch: SmallVec<[Bytes; BATCH_INLINE]> = self.pending.drain(..).collect();
            for frame in &frames {
                self.push_bytes(&mut batch, frame, config);
            }
            if batch.is_empty() {
                if self.pending.capacity() > 0 {
                    self.pending = VecDeque::new();
                }
                return self.io.poll_flush(cx);
            }
            let result = write(&mut self.io, cx, &batch);
            let written = match &result {
                Poll::Ready(Ok(written)) => *written,
                _ => 0,
            };
            self.keep(batch, written);
            match ready!(result) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) if self.pending.is_empty() => taken = Taken::All(written),
                Ok(written) => taken = Taken::Bytes(written),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Ends our direction of the stream.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }

    /// Keeps of `batch` what is behind its first `written` bytes.
    fn keep(&mut self, batch: SmallVec<[Bytes; BATCH_INLINE]>, written: usize) {
        let mut written = written;
        for mut item in batch {
            if written >= item.len() {
                written -= item.len();
                continue;
            }
            item.advance(written);
            written = 0;
            self.pending.push_back(item);
        }
    }

    /// The bytes of `frame` for this connection.
    fn push_bytes(
        &self,
        batch: &mut SmallVec<[Bytes; BATCH_INLINE]>,
        frame: &Frame,
        config: &Config,
    ) {
        if self.base64 {
            let texts = frame.polling().split(|byte| *byte == SEPARATOR);
            batch.extend(texts.filter_map(text_frame));
            return;
        }
        let deflate = config.deflate.filter(|_| self.deflate);
        batch.push(match deflate {
            Some(deflate) => frame.websocket_deflated(deflate.bytes_min).clone(),
            None => frame.websocket().clone(),
        });
    }
}

/// Writes `batch`, or its beginning. Small pieces are put together first: a copy costs less than what the kernel does
/// for each piece.
fn write(io: &mut Writer, cx: &mut Context<'_>, batch: &[Bytes]) -> Poll<io::Result<usize>> {
    if let [single] = batch {
        return io.poll_write(cx, &[IoSlice::new(single)]);
    }
    let bytes: usize = batch.iter().map(Bytes::len).sum();
    if bytes > batch.len() * SMALL_BYTES || bytes > JOINED_BYTES_MAX {
        let slices: SmallVec<[IoSlice<'_>; BATCH_INLINE]> =
            batch.iter().map(|item| IoSlice::new(item)).collect();
        return io.poll_write(cx, &slices);
    }
    let mut joined = JOINED.take();
    joined.clear();
    for item in batch {
        joined.extend_from_slice(item);
    }
    let result = io.poll_write(cx, &[IoSlice::new(&joined)]);
    JOINED.set(joined);
    result
}

thread_local! {
    /// Small pieces on their way into one write.
    static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn text_frame(packet: &[u8]) -> Option<Bytes> {
    std::str::from_utf8(packet)
        .ok()
        .map(|text| Frame::from_text(text).websocket().clone())
}

/// Frames that one write takes without an allocation.
const BATCH_INLINE: usize = 16;
/// Frames that one write takes at most.
const BATCH_FRAMES: usize = 512;
/// Pieces of this size, on average, are put together before they are written.
const SMALL_BYTES: usize = 1024;
/// Bytes that are put together at most.
const JOINED_BYTES_MAX: usize = BATCH_FRAMES * SMALL_BYTES / 4;
/// Bytes after which a write takes no further frame.
pub(crate) const BATCH_BYTES: usize = 256 * 1024;
