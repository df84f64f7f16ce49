//! Idle: connections that do nothing, and what they cost the server.

use std::{
    sync::{Arc, atomic::Ordering::Release},
    time::Duration,
};

use serde_json::json;

use crate::{
    control::{Control, Phase},
    crew::{self, Crew},
    error::LoadError,
    link::{Ending, Link},
    options::Options,
    report::Report,
    tally::Tally,
    target::Target,
    wire::Wire,
    worker::{Driver, Links},
};

/// Runs it. An operation is a connection that came up, and `seconds` how long that took; CPU time includes the settling.
pub(crate) fn run(options: &Options, target: &Target) -> Result<Report, LoadError> {
    let begin = crew::moment(options.pid)?;
    let crew = Crew::start(options, target, super::HANDSHAKES_MAX, |_, control| Idle {
        control,
        wire: Wire::new(&options.namespace, options.size),
        rooms: u64::from(options.rooms),
        to_join: Vec::new(),
        phase: Phase::Connecting,
        tally: Tally::default(),
    })?;
    let mut crew = crew.wait_ready(options.connections())?;
    let connected = crew.moment()?.since(&begin);
    crew.control.enter(Phase::WarmUp);
    crew.wait(options.warm_up.max(SETTLE), "settling", || false);
    let mut settled = crew.moment()?.since(&begin);
    settled.seconds = connected.seconds;
    let tallies = crew.stop()?.into_iter().map(|driver| driver.tally);
    let mut report = super::report(options, &begin, settled, tallies);
    report.operations = options.connections() as u64;
    report.extra.insert("rooms".into(), json!(options.rooms));
    Ok(report)
}

struct Idle {
    control: Arc<Control>,
    wire: Wire,
    rooms: u64,
    /// For each connection, rooms whose acknowledgement is awaited.
    to_join: Vec<u64>,
    phase: Phase,
    tally: Tally,
}

impl Driver for Idle {
    fn joined(&mut self, link: &mut Link, _reply: &[u8], _now_ns: u64) {
        if self.rooms == 0 {
            self.control.ready.fetch_add(1, Release);
            return;
        }
        for room in 0..self.rooms {
            let name = format!("room-{room}-{}", link.index / CONNECTIONS_PER_ROOM);
            link.send(self.wire.join(&name, room));
        }
        if let Some(to_join) = self.to_join.get_mut(link.slot) {
            *to_join = self.rooms;
        }
    }

    fn packet(&mut self, link: &mut Link, packet: &[u8], _now_ns: u64) {
        match self.to_join.get_mut(link.slot) {
            Some(left) if *left > 0 && packet.starts_with(b"43") => {
                *left -= 1;
                self.control
                    .ready
                    .fetch_add(usize::from(*left == 0), Release);
            }
            // Servers may greet.
            _ => {}
        }
    }

    fn unexpected(&mut self) {
        self.tally.faults.unexpected += 1;
    }

    fn ended(&mut self, links: &mut Links, _slot: usize, ending: Ending) -> Result<(), LoadError> {
        self.tally.ended(self.phase, ending, links.target())
    }

    fn turn(&mut self, links: &mut Links, phase: Phase, _now_ns: u64) -> Option<u64> {
        self.phase = phase;
        self.to_join.resize(links.len(), 0);
        None
    }
}

/// Below this the memory of the handshakes is not yet given back.
const SETTLE: Duration = Duration::from_secs(3);
const CONNECTIONS_PER_ROOM: usize = 100;
