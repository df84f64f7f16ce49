//! One connection: its task, and how others write to it.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use messages::{Handshake, Then, Turn, handshake};
use tokio::net::TcpStream;

use crate::rooms::Members;

const READ_BYTES: usize = 64 * 1024;

thread_local! {
    /// The runtime has one thread, so this is one buffer for all connections; an idle one holds nothing.
    static SHARED: RefCell<Shared> = RefCell::new(Shared { buffer: vec![0; READ_BYTES], turn: Turn::default() });
}

struct Shared {
    buffer: Vec<u8>,
    turn: Turn,
}

/// A connection as others see it. The locks are never waited for: there is one thread.
pub(crate) struct Connection {
    stream: TcpStream,
    /// True while `unsent` holds something, so that the usual way takes no lock.
    is_blocked: AtomicBool,
    /// What the socket did not take.
    unsent: Mutex<Vec<u8>>,
    /// The connection's own task, which has to wait for the socket when somebody else finds it blocked.
    task: Waker,
}

impl Connection {
    /// Sends at once; what the socket does not take waits for the connection's own task.
    pub(crate) fn write(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let is_blocked = self.is_blocked.load(Ordering::Relaxed);
        // An error shows again when the connection is read.
        let sent = if is_blocked {
            0
        } else {
            self.stream.try_write(bytes).unwrap_or(0)
        };
        if let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            self.unsent().extend_from_slice(rest);
            if !self.is_blocked.swap(true, Ordering::Relaxed) {
                self.task.wake_by_ref();
            }
        }
    }

    /// Ready when there is something to read; sends what waits meanwhile.
    fn poll(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.is_blocked.load(Ordering::Relaxed) {
            match self.stream.poll_write_ready(context) {
                Poll::Ready(Ok(())) => self.flush(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        self.stream.poll_read_ready(context)
    }

    fn flush(&self) {
        let mut unsent = self.unsent();
        match self.stream.try_write(&unsent) {
            Ok(sent) => drop(unsent.drain(..sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The connection is gone, as the next read finds out.
            Err(_) => unsent.clear(),
        }
        if unsent.is_empty() {
            *unsent = Vec::new();
            self.is_blocked.store(false, Ordering::Relaxed);
        }
    }

    fn unsent(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one client until it is gone.
pub(crate) async fn serve(stream: TcpStream) {
    let connection = Arc::new(Connection {
        stream,
        is_blocked: AtomicBool::new(false),
        unsent: Mutex::new(Vec::new()),
        // A spawned task has one waker for all its life.
        task: poll_fn(|context| Poll::Ready(context.waker().clone())).await,
    });
    let mut reader = Reader {
        members: Members::new(Arc::clone(&connection)),
        is_websocket: false,
        partial: Vec::new(),
    };
    loop {
        match poll_fn(|context| connection.poll(context)).await {
            Ok(()) if reader.read(&connection) == Then::Keep => {}
            _ => break,
        }
    }
    reader.members.leave();
}

struct Reader {
    members: Members,
    is_websocket: bool,
    /// The start of a frame whose rest has not arrived. Almost always empty, so it holds no memory.
    partial: Vec<u8>,
}

impl Reader {
    fn read(&mut self, connection: &Connection) -> Then {
        SHARED.with_borrow_mut(|Shared { buffer, turn }| {
            let kept = self.partial.len();
            // A frame that is larger than the buffer is none of ours.
            let read = match buffer.get_mut(kept..) {
                Some([]) | None => Ok(0),
                Some(space) => connection.stream.try_read(space),
            };
            let length = match read {
                Ok(0) => return Then::Close,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Then::Keep,
                Err(_) => return Then::Close,
            };
            buffer[..kept].copy_from_slice(&self.partial);
            let input = &mut buffer[..kept + length];
            turn.answers.clear();
            let (taken, then) = self.take(input, turn);
            let rest = input.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                self.partial = Vec::new();
            } else {
                self.partial.clear();
                self.partial.extend_from_slice(rest);
            }
            connection.write(&turn.answers);
            then
        })
    }

    fn take(&mut self, input: &mut [u8], turn: &mut Turn) -> (usize, Then) {
        let mut start = 0;
        if !self.is_websocket {
            match handshake(input, &mut turn.answers) {
                Handshake::Partial => return (0, Then::Keep),
                Handshake::Refused => return (input.len(), Then::Close),
                Handshake::Done(length) => start = length,
            }
            self.is_websocket = true;
        }
        let input = input.get_mut(start..).unwrap_or_default();
        let (taken, then) = turn.take(input, &mut self.members);
        (start + taken, then)
    }
}
