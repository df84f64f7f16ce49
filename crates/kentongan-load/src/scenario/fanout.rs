//! Fan-out: one publisher, everyone (it included) subscribes to one room.

use std::sync::{
    Arc,
    atomic::Ordering::{Acquire, Release},
};

use serde_json::json;

use crate::{
    check::Sequence,
    clock::{self, SECOND},
    control::{Control, Phase},
    crew::{self, Crew},
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

/// Runs it. An operation is a delivery.
pub(crate) fn run(options: &Options, target: &Target) -> Result<Report, LoadError> {
    let begin = crew::moment(options.pid)?;
    let crew = Crew::start(options, target, super::HANDSHAKES_MAX, |worker, control| {
        Fanout::new(options, control, worker == 0)
    })?;
    let mut crew = crew.wait_ready(options.connections())?;
    let window = crew.measure(options)?;
    let sent = crew.control.sent.load(Acquire);
    let drivers = crew.stop()?;
    let tallies = drivers.into_iter().map(|driver| driver.into_tally(sent));
    let mut report = super::report(options, &begin, window, tallies);
    report.extra.insert("rate".into(), json!(options.rate()));
    report.extra.insert("messages_sent".into(), json!(sent));
    Ok(report)
}

struct Fanout {
    control: Arc<Control>,
    wire: Wire,
    expected: Expected,
    publisher: Option<Publisher>,
    subscribers: Vec<Subscriber>,
    phase: Phase,
    drained: bool,
    counted: u64,
    tally: Tally,
}

/// The first connection of the first worker.
struct Publisher {
    interval_ns: u64,
    next_ns: u64,
}

#[derive(Default)]
struct Subscriber {
    sequence: Sequence,
    is_subscribed: bool,
    is_down: bool,
}

impl Fanout {
    fn new(options: &Options, control: Arc<Control>, publishes: bool) -> Self {
        Self {
            control,
            wire: Wire::new(&options.namespace, options.size),
            expected: Expected::event(&options.namespace, "msg", options.size),
            publisher: publishes.then(|| Publisher {
                interval_ns: SECOND / u64::from(options.rate()),
                next_ns: 0,
            }),
            subscribers: Vec::new(),
            phase: Phase::Connecting,
            drained: false,
            counted: 0,
            tally: Tally::default(),
        }
    }

    /// Publishes what is due; returns when the next message is.
    fn publish(&mut self, links: &mut Links, now_ns: u64) -> Option<u64> {
        let publisher = self.publisher.as_mut()?;
        if publisher.next_ns == 0 {
            publisher.next_ns = now_ns;
        }
        // A message that is late is sent late, and its latency counts from then: the server is not charged for us.
        while publisher.next_ns <= now_ns {
            publisher.next_ns += publisher.interval_ns;
            let stamp = Stamp {
                sequence: self.control.sent.fetch_add(1, Release),
                sent_ns: clock::now_ns(),
                sender: 0,
            };
            if let Some(link) = links.link(0) {
                link.send(self.wire.broadcast(super::ROOM, stamp, None));
            }
            links.flush(0);
        }
        Some(publisher.next_ns)
    }

    fn into_tally(mut self, sent: u64) -> Tally {
        for subscriber in &self.subscribers {
            self.tally.faults.lost += subscriber.sequence.outstanding(sent);
        }
        self.tally
    }
}

impl Driver for Fanout {
    fn joined(&mut self, link: &mut Link, _reply: &[u8], _now_ns: u64) {
        link.send(self.wire.join(super::ROOM, 0));
    }

    fn packet(&mut self, link: &mut Link, packet: &[u8], now_ns: u64) {
        let Some(subscriber) = self.subscribers.get_mut(link.slot) else {
            return self.unexpected();
        };
        if !subscriber.is_subscribed {
            // Anything else before the acknowledgement is a greeting: nobody publishes yet.
            if packet.starts_with(b"43") {
                subscriber.is_subscribed = true;
                self.control.ready.fetch_add(1, Release);
            }
            return;
        }
        let Some(arrival) = self.expected.read(packet).filter(|it| it.stamp.sender == 0) else {
            return self.unexpected();
        };
        let stamp = arrival.stamp;
        if subscriber
            .sequence
            .take(stamp.sequence, &mut self.tally.faults)
        {
            self.counted += 1;
            self.tally.operation(self.phase, stamp.sent_ns, now_ns);
        }
    }

    fn unexpected(&mut self) {
        self.tally.faults.unexpected += 1;
    }

    fn ended(&mut self, links: &mut Links, slot: usize, ending: Ending) -> Result<(), LoadError> {
        if let Some(subscriber) = self.subscribers.get_mut(slot) {
            subscriber.is_down = true;
        }
        self.tally.ended(self.phase, ending, links.target())
    }

    fn turn(&mut self, links: &mut Links, phase: Phase, now_ns: u64) -> Option<u64> {
        self.phase = phase;
        self.subscribers
            .resize_with(links.len(), Subscriber::default);
        self.control.count(std::mem::take(&mut self.counted));
        match phase {
            Phase::WarmUp | Phase::Measuring => return self.publish(links, now_ns),
            Phase::Draining if !self.drained => {
                let sent = self.control.sent.load(Acquire);
                let has_all = |it: &Subscriber| it.is_down || it.sequence.outstanding(sent) == 0;
                self.drained = self.subscribers.iter().all(has_all);
                self.control
                    .drained
                    .fetch_add(usize::from(self.drained), Release);
            }
            _ => {}
        }
        None
    }
}
