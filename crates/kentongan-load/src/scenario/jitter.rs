//! Jitter: everyone's connection is cut now and then, and comes back a little later, while a publisher sends.
//!
//! Clients return as stock clients do: with the `pid` that they were given and the last string argument of the last
//! event. Only the first connection, which publishes, is never cut.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Release},
    },
};

use hdrhistogram::Histogram;
use kentongan_protocol::socket::packet::Packet;
use serde_json::{Value, json};

use crate::{
    chance::Chance,
    check::Sequence,
    clock::{self, SECOND},
    control::{Control, Phase},
    crew::{self, Crew},
    error::LoadError,
    link::{Ending, Link},
    options::Options,
    payload::Stamp,
    report::{self, Report},
    tally::Tally,
    target::Target,
    wire::{self, Expected, Wire},
    worker::{Driver, Links},
};

/// Runs it. An operation is a delivery, replayed or not.
pub(crate) fn run(options: &Options, target: &Target) -> Result<Report, LoadError> {
    let begin = crew::moment(options.pid)?;
    let mut crew = Crew::start(options, target, super::HANDSHAKES_MAX, |worker, control| {
        Jitter::new(options, control, worker as u64)
    })?
    .wait_ready(options.connections())?;
    let window = crew.measure(options)?;
    let sent = crew.control.sent.load(Acquire);
    let mut returns = Returns::default();
    let mut tallies = Vec::new();
    for driver in crew.stop()? {
        let (tally, of_worker) = driver.into_parts(sent);
        returns.merge(&of_worker);
        tallies.push(tally);
    }
    let mut report = super::report(options, &begin, window, tallies);
    let expected = sent * options.connections() as u64;
    report.extra.insert("messages_sent".into(), json!(sent));
    report.extra.insert(
        "delivered".into(),
        json!(expected - report.faults.lost.min(expected)),
    );
    report.extra.insert("expected".into(), json!(expected));
    returns.write(report.faults.lost, &mut report.extra);
    Ok(report)
}

struct Jitter {
    control: Arc<Control>,
    wire: Wire,
    expected: Expected,
    chance: Chance,
    publishes: bool,
    interval_ns: u64,
    publish_ns: u64,
    up_ns: u64,
    away_ns: u64,
    clients: Vec<Client>,
    /// When something is to be done with which client.
    timers: BinaryHeap<Reverse<(u64, usize)>>,
    returns: Returns,
    phase: Phase,
    drained: bool,
    counted: u64,
    tally: Tally,
}

#[derive(Default)]
struct Client {
    state: State,
    sequence: Sequence,
    /// Its timer; others in the heap are void.
    due_ns: u64,
    pid: String,
    offset: String,
    /// When it began to return.
    returning_ns: u64,
    /// Set until everything is here that was sent before it was back.
    catching_up_to: Option<u64>,
    /// Back without its session, and nothing has come since.
    has_gap: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// On the way in, for the first time or again.
    #[default]
    Coming,
    /// Waits for the acknowledgement of its room.
    Joining,
    Up,
    Away,
}

/// How the returns went.
struct Returns {
    recovered: u64,
    not_recovered: u64,
    /// Attempts to return that failed.
    failed: u64,
    missing_not_recovered: u64,
    /// From the first SYN to the last missed message, in nanoseconds.
    replay_ns: Histogram<u64>,
}

impl Jitter {
    fn new(options: &Options, control: Arc<Control>, worker: u64) -> Self {
        Self {
            control,
            wire: Wire::new(&options.namespace, options.size),
            expected: Expected::event(&options.namespace, "msg", options.size),
            chance: Chance::new(options.seed.wrapping_add(worker << 32)),
            publishes: worker == 0,
            interval_ns: SECOND / u64::from(options.rate()),
            publish_ns: 0,
            up_ns: options.cut_after.as_nanos() as u64,
            away_ns: options.away.as_nanos() as u64,
            clients: Vec::new(),
            timers: BinaryHeap::new(),
            returns: Returns::default(),
            phase: Phase::Connecting,
            drained: false,
            counted: 0,
            tally: Tally::default(),
        }
    }

