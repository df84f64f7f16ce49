//! The byte stream under a WebSocket, as two halves: the session's task reads, whoever has something to send writes.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade as auto};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// A stream of bytes in both directions.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What comes from the peer.
pub(crate) enum Reader {
    Tcp(OwnedReadHalf),
    /// TLS, HTTP/2 or a test's pipe.
    Other(ReadHalf<Box<dyn Stream>>),
}

/// What goes to the peer.
pub(crate) enum Writer {
    Tcp(OwnedWriteHalf),
    /// TLS, HTTP/2 or a test's pipe.
    Other(WriteHalf<Box<dyn Stream>>),
}

/// Takes the stream out of hyper, together with what hyper had read past the request: a client may send frames right
/// behind its handshake.
pub(crate) fn from_upgraded(upgraded: Upgraded) -> (Reader, Writer, Bytes) {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return from_tcp(parts.io.into_inner(), &parts.read_buf),
        Err(upgraded) => upgraded,
    };
    #[cfg(feature = "tls")]
    let upgraded = match upgraded.downcast::<TokioIo<crate::http::tls::TlsStream>>() {
        Ok(parts) => {
            // Without hyper's own layers between: one box and no second read buffer for each connection.
            let stream: Box<dyn Stream> = Box::new(parts.io.into_inner());
            let (reader, writer) = tokio::io::split(stream);
            let (reader, writer) = (Reader::Other(reader), Writer::Other(writer));
            return (reader, writer, unpinned(&parts.read_buf));
        }
        Err(upgraded) => upgraded,
    };
    // axum's own server wraps the stream once more, to tell HTTP/1 from HTTP/2.
    match auto::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => from_tcp(parts.io.into_inner(), &parts.read_buf),
        Err(upgraded) => {
            let stream: Box<dyn Stream> = Box::new(TokioIo::new(upgraded));
            let (reader, writer) = tokio::io::split(stream);
            (Reader::Other(reader), Writer::Other(writer), Bytes::new())
        }
    }
}

fn from_tcp(stream: TcpStream, early: &Bytes) -> (Reader, Writer, Bytes) {
    let (reader, writer) = stream.into_split();
    (Reader::Tcp(reader), Writer::Tcp(writer), unpinned(early))
}

/// A copy: even an empty slice of hyper's read buffer would keep all of it alive.
fn unpinned(early: &Bytes) -> Bytes {
    if early.is_empty() {
        Bytes::new()
    } else {
        Bytes::copy_from_slice(early)
    }
}

impl Reader {
    /// Reads into `buffer`; `Ok(0)` is the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let result = ready!(match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        });
        match result {
            Ok(()) => Poll::Ready(Ok(buffer.filled().len())),
            // TLS without its close_notify, as clients end that are just gone. Nothing is lost by taking it for an end:
            // WebSocket has its own close frame, and frames tell their length.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Writer {
    /// Writes what it can of `slices`. `Pending` wakes `cx` when more can be written, unless somebody else has asked
    /// since: there is one place for one waker.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Other(stream) => {
                return unbudgeted(cx, |cx| {
                    Pin::new(&mut *stream).poll_write_vectored(cx, slices)
                });
            }
        };
        #[cfg(unix)]
        if let [slice] = slices {
            // Past tokio's note of whether the kernel takes more: reading that note costs as much as the rest of this function,
            // and nearly always it says yes. Whatever else the kernel says, below it is asked again, in tokio's hearing.
            let sent = rustix::net::send(stream.as_ref(), slice, rustix::net::SendFlags::NOSIGNAL);
            if let Ok(written) = sent {
                return Poll::Ready(Ok(written));
            }
        }
        loop {
            // Not through `poll_write`: that one would count against the budget of the task that writes for others.
            let written = match slices {
                // `send` is cheaper than `writev`.
                [slice] => stream.try_write(slice),
                slices => stream.try_write_vectored(slices),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(stream.as_ref().poll_write_ready(cx))?;
                }
                result => return Poll::Ready(result),
            }
        }
    }

    /// Pushes out what a wrapper (TLS) may hold back. A TCP stream holds nothing.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Other(stream) => unbudgeted(cx, |cx| Pin::new(&mut *stream).poll_flush(cx)),
        }
    }

    /// Ends our direction of the stream.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Polls without counting against the budget of the task, which may be one that writes for others: it would see them
/// blocked that are not.
fn unbudgeted<T>(
    cx: &mut Context<'_>,
    poll: impl FnMut(&mut Context<'_>) -> Poll<T> + Unpin,
) -> Poll<T> {
    Pin::new(&mut tokio::task::unconstrained(std::future::poll_fn(poll))).poll(cx)
}
