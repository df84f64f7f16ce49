//! The writing half: frames become bytes, many of them in one system call.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
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
            let mut owned: SmallVec<[Bytes; 1]> = self.pending.drain(..).collect();
            if self.base64 {
                owned.extend(frames.drain(..).flat_map(|frame| text_frames(&frame)));
            }
            let deflate_bytes_min = config
                .deflate
                .filter(|_| self.deflate)
                .map(|deflate| deflate.bytes_min);
            let pieces: Pieces<'_> = owned
                .iter()
                .chain(frames.iter().map(|frame| match deflate_bytes_min {
                    Some(bytes_min) => frame.websocket_deflated(bytes_min),
                    None => frame.websocket(),
                }))
                .collect();
            if pieces.is_empty() {
                if self.pending.capacity() > 0 {
                    self.pending = VecDeque::new();
                }
                return self.io.poll_flush(cx);
            }
            let result = write(&mut self.io, cx, &pieces);
            let written = match &result {
                Poll::Ready(Ok(written)) => *written,
                _ => 0,
            };
            keep(&mut self.pending, &pieces, written);
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
}

/// What one write is made of.
type Pieces<'a> = SmallVec<[&'a Bytes; BATCH_INLINE]>;

/// Keeps in `pending` what is behind the first `written` bytes of `pieces`.
fn keep(pending: &mut VecDeque<Bytes>, pieces: &[&Bytes], mut written: usize) {
    for piece in pieces {
        if written >= piece.len() {
            written -= piece.len();
        } else {
            pending.push_back(piece.slice(written..));
            written = 0;
        }
    }
}

/// Writes `pieces`, or their beginning. Small ones are put together first: a copy costs less than what the kernel does
/// for each piece.
fn write(io: &mut Writer, cx: &mut Context<'_>, pieces: &[&Bytes]) -> Poll<io::Result<usize>> {
    if let [single] = pieces {
        return io.poll_write(cx, &[IoSlice::new(single)]);
    }
    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
    if bytes > pieces.len() * SMALL_BYTES || bytes > JOINED_BYTES_MAX {
        let slices: SmallVec<[IoSlice<'_>; BATCH_INLINE]> =
            pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        return io.poll_write(cx, &slices);
    }
    let mut joined = JOINED.take();
    joined.clear();
    for piece in pieces {
        joined.extend_from_slice(piece);
    }
    let result = io.poll_write(cx, &[IoSlice::new(&joined)]);
    JOINED.set(joined);
    result
}

thread_local! {
    /// Small pieces on their way into one write.
    static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A frame for a client that wants binary data as text.
fn text_frames(frame: &Frame) -> SmallVec<[Bytes; 1]> {
    let texts = frame.polling().split(|byte| *byte == SEPARATOR);
    texts
        .filter_map(|text| std::str::from_utf8(text).ok())
        .map(|text| Frame::from_text(text).websocket().clone())
        .collect()
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
