//! Connect: from TCP to the namespace, and out again in order, as often as it goes.

use std::sync::Arc;

use crate::{
    clock,
    control::{Control, Phase},
    crew::{self, Crew},
    error::LoadError,
    link::{Ending, Link},
    options::Options,
    report::Report,
    tally::Tally,
    target::Target,
    worker::{Driver, Links},
};

/// Runs it. An operation is a connection that was in the namespace and is closed again; latency is the time to get in.
pub(crate) fn run(options: &Options, target: &Target) -> Result<Report, LoadError> {
    let begin = crew::moment(options.pid)?;
    let mut crew = Crew::start(options, target, options.connections(), |_, control| {
        Connect {
            control,
            begun_ns: Vec::new(),
            phase: Phase::Connecting,
            drained: false,
            closed: 0,
            closed_seen: 0,
            tally: Tally::default(),
        }
    })?
    .wait_ready(options.connections())?;
    let window = crew.measure(options)?;
    let tallies = crew.stop()?.into_iter().map(|driver| driver.tally);
    Ok(super::report(options, &begin, window, tallies))
}

struct Connect {
    control: Arc<Control>,
    /// When each connection began to open; 0: it is closed, and not to be opened again.
    begun_ns: Vec<u64>,
    phase: Phase,
    drained: bool,
    closed: u64,
    closed_seen: u64,
    tally: Tally,
}

impl Driver for Connect {
    fn joined(&mut self, link: &mut Link, _reply: &[u8], now_ns: u64) {
        let begun_ns = self.begun_ns.get(link.slot).copied().unwrap_or(now_ns);
        self.tally.operation(self.phase, begun_ns, now_ns);
        self.control
            .ready
            .fetch_add(1, std::sync::atomic::Ordering::Release);
        link.leave();
    }

    fn packet(&mut self, _link: &mut Link, _packet: &[u8], _now_ns: u64) {
        // Servers may greet.
    }

    fn unexpected(&mut self) {
        self.tally.faults.unexpected += 1;
    }

    fn ended(&mut self, links: &mut Links, slot: usize, ending: Ending) -> Result<(), LoadError> {
        match ending {
            Ending::Left => self.closed += 1,
            other => self.tally.ended(self.phase, other, links.target())?,
        }
        let is_over = self.phase >= Phase::Draining;
        if let Some(begun_ns) = self.begun_ns.get_mut(slot) {
            *begun_ns = if is_over { 0 } else { clock::now_ns() };
        }
        if !is_over {
            links.open(slot);
        }
        Ok(())
    }

    fn turn(&mut self, links: &mut Links, phase: Phase, now_ns: u64) -> Option<u64> {
        self.phase = phase;
        self.begun_ns.resize(links.len(), now_ns);
        self.control.count(self.closed - self.closed_seen);
        self.closed_seen = self.closed;
        if phase == Phase::Draining && !self.drained && self.begun_ns.iter().all(|it| *it == 0) {
            self.drained = true;
            self.control
                .drained
                .fetch_add(1, std::sync::atomic::Ordering::Release);
        }
        None
    }
}
