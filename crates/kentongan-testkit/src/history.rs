//! Histories of whole runs, and the checker that judges them. It sees what clients, publishers and the harness saw, never the
//! server's own idea of success.
//!
//! # Recording
//!
//! Give every process of the harness (a client, a publisher, the thing that makes faults) a name, and one [`Recorder`] to all
//! of them. It takes an event at the moment at which the process sees it:
//!
//! ```
//! use kentongan_testkit::history::{
//!     Answer, EVENTS_MAX, Invoke, Position, Recorder, What,
//! };
//!
//! let start = std::time::Instant::now();
//! let clock = move || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
//! let recorder = Recorder::in_memory(clock, EVENTS_MAX);
//! recorder.record(
//!     "publisher-1",
//!     What::Invoke(Invoke::Publish {
//!         call: 1,
//!         room: "chat:lobby".into(),
//!         id: "publisher-1-1".into(),
//!         key: None,
//!         conn: None,
//!         user: None,
//!         tenant: None,
//!         bytes: 64,
//!     }),
//! );
//! // … the request, and its answer:
//! recorder.record(
//!     "publisher-1",
//!     What::Ok(Answer::Publish {
//!         call: 1,
//!         position: Position { epoch: "e1".into(), offset: 1 },
//!         duplicate: false,
//!         durable: true,
//!     }),
//! );
//! let history = recorder.finish()?;
//! # assert_eq!(history.events().len(), 2);
//! # Ok::<(), kentongan_testkit::history::RecordError>(())
//! ```
//!
//! - Every [`Invoke`] has a `call` of its own and one completion: [`What::Ok`], [`What::Fail`] (certainly not done) or
//!   [`Info::Unknown`]. A request whose connection is lost is unknown, not failed.
//! - Record an invocation before the request is sent, a completion or delivery after it was read.
//! - What comes on one connection is recorded in the order in which it comes; the checker relies on it. A client that has two
//!   connections at a time is two clients.
//! - Only messages with a position are recorded: those of logs. Signals promise nothing that could be checked.
//! - Faults: their start, their end, and the trace that proves them. After something that destroys data also
//!   [`Info::EpochChange`].
//! - **Final phase**: all faults stop; wait until everyone has caught up (at most
//!   [`Expectations::progress_within_ms`]), publishing a little; then one [`Invoke::FinalRead`] for each room and node, and
//!   [`Info::Resources`] for each node, which was also counted at the base.
//!
//! # Checking
//!
//! [`check`] holds a history against the rules C1–C19 and C21–C25 ([`Rule`]) in almost linear time, and gives a [`Report`].
//! Presence (C20) is not recorded yet, so nothing is said about it. What C25 compares is the history API with deliveries,
//! acknowledgements and the final read; a dump of the store can be recorded as a final read of another node. A run that proves nothing (too few
//! deliveries, faults or reconnects, a fault without a trace, no final read) is bad too: `vacuous`.
//!
//! On the command line: `cargo run -p kentongan-testkit --example check_history FILE`.
//!
//! # Testing the checker
//!
//! [`model`] makes good histories from seeds, and bad ones with one of the planted [`model::Bug`]s each.

mod check;
mod event;
mod expectations;
pub mod model;
mod recorder;
mod report;

use std::io::{self, BufRead, Write};

use thiserror::Error;

pub use self::{
    check::check,
    event::{
        Answer, Event, Failure, FaultPhase, Info, Invoke, Item, Position, Recovered, ResourcePhase,
        Right, ServerPhase, What,
    },
    expectations::{Expectations, ResourceLimits, Rights, Window},
    recorder::{EVENTS_MAX, RecordError, Recorder},
    report::{Report, Rule, VIOLATIONS_MAX, Violation},
};

/// What was recorded, in the order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    events: Vec<Event>,
}

/// Why a history cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The input fails.
    #[error("the history cannot be read: {0}")]
    Read(#[from] io::Error),
    /// A line is not an event.
    #[error("line {line} is not an event: {source}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There are too many lines.
    #[error("the history has more than {events_max} events")]
    TooLong {
        /// The limit.
        events_max: usize,
    },
}

impl HistoryError {
    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "history_read",
            Self::Line { .. } => "history_line",
            Self::TooLong { .. } => "history_too_long",
        }
    }
}

impl History {
    /// Puts events into the order of time; events of the same time keep theirs.
    #[must_use]
    pub fn new(mut events: Vec<Event>) -> Self {
        events.sort_by_key(|event| event.t_ns);
        Self { events }
    }

    /// Reads JSON lines; empty lines and lines that begin with `#` are left out.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn read(input: impl BufRead) -> Result<Self, HistoryError> {
        let mut events = Vec::new();
        for (index, line) in input.lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if events.len() >= EVENTS_MAX {
                return Err(HistoryError::TooLong {
                    events_max: EVENTS_MAX,
                });
            }
            events.push(
                serde_json::from_str(&line).map_err(|source| HistoryError::Line {
                    line: index + 1,
                    source,
                })?,
            );
        }
        Ok(Self::new(events))
    }

    /// Writes JSON lines.
    ///
    /// # Errors
    /// When the output fails.
    pub fn write(&self, mut output: impl Write) -> io::Result<()> {
        for event in &self.events {
            serde_json::to_writer(&mut output, event)?;
            output.write_all(b"\n")?;
        }
        Ok(())
    }

    /// The events.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}
