//! The scenarios: each a [`Driver`](crate::worker::Driver) and what the main thread does around it.

pub(crate) mod avalanche;
pub(crate) mod burst;
pub(crate) mod connect;
pub(crate) mod echo;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod jitter;

use crate::{
    crew::{Moment, Window},
    options::Options,
    report::Report,
    tally::Tally,
};

/// A report without keys of its own.
fn report(
    options: &Options,
    begin: &Moment,
    window: Window,
    tallies: impl IntoIterator<Item = Tally>,
) -> Report {
    let tally = tallies
        .into_iter()
        .fold(Tally::default(), |sum, tally| sum.merge(&tally));
    Report {
        options: options.clone(),
        seconds: window.seconds,
        operations: tally.operations,
        faults: tally.faults,
        latency_ns: tally.latency_ns,
        server: window.server,
        client: window.client,
        anonymous_before: begin.server.map_or(0, |server| server.anonymous_bytes),
        memory_connections: options.connections(),
        extra: serde_json::Map::new(),
    }
}

/// Connections that a worker opens at a time. More would only overflow the server's backlog.
const HANDSHAKES_MAX: usize = 128;
/// The room of the scenarios.
const ROOM: &str = "r";