    fn publish(&mut self, links: &mut Links, now_ns: u64) {
        self.publish_ns = self.publish_ns.max(now_ns.saturating_sub(SECOND));
        while self.publish_ns <= now_ns {
            self.publish_ns += self.interval_ns;
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
    }

    /// Cuts and returns that are due.
    fn move_clients(&mut self, links: &mut Links, now_ns: u64) {
        while let Some(Reverse((due_ns, slot))) = self.timers.peek().copied()
            && due_ns <= now_ns
        {
            self.timers.pop();
            let Some(client) = self.clients.get_mut(slot).filter(|it| it.due_ns == due_ns) else {
                continue;
            };
            match client.state {
                State::Up if self.phase < Phase::Draining => {
                    links.close(slot);
                    client.state = State::Away;
                    client.due_ns = now_ns + self.chance.about(self.away_ns);
                    self.timers.push(Reverse((client.due_ns, slot)));
                }
                State::Away => {
                    client.state = State::Coming;
                    client.returning_ns = now_ns;
                    if let Some(link) = links.link(slot)
                        && !client.pid.is_empty()
                    {
                        link.set_auth(&json!({"pid": client.pid, "offset": client.offset}));
                    }
                    links.open(slot);
                }
                _ => {}
            }
        }
    }

    fn schedule_cut(&mut self, slot: usize, now_ns: u64) {
        if !(self.publishes && slot == 0) {
            let due_ns = now_ns + self.chance.about(self.up_ns);
            self.timers.push(Reverse((due_ns, slot)));
            if let Some(client) = self.clients.get_mut(slot) {
                client.due_ns = due_ns;
            }
        }
    }

    /// Everything but messages: the acknowledgement of the room, and positions.
    fn other_packet(&mut self, slot: usize, packet: &[u8], now_ns: u64) {
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        match wire::decode(packet) {
            Some(Packet::Ack { .. }) if client.state == State::Joining => {
                client.state = State::Up;
                if client.returning_ns == 0 {
                    self.control.ready.fetch_add(1, Release);
                }
                self.schedule_cut(slot, now_ns);
            }
            Some(Packet::Event { name, args, .. }) if name != "msg" => {
                if let Some(offset) = wire::last_string(&args, 0) {
                    client.offset = offset;
                }
            }
            _ => self.unexpected(),
        }
    }

    fn into_parts(mut self, sent: u64) -> (Tally, Returns) {
        for client in &self.clients {
            self.tally.faults.lost += client.sequence.outstanding(sent);
            if client.has_gap {
                self.returns.missing_not_recovered += sent.saturating_sub(client.sequence.next());
            }
        }
        (self.tally, self.returns)
    }
}

impl Driver for Jitter {
    fn joined(&mut self, link: &mut Link, reply: &[u8], now_ns: u64) {
        let slot = link.slot;
        let Some(client) = self.clients.get_mut(slot) else {
            return;
        };
        let pid = pid(reply);
        let is_return = client.returning_ns > 0;
        if is_return && !pid.is_empty() && pid == client.pid {
            self.returns.recovered += 1;
            client.state = State::Up;
            client.catching_up_to = Some(self.control.sent.load(Acquire));
            self.returns.caught_up(client, now_ns);
            self.schedule_cut(slot, now_ns);
            return;
        }
        if is_return {
            self.returns.not_recovered += 1;
            client.has_gap = true;
            client.offset.clear();
        }
        client.pid = pid;
        client.catching_up_to = None;
        client.state = State::Joining;
        link.send(self.wire.join(super::ROOM, 0));
    }

    fn packet(&mut self, link: &mut Link, packet: &[u8], now_ns: u64) {
        let arrival = self.expected.read(packet);
        let Some(arrival) = arrival.filter(|it| it.stamp.sender == 0) else {
            return self.other_packet(link.slot, packet, now_ns);
        };
        let Some(client) = self.clients.get_mut(link.slot) else {
            return;
        };
        if let Some(position) = arrival.position {
            client.offset.clear();
            client.offset.push_str(&position);
        }
        let number = arrival.stamp.sequence;
        if std::mem::take(&mut client.has_gap) {
            self.returns.missing_not_recovered += number.saturating_sub(client.sequence.next());
        }
        if client.sequence.take(number, &mut self.tally.faults) {
            self.counted += 1;
            self.tally
                .operation(self.phase, arrival.stamp.sent_ns, now_ns);
        }
        self.returns.caught_up(client, now_ns);
    }

