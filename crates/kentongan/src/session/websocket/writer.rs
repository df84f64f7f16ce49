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
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) frames: Frames,
    /// Bytes of the frames, in their plain form.
    pub(crate) bytes: usize,
}

type Frames = SmallVec<[Frame; BATCH_INLINE]>;

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
            let mut batch = Batch::default();
            exchange(
                taken,
                BATCH_FRAMES.saturating_sub(self.pending.len()),
                &mut batch,
            );
            if self.pending.is_empty() && batch.frames.is_empty() {
                if self.pending.capacity() > 0 {
                    self.pending = VecDeque::new();
                }
                return self.io.poll_flush(cx);
            }
            let is_plain = self.pending.is_empty() && !self.deflate && !self.base64;
            let result = if is_plain {
                self.write_plain(cx, batch)
            } else {
                self.write_mixed(cx, config, batch.frames)
            };
            match ready!(result) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) if self.pending.is_empty() => taken = Taken::All(written),
                Ok(written) => taken = Taken::Bytes(written),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes frames as they are, which is what nearly every write does: one pass over them.
    fn write_plain(&mut self, cx: &mut Context<'_>, batch: Batch) -> Poll<io::Result<usize>> {
        let Batch { frames, bytes } = batch;
        let is_small = bytes <= (frames.len() * SMALL_BYTES).min(JOINED_BYTES_MAX);
        let result = match frames.as_slice() {
            [single] => self.io.poll_write(cx, &[IoSlice::new(single.websocket())]),
            _ if is_small => {
                let mut joined = JOINED.take();
                joined.join(&frames);
                let result = self.io.poll_write(cx, &[IoSlice::new(&joined.bytes)]);
                if taken(&result) == bytes {
                    joined.keep(frames);
                    JOINED.set(joined);
                    return result;
                }
                JOINED.set(joined);
                result
            }
            _ => {
                let slices: SmallVec<[IoSlice<'_>; BATCH_INLINE]> = frames
                    .iter()
                    .map(|frame| IoSlice::new(frame.websocket()))
                    .collect();
                self.io.poll_write(cx, &slices)
            }
        };
        if taken(&result) < bytes {
            let pieces = frames.iter().map(Frame::websocket);
            keep(&mut self.pending, pieces, taken(&result));
        }
        result
    }

    /// Writes what waits, and then frames in the form that this client wants.
    fn write_mixed(
        &mut self,
        cx: &mut Context<'_>,
        config: &Config,
        mut frames: Frames,
    ) -> Poll<io::Result<usize>> {
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
        let result = write(&mut self.io, cx, &pieces);
        keep(&mut self.pending, pieces.iter().copied(), taken(&result));
        result
    }

    /// Ends our direction of the stream.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }
}

/// What one write is made of.
type Pieces<'a> = SmallVec<[&'a Bytes; BATCH_INLINE]>;

/// Keeps in `pending` what is behind the first `written` bytes of `pieces`.
fn keep<'a>(
    pending: &mut VecDeque<Bytes>,
    pieces: impl Iterator<Item = &'a Bytes>,
    mut written: usize,
) {
    for piece in pieces {
        if written >= piece.len() {
            written -= piece.len();
        } else {
            pending.push_back(piece.slice(written..));
            written = 0;
        }
    }
}

/// How much a write took.
fn taken(result: &Poll<io::Result<usize>>) -> usize {
    match result {
        Poll::Ready(Ok(written)) => *written,
        _ => 0,
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
        joined.bytes.extend_from_slice(piece);
    }
    let result = io.poll_write(cx, &[IoSlice::new(&joined.bytes)]);
    JOINED.set(joined);
    result
}

/// Small pieces on their way into one write.
#[derive(Default)]
struct Joined {
    bytes: Vec<u8>,
    /// What `bytes` are, if it is known.
    frames: Frames,
}

impl Joined {
    const NOTHING: Self = Self {
        bytes: Vec::new(),
        frames: SmallVec::new_const(),
    };

    fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
    }

    /// After a burst to a room its members are written one after the other, and the same waits for most of them: then the
    /// bytes are here already.
    fn join(&mut self, frames: &Frames) {
        let is_same = self.frames.len() == frames.len()
            && self
                .frames
                .iter()
                .zip(frames)
                .all(|(one, other)| one.is_same(other));
        if is_same {
            return;
        }
        self.clear();
        for frame in frames {
            self.bytes.extend_from_slice(frame.websocket());
        }
    }

    /// Says what the bytes are. A few frames are put together again as quickly as they are compared.
    fn keep(&mut self, frames: Frames) {
        if self.frames.is_empty() && frames.len() >= BATCH_INLINE {
            self.frames = frames;
        }
    }
}

thread_local! {
    static JOINED: RefCell<Joined> = const { RefCell::new(Joined::NOTHING) };
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
const BATCH_FRAMES: usize = 1024;
/// Pieces of this size, on average, are put together before they are written.
const SMALL_BYTES: usize = 1024;
/// Bytes that are put together at most.
const JOINED_BYTES_MAX: usize = BATCH_FRAMES * SMALL_BYTES / 4;
/// Bytes after which a write takes no further frame.
pub(crate) const BATCH_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(texts: &[&str]) -> Frames {
        texts.iter().map(|text| Frame::from_text(text)).collect()
    }

    fn bytes(frames: &Frames) -> Vec<u8> {
        let pieces = frames.iter().map(|frame| frame.websocket().as_ref());
        pieces.collect::<Vec<_>>().concat()
    }

    #[test]
    fn what_is_put_together_is_what_waits() {
        let mut joined = Joined::default();
        let long = frames(&["4a"; BATCH_INLINE]);
        let alike = frames(&["4a"; BATCH_INLINE]);
        let other = frames(&["4b"; BATCH_INLINE]);
        let part: Frames = long.iter().skip(1).cloned().collect();
        for waits in [&long, &long, &alike, &other, &long, &part, &long] {
            joined.join(waits);
            assert_eq!(joined.bytes, bytes(waits));
            joined.keep(waits.clone());
        }
        // A write that was not finished keeps nothing, and leaves bytes that nobody knows.
        joined.join(&other);
        joined.join(&long);
        assert_eq!(joined.bytes, bytes(&long));
    }

    #[test]
    fn the_next_member_of_a_room_costs_no_copy() {
        let mut joined = Joined::default();
        let burst = frames(&["4a"; BATCH_INLINE]);
        joined.join(&burst);
        joined.keep(burst.clone());
        joined.bytes.clear();
        joined.join(&burst);
        assert!(joined.bytes.is_empty(), "taken for what is there already");
    }
}
