//! Burst: one request makes the server send many messages to everyone, in rounds.
//!
//! All messages of a round are equal, so that exactly once means: as many as asked for.

use std::{
    sync::{
        Arc,
        atomic::Ordering::{AcqRel, Acquire, Release},
    },
    time::Duration,
};

use serde_json::json;

use crate::{
    clock,
    control::{Control, Phase},
    crew::{self, Crew, Window},
    error::LoadError,
    link::{Ending, Link},
    options::Options,
    payload::Stamp,
    report::Report,
    tally::Tally,
    target::Target,
    wire::{Expected, Wire},
    worker::{Driver, Links},
};

/// Runs it. An operation is a delivery; `seconds` is the sum of the rounds from the request to the last delivery.
pub(crate) fn run(options: &Options, target: &Target) -> Result<Report, LoadError> {
    let begin = crew::moment(options.pid)?;
    let mut crew = Crew::start(options, target, super::HANDSHAKES_MAX, |worker, control| {
        Burst::new(options, control, worker == 0)
    })?
    .wait_ready(options.connections())?;
    let deliveries = options.connections() as u64 * u64::from(options.messages);
    play_round(&mut crew, deliveries, 1)?;
    crew.control.enter(Phase::Measuring);
    let before = crew.moment()?;
    let rounds = (0..ROUNDS)
        .map(|round| play_round(&mut crew, deliveries, round + 2))
        .collect::<Result<Vec<Window>, _>>()?;
    let mut window = crew.moment()?.since(&before);
    window.seconds = rounds.iter().map(|round| round.seconds).sum();
    crew.drain();
    let tallies = crew.stop()?.into_iter().map(Burst::into_tally);
    let mut report = super::report(options, &begin, window, tallies);
    let wall_ms = rounds.iter().map(|round| round.seconds * 1e3);
    report
        .extra
        .insert("messages".into(), json!(options.messages));
    report
        .extra
        .insert("wall_ms_median".into(), json!(median(wall_ms.clone())));
    report
        .extra
        .insert("wall_ms".into(), json!(wall_ms.collect::<Vec<_>>()));
    let cpu_us = rounds
        .iter()
        .filter_map(|round| Some(round.server?.used.cpu_ns as f64 / 1e3 / deliveries as f64));
    report
        .extra
        .insert("cpu_us_per_delivery_median".into(), json!(median(cpu_us)));
    Ok(report)
}