    fn unexpected(&mut self) {
        self.tally.faults.unexpected += 1;
    }

    fn ended(&mut self, links: &mut Links, slot: usize, ending: Ending) -> Result<(), LoadError> {
        let now_ns = clock::now_ns();
        let Some(client) = self.clients.get_mut(slot) else {
            return Ok(());
        };
        let was_up = client.state == State::Up;
        client.state = State::Away;
        client.due_ns = now_ns + RETRY_NS;
        self.timers.push(Reverse((client.due_ns, slot)));
        if client.returning_ns > 0 && !was_up {
            self.returns.failed += 1;
            return Ok(());
        }
        self.tally.ended(self.phase, ending, links.target())
    }

    fn turn(&mut self, links: &mut Links, phase: Phase, now_ns: u64) -> Option<u64> {
        self.phase = phase;
        self.clients.resize_with(links.len(), Client::default);
        self.control.count(std::mem::take(&mut self.counted));
        if phase >= Phase::WarmUp {
            self.move_clients(links, now_ns);
        }
        let is_loaded = matches!(phase, Phase::WarmUp | Phase::Measuring);
        if is_loaded && self.publishes {
            self.publish(links, now_ns);
        }
        if phase == Phase::Draining && !self.drained {
            let sent = self.control.sent.load(Acquire);
            // What a client has passed over will not come any more.
            let has_all = |it: &Client| it.state == State::Up && it.sequence.next() >= sent;
            self.drained = self.clients.iter().all(has_all);
            self.control
                .drained
                .fetch_add(usize::from(self.drained), Release);
        }
        let timer_ns = self.timers.peek().map(|Reverse((due_ns, _))| *due_ns);
        let publish_ns = (is_loaded && self.publishes).then_some(self.publish_ns);
        timer_ns.into_iter().chain(publish_ns).min()
    }
}

impl Returns {
    /// Records the replay if it is over.
    fn caught_up(&mut self, client: &mut Client, now_ns: u64) {
        if client
            .catching_up_to
            .is_some_and(|sent| client.sequence.next() >= sent)
        {
            client.catching_up_to = None;
            self.replay_ns
                .saturating_record(now_ns.saturating_sub(client.returning_ns));
        }
    }

    fn merge(&mut self, other: &Self) {
        self.recovered += other.recovered;
        self.not_recovered += other.not_recovered;
        self.failed += other.failed;
        self.missing_not_recovered += other.missing_not_recovered;
        // Both have the same bounds.
        let _ = self.replay_ns.add(&other.replay_ns);
    }

    fn write(&self, lost: u64, keys: &mut serde_json::Map<String, Value>) {
        for (key, value) in [
            ("recovered", self.recovered),
            ("not_recovered", self.not_recovered),
            ("returns_failed", self.failed),
            ("missing_not_recovered", self.missing_not_recovered),
            (
                "missing_recovered",
                lost.saturating_sub(self.missing_not_recovered),
            ),
        ] {
            keys.insert(key.into(), json!(value));
        }
        keys.insert("replay_us".into(), report::latency_json(&self.replay_ns));
    }
}

impl Default for Returns {
    fn default() -> Self {
        Self {
            recovered: 0,
            not_recovered: 0,
            failed: 0,
            missing_not_recovered: 0,
            replay_ns: Tally::default().latency_ns,
        }
    }
}

/// The private id in the answer to a CONNECT; empty if the server has no recovery.
fn pid(reply: &[u8]) -> String {
    // A namespace other than `/` stands in front.
    let begin = reply.iter().position(|byte| *byte == b'{').unwrap_or(0);
    let reply: Value = serde_json::from_slice(&reply[begin..]).unwrap_or_default();
    reply["pid"].as_str().unwrap_or_default().to_owned()
}

const RETRY_NS: u64 = SECOND / 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_is_found() {
        assert_eq!(pid(br#"{"sid":"a","pid":"b"}"#), "b");
        assert_eq!(pid(br#"/ns,{"sid":"a","pid":"b"}"#), "b");
        assert_eq!(pid(br#"{"sid":"a"}"#), "");
        assert_eq!(pid(b""), "");
    }
}
