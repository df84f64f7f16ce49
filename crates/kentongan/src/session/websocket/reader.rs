//! The reading half: bytes become messages.

use std::{
    cell::RefCell,
    io,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use kentongan_protocol::websocket::{
    decode::{Decoder, Incoming, Role},
    encode,
};

use super::Answer;
use crate::{
    config::Config,
    session::{io::Reader, shared::now},
};

pub(crate) struct WebSocketReader {
    io: Reader,
    decoder: Decoder,
    /// What hyper read behind the handshake, if anything; gone afterwards.
    early: Option<Box<Bytes>>,
    /// `take` stopped inside a read: the decoder may hold whole frames, which no new bytes will announce.
    interrupted: bool,
    /// Present only for clients that send control frames.
    control: Option<Box<ControlRate>>,
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

/// A message handed to the caller of [`WebSocketReader::poll_read`].
pub(crate) enum Received<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

impl Received<'_> {
    /// Bytes of the message.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(data) => data.len(),
        }
    }
}

impl WebSocketReader {
    pub(super) fn new(io: Reader, early: Bytes, deflate: bool) -> Self {
        Self {
            io,
            decoder: Decoder::new(Role::Server, deflate),
            early: (!early.is_empty()).then(|| Box::new(early)),
            interrupted: false,
            control: None,
        }
    }

    /// Reads once and hands every whole message to `take`, which returns `false` to stop. What it did not take
    /// comes with the next call. `answer` is what has to be sent because of it.
    ///
    /// `Ready(Ok(n))` tells that `n` bytes were read and more may be there.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        config: &Config,
        answer: &mut Option<Answer>,
        mut take: impl FnMut(Received<'_>) -> bool,
    ) -> Poll<Result<usize, Ended>> {
        if std::mem::take(&mut self.interrupted) {
            return Poll::Ready(self.consume(&mut [], config, answer, &mut take).map(|()| 0));
        }
        if let Some(early) = self.early.take() {
            let mut early = BytesMut::from(*early);
            let length = early.len();
            return Poll::Ready(
                self.consume(&mut early, config, answer, &mut take)
                    .map(|()| length),
            );
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
                    answer,
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
        answer: &mut Option<Answer>,
        take: &mut impl FnMut(Received<'_>) -> bool,
    ) -> Result<(), Ended> {
        let control_max = config.held.control_frames_per_second_max;
        let mut feed = self.decoder.feed(input, &config.limits);
        while let Some(incoming) = feed.next() {
            let goes_on = match incoming
                .map_err(|error| Ended::Violation(error.close_code(), error.code()))?
            {
                Incoming::Text(text) => take(Received::Text(text)),
                Incoming::Binary(data) => take(Received::Binary(data)),
                Incoming::Ping(payload) => {
                    // Only the last of several pings needs an answer (RFC 6455, section 5.5.3).
                    *answer = Some(Answer::Pong(encode::pong(payload)));
                    count(&mut self.control, control_max)?;
                    true
                }
                Incoming::Pong(_) => {
                    count(&mut self.control, control_max)?;
                    true
                }
                Incoming::Close { code, .. } => {
                    *answer = Some(Answer::Close(code));
                    return Err(Ended::Closed);
                }
            };
            if !goes_on {
                self.interrupted = true;
                break;
            }
        }
        Ok(())
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

fn count(rate: &mut Option<Box<ControlRate>>, frames_max: u32) -> Result<(), Ended> {
    let now = now();
    let rate = rate.get_or_insert_with(|| {
        Box::new(ControlRate {
            since: now,
            frames: 0,
        })
    });
    if now.saturating_duration_since(rate.since) >= Duration::from_secs(1) {
        **rate = ControlRate {
            since: now,
            frames: 0,
        };
    }
    rate.frames += 1;
    if rate.frames > frames_max {
        Err(Ended::Violation(1008, "websocket_control_flood"))
    } else {
        Ok(())
    }
}

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

const READ_BYTES: usize = 64 * 1024;
