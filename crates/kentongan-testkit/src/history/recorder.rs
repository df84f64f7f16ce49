//! Writes events down while a run goes on, from any thread. It judges nothing.

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use thiserror::Error;

use super::{
    History,
    event::{Event, What},
};

/// How many events a recorder takes unless it is told otherwise: a gigabyte or two of JSON lines, or as much memory.
pub const EVENTS_MAX: usize = 8_000_000;

/// Why an event was not recorded. A run that lost an event proves nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The limit on events is reached.
    #[error("the recorder is full: {events_max} events")]
    Full {
        /// The limit.
        events_max: usize,
    },
    /// The file cannot be written.
    #[error("the history cannot be written: {0}")]
    Write(#[from] io::Error),
    /// The event cannot be written as JSON.
    #[error("an event cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl RecordError {
    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } => "recorder_full",
            Self::Write(_) => "history_write",
            Self::Json(_) => "history_json",
        }
    }
}

enum Sink {
    Memory(Vec<Event>),
    File(BufWriter<File>),
}

struct State {
    sink: Sink,
    events: usize,
    /// The first failure, kept until the end so that nobody overlooks it.
    failed: Option<RecordError>,
}

/// Records events, in the order in which they are handed in, with the time of one clock.
pub struct Recorder<C> {
    clock: C,
    events_max: usize,
    state: Mutex<State>,
}

impl<C: Fn() -> u64> Recorder<C> {
    /// Keeps the events in memory. `clock` gives nanoseconds and never runs backwards.
    pub fn in_memory(clock: C, events_max: usize) -> Self {
        Self::new(clock, events_max, Sink::Memory(Vec::new()))
    }

    /// Writes JSON lines to a file, which is replaced.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn to_file(clock: C, events_max: usize, path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        Ok(Self::new(
            clock,
            events_max,
            Sink::File(BufWriter::new(file)),
        ))
    }

    fn new(clock: C, events_max: usize, sink: Sink) -> Self {
        Self {
            clock,
            events_max,
            state: Mutex::new(State {
                sink,
                events: 0,
                failed: None,
            }),
        }
    }

    /// Records what `proc` saw just now. A failure is told again by [`Recorder::finish`], so it may be left alone here.
    pub fn record(&self, proc: &str, what: What) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failed.is_some() {
            return;
        }
        if state.events >= self.events_max {
            state.failed = Some(RecordError::Full {
                events_max: self.events_max,
            });
            return;
        }
        // Under the lock, so that the order of the lines is the order of the times.
        let event = Event {
            t_ns: (self.clock)(),
            proc: proc.to_owned(),
            what,
        };
        match state.sink.take(event) {
            Ok(()) => state.events += 1,
            Err(error) => state.failed = Some(error),
        }
    }

    /// Ends the recording. Gives the history when it was kept in memory, and an empty one when it is in a file.
    ///
    /// # Errors
    /// When an event was not recorded.
    pub fn finish(self) -> Result<History, RecordError> {
        let state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.failed {
            return Err(error);
        }
        match state.sink {
            Sink::Memory(events) => Ok(History::new(events)),
            Sink::File(mut file) => {
                file.flush()?;
                Ok(History::default())
            }
        }
    }
}

impl<C> fmt::Debug for Recorder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("events_max", &self.events_max)
            .finish_non_exhaustive()
    }
}

impl Sink {
    fn take(&mut self, event: Event) -> Result<(), RecordError> {
        match self {
            Self::Memory(events) => events.push(event),
            Self::File(file) => {
                serde_json::to_writer(&mut *file, &event)?;
                file.write_all(b"\n")?;
            }
        }
        Ok(())
    }
}
