//! Echo and ack: every connection keeps so many messages under way and sends the next when one has come back.

use std::sync::{Arc, atomic::Ordering::Release};

use crate::{
    check::Sequence,
    clock,
    control::{Control, Phase},
    crew::{self, Crew},
    error::LoadError,
    link::{Ending, Link},
    options::{Options, Scenario},
    payload::Stamp,
    report::Report,
    tally::Tally,
    target::Target,
    wire::{Expected, Wire},
    worker::{Driver, Links},
};

/// Runs either of the two.
pub(crate) fn run(options: &Options, target: &Target) -> Result<Report, LoadError> {
    let begin = crew::moment(options.pid)?;
    let crew = Crew::start(options, target, super::HANDSHAKES_MAX, |_, control| {
        Echo::new(options, control)
    })?;
    let mut crew = crew.wait_ready(options.connections())?;
    let window = crew.measure(options)?;
    let drivers = crew.stop()?;
    let tallies = drivers.into_iter().map(Echo::into_tally);
    Ok(super::report(options, &begin, window, tallies))
}

struct Echo {
    control: Arc<Control>,
    wire: Wire,
    event: Expected,
    /// Expected if each message is to be acknowledged.
    ack: Option<Expected>,
    in_flight: u64,
    flights: Vec<Flight>,
    phase: Phase,
    started: bool,
    drained: bool,
    tally: Tally,
    /// Operations of this turn, in any phase.
    counted: u64,
}

/// What a connection has sent and got back.
#[derive(Default)]
struct Flight {
    sent: u64,
    echoes: Sequence,
    acks: Sequence,
    /// Messages of which everything is back.
    done: u64,
    is_down: bool,
}

impl Echo {
    fn new(options: &Options, control: Arc<Control>) -> Self {
        let (namespace, size) = (&options.namespace, options.size);
        Self {
            control,
            wire: Wire::new(namespace, size),
            event: Expected::event(namespace, "echo", size),
            ack: (options.scenario == Scenario::Ack).then(|| Expected::ack(namespace, size)),
            in_flight: u64::from(options.in_flight),
            flights: Vec::new(),
            phase: Phase::Connecting,
            started: false,
            drained: false,
            tally: Tally::default(),
            counted: 0,
        }
    }

    fn send(&mut self, link: &mut Link, count: u64) {
        let sent_ns = clock::now_ns();
        let Some(flight) = self.flights.get_mut(link.slot) else {
            return;
        };
        for _ in 0..count {
            let stamp = Stamp {
                sequence: flight.sent,
                sent_ns,
                sender: link.index as u32,
            };
            let id = self.ack.is_some().then_some(flight.sent);
            link.send(self.wire.echo(stamp, id));
            flight.sent += 1;
        }
    }

    fn into_tally(mut self) -> Tally {
        for flight in &self.flights {
            let faults = &mut self.tally.faults;
            faults.lost += flight.echoes.outstanding(flight.sent);
            if self.ack.is_some() {
                faults.lost += flight.acks.outstanding(flight.sent);
            }
        }
        self.tally
    }
}

impl Driver for Echo {
    fn joined(&mut self, _link: &mut Link, _reply: &[u8], _now_ns: u64) {
        self.control.ready.fetch_add(1, Release);
    }

    fn packet(&mut self, link: &mut Link, packet: &[u8], now_ns: u64) {
        if !self.started {
            // A greeting: nothing was sent yet.
            return;
        }
        let Some(flight) = self.flights.get_mut(link.slot) else {
            return self.unexpected();
        };
        let expects_ack = packet.get(1) == Some(&b'3');
        let expected = if expects_ack {
            self.ack.as_ref()
        } else {
            Some(&self.event)
        };
        let arrival = expected.and_then(|expected| expected.read(packet));
        let Some(arrival) = arrival.filter(|arrival| {
            arrival.stamp.sender as usize == link.index
                && arrival.stamp.sequence < flight.sent
                && arrival.id.is_none_or(|id| id == arrival.stamp.sequence)
        }) else {
            return self.unexpected();
        };
        let sequence = if expects_ack {
            &mut flight.acks
        } else {
            &mut flight.echoes
        };
        sequence.take(arrival.stamp.sequence, &mut self.tally.faults);
        let mut done = flight.echoes.next();
        if self.ack.is_some() {
            done = done.min(flight.acks.next());
        }
        if done > flight.done {
            let finished = done - flight.done;
            flight.done = done;
            self.counted += finished;
            for _ in 0..finished {
                self.tally
                    .operation(self.phase, arrival.stamp.sent_ns, now_ns);
            }
            if self.phase < Phase::Draining {
                self.send(link, finished);
            }
        }
    }

    fn unexpected(&mut self) {
        self.tally.faults.unexpected += 1;
    }

    fn ended(&mut self, links: &mut Links, slot: usize, ending: Ending) -> Result<(), LoadError> {
        if let Some(flight) = self.flights.get_mut(slot) {
            flight.is_down = true;
        }
        self.tally.ended(self.phase, ending, links.target())
    }

    fn turn(&mut self, links: &mut Links, phase: Phase, _now_ns: u64) -> Option<u64> {
        self.phase = phase;
        self.flights.resize_with(links.len(), Flight::default);
        if phase >= Phase::WarmUp && !self.started {
            self.started = true;
            for slot in 0..links.len() {
                if let Some(link) = links.link(slot) {
                    self.send(link, self.in_flight);
                }
                links.flush(slot);
            }
        }
        self.control.count(std::mem::take(&mut self.counted));
        if phase == Phase::Draining && !self.drained {
            let is_back = |flight: &Flight| flight.is_down || flight.done == flight.sent;
            self.drained = self.flights.iter().all(is_back);
            self.control
                .drained
                .fetch_add(usize::from(self.drained), Release);
        }
        None
    }
}