/// Asks for a round and waits for its end.
fn play_round(crew: &mut Crew<Burst>, deliveries: u64, round: u64) -> Result<Window, LoadError> {
    let control = Arc::clone(&crew.control);
    let before = crew.moment()?;
    control.finished_ns.store(0, Release);
    control.progress.store(0, Release);
    control.sent.store(deliveries, Release);
    control.round.store(round, Release);
    crew.wait(ROUND_MAX, "burst", || control.finished_ns.load(Acquire) > 0);
    // The server may still be tidying up, which is part of its cost.
    crew.wait(PAUSE, "pause", || false);
    let mut window = crew.moment()?.since(&before);
    let begun_ns = control.begun_ns.load(Acquire);
    let finished_ns = match control.finished_ns.load(Acquire) {
        0 => clock::now_ns(),
        finished_ns => finished_ns,
    };
    window.seconds = finished_ns.saturating_sub(begun_ns) as f64 / 1e9;
    Ok(window)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

struct Burst {
    control: Arc<Control>,
    wire: Wire,
    expected: Expected,
    messages: u32,
    publishes: bool,
    /// Deliveries of this round to each connection; `None` before it is in the room.
    subscribers: Vec<Option<u32>>,
    round: u64,
    /// The round that was asked for; stays behind in the workers that do not publish.
    asked: u64,
    phase: Phase,
    drained: bool,
    counted: u64,
    tally: Tally,
}

impl Burst {
    fn new(options: &Options, control: Arc<Control>, publishes: bool) -> Self {
        Self {
            control,
            wire: Wire::new(&options.namespace, options.size),
            expected: Expected::event(&options.namespace, "msg", options.size),
            messages: options.messages,
            publishes,
            subscribers: Vec::new(),
            round: 0,
            asked: 0,
            phase: Phase::Connecting,
            drained: false,
            counted: 0,
            tally: Tally::default(),
        }
    }

    fn ask(&mut self, round: u64, links: &mut Links) {
        self.asked = round;
        let sent_ns = clock::now_ns();
        self.control.begun_ns.store(sent_ns, Release);
        let stamp = Stamp {
            sequence: round,
            sent_ns,
            sender: 0,
        };
        if let Some(link) = links.link(0) {
            link.send(self.wire.broadcast(super::ROOM, stamp, Some(self.messages)));
        }
        links.flush(0);
    }

    /// What has not come of the last round by now is lost.
    fn settle(&mut self, round: u64) {
        let last = std::mem::replace(&mut self.round, round);
        if last == round {
            return;
        }
        // Whoever asked for the round had moved on before: what was known here may be of before that.
        self.phase = self.control.phase();
        if last == 0 {
            return;
        }
        for delivered in self.subscribers.iter_mut().flatten() {
            let missing = self.messages.saturating_sub(std::mem::take(delivered));
            self.tally.faults.lost += u64::from(missing);
        }
    }

    fn into_tally(mut self) -> Tally {
        self.settle(u64::MAX);
        self.tally
    }
}

impl Driver for Burst {
    fn joined(&mut self, link: &mut Link, _reply: &[u8], _now_ns: u64) {
        link.send(self.wire.join(super::ROOM, 0));
    }

    fn packet(&mut self, link: &mut Link, packet: &[u8], now_ns: u64) {
        let round = self.control.round.load(Acquire);
        if round != self.round {
            // The other worker has asked, and the first delivery is here before our turn.
            self.settle(round);
        }
        let Some(subscriber) = self.subscribers.get_mut(link.slot) else {
            return self.unexpected();
        };
        let Some(delivered) = subscriber else {
            if packet.starts_with(b"43") {
                *subscriber = Some(0);
                self.control.ready.fetch_add(1, Release);
            }
            return;
        };
        let arrival = self.expected.read(packet);
        let Some(arrival) = arrival.filter(|it| it.stamp.sender == 0 && it.stamp.sequence == round)
        else {
            return self.unexpected();
        };
        if *delivered == self.messages {
            self.tally.faults.doubled += 1;
            return;
        }
        *delivered += 1;
        self.counted += 1;
        self.tally
            .operation(self.phase, arrival.stamp.sent_ns, now_ns);
    }

    fn unexpected(&mut self) {
        self.tally.faults.unexpected += 1;
    }

    fn ended(&mut self, links: &mut Links, _slot: usize, ending: Ending) -> Result<(), LoadError> {
        self.tally.ended(self.phase, ending, links.target())
    }

    fn turn(&mut self, links: &mut Links, phase: Phase, _now_ns: u64) -> Option<u64> {
        self.phase = phase;
        self.subscribers.resize(links.len(), None);
        if self.counted > 0 {
            let counted = std::mem::take(&mut self.counted);
            let delivered = self.control.progress.fetch_add(counted, AcqRel) + counted;
            if delivered >= self.control.sent.load(Acquire) {
                self.control.finished_ns.store(clock::now_ns(), Release);
            }
        }
        let round = self.control.round.load(Acquire);
        self.settle(round);
        if self.publishes && round != self.asked {
            self.ask(round, links);
        }
        if phase == Phase::Draining && !self.drained {
            self.drained = true;
            self.control.drained.fetch_add(1, Release);
        }
        None
    }
}

const ROUNDS: u64 = 15;
const ROUND_MAX: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    /// A worker that was waiting for packets counted the first of a round as belonging to the phase before it.
    #[test]
    fn a_new_round_belongs_to_the_phase_that_holds_now() {
        let options = Options::try_parse_from(["kentongan-load", "burst"]).unwrap();
        let control = Arc::new(Control::default());
        control.enter(Phase::WarmUp);
        let mut burst = Burst::new(&options, Arc::clone(&control), false);
        burst.settle(1);
        assert_eq!(burst.phase, Phase::WarmUp);
        control.enter(Phase::Measuring);
        burst.settle(1);
        assert_eq!(burst.phase, Phase::WarmUp, "the same round");
        burst.settle(2);
        assert_eq!(burst.phase, Phase::Measuring);
    }
}
