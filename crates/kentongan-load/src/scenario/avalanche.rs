//! Avalanche: the server is killed with everyone connected, and started again; who comes back, and when.
//!
//! Clients reconnect with the stock client's delays: 1 s, doubled each time, by up to half more or less, at most 5 s.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Release},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde_json::json;

use crate::{
    chance::Chance,
    clock::{self, SECOND},
    control::{Control, Phase},
    crew::{self, Crew},
    error::LoadError,
    link::{Ending, Link},
    options::Options,
    report::{self, Report},
    tally::Tally,
    target::Target,
    worker::{Driver, Links},
};

/// Runs it. An operation is a client that came back; `seconds` is the time from the kill until the last one, and
/// `--duration` how long is waited for it. CPU time is that of the second server.
pub(crate) fn run(options: &Options, target: &Target) -> Result<Report, LoadError> {
    let command = options.command.as_deref().ok_or_else(|| {
        LoadError::Usage("avalanche needs --command: it starts the server itself".into())
    })?;
    let connections = options.connections();
    let first = Server::start(command, target)?;
    let mut crew = Crew::start(options, target, connections, |worker, control| {
        Avalanche::new(options, control, worker as u64)
    })?
    .wait_ready(connections)?;
    crew.control.enter(Phase::WarmUp);
    crew.wait(options.warm_up, "everyone is connected", || false);
    crew.control.ready.store(0, Release);
    crew.control.begun_ns.store(clock::now_ns(), Release);
    crew.control.enter(Phase::Measuring);
    drop(first);
    crew.wait(DOWN, "the server is down", || false);
    let second = Server::start(command, target)?;
    let mut watched = options.clone();
    watched.pid = Some(second.0.id());
    let begin = crew::moment(watched.pid)?;
    let control = Arc::clone(&crew.control);
    crew.wait(options.duration(), "clients come back", || {
        control.ready.load(Acquire) >= connections
    });
    let mut window = crew::moment(watched.pid)?.since(&begin);
    let mut sum = Returned::default();
    let mut tallies = Vec::new();
    for driver in crew.stop()? {
        let _ = sum.back_ns.add(&driver.returned.back_ns);
        sum.attempts += driver.returned.attempts;
        tallies.push(driver.into_tally());
    }
    window.seconds = sum.back_ns.max() as f64 / 1e9;
    let mut report = super::report(&watched, &begin, window, tallies);
    report.operations = sum.back_ns.len();
    let down = DOWN.as_secs();
    for (key, value) in [
        ("back", json!(report.operations)),
        ("attempts", json!(sum.attempts)),
        ("down_seconds", json!(down)),
        ("back_us", report::latency_json(&sum.back_ns)),
    ] {
        report.extra.insert(key.into(), value);
    }
    Ok(report)
}

/// A server of ours; killed when dropped.
struct Server(Child);

impl Server {
    /// Starts it and waits until it accepts.
    fn start(command: &str, target: &Target) -> Result<Self, LoadError> {
        let child = Command::new("sh")
            // Without `exec` the shell would be killed, and not the server.
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(LoadError::io("cannot start the server"))?;
        let mut server = Self(child);
        let begun = Instant::now();
        loop {
            let Err(source) = TcpStream::connect_timeout(&target.addr, START_MAX) else {
                return Ok(server);
            };
            let has_ended = server.0.try_wait().ok().flatten().is_some();
            if has_ended || begun.elapsed() > START_MAX {
                return Err(LoadError::Connect {
                    addr: target.addr,
                    source,
                });
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which comes to the same.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Avalanche {
    control: Arc<Control>,
    chance: Chance,
    clients: Vec<Client>,
    timers: BinaryHeap<Reverse<(u64, usize)>>,
    returned: Returned,
    phase: Phase,
    tally: Tally,
}

#[derive(Default)]
struct Client {
    /// Failed attempts since it was last connected.
    attempts: u32,
    is_up: bool,
}

struct Returned {
    /// From the kill to the namespace.
    back_ns: Histogram<u64>,
    attempts: u64,
}

impl Default for Returned {
    fn default() -> Self {
        Self {
            back_ns: Tally::default().latency_ns,
            attempts: 0,
        }
    }
}

impl Avalanche {
    fn new(options: &Options, control: Arc<Control>, worker: u64) -> Self {
        Self {
            control,
            chance: Chance::new(options.seed.wrapping_add(worker << 32)),
            clients: Vec::new(),
            timers: BinaryHeap::new(),
            returned: Returned::default(),
            phase: Phase::Connecting,
            tally: Tally::default(),
        }
    }

    /// Who is not back has lost its connection for good.
    fn into_tally(mut self) -> Tally {
        let away = self.clients.iter().filter(|client| !client.is_up).count();
        self.tally.faults.disconnected += away as u64;
        self.tally
    }
}

impl Driver for Avalanche {
    fn joined(&mut self, link: &mut Link, _reply: &[u8], now_ns: u64) {
        let Some(client) = self.clients.get_mut(link.slot) else {
            return;
        };
        client.is_up = true;
        client.attempts = 0;
        if self.phase == Phase::Measuring {
            let killed_ns = self.control.begun_ns.load(Acquire);
            self.returned
                .back_ns
                .saturating_record(now_ns.saturating_sub(killed_ns));
            self.control.count(1);
        }
        self.control.ready.fetch_add(1, Release);
    }

    fn packet(&mut self, _link: &mut Link, _packet: &[u8], _now_ns: u64) {
        // Servers may greet.
    }

    fn unexpected(&mut self) {
        self.tally.faults.unexpected += 1;
    }

    fn ended(&mut self, links: &mut Links, slot: usize, ending: Ending) -> Result<(), LoadError> {
        // The worker may learn of the kill before it learns of the phase.
        if self.control.phase() < Phase::Measuring {
            return self.tally.ended(self.phase, ending, links.target());
        }
        let Some(client) = self.clients.get_mut(slot) else {
            return Ok(());
        };
        client.is_up = false;
        let delay_ns = backoff_ns(client.attempts, &mut self.chance);
        client.attempts += 1;
        self.timers
            .push(Reverse((clock::now_ns() + delay_ns, slot)));
        Ok(())
    }

    fn turn(&mut self, links: &mut Links, phase: Phase, now_ns: u64) -> Option<u64> {
        self.phase = phase;
        self.clients.resize_with(links.len(), Client::default);
        while let Some(Reverse((due_ns, slot))) = self.timers.peek().copied() {
            if due_ns > now_ns {
                return Some(due_ns);
            }
            self.timers.pop();
            self.returned.attempts += 1;
            links.open(slot);
        }
        None
    }
}

/// The stock client's `reconnectionDelay`, `reconnectionDelayMax` and `randomizationFactor` at their defaults.
fn backoff_ns(attempts: u32, chance: &mut Chance) -> u64 {
    let base = SECOND << attempts.min(16);
    chance.about(base).min(5 * SECOND)
}

/// How long the server stays away.
const DOWN: Duration = Duration::from_secs(2);
const START_MAX: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_are_bounded() {
        let mut chance = Chance::new(1);
        for (attempts, low, high) in [
            (0, 500, 1500),
            (1, 1000, 3000),
            (2, 2000, 5000),
            (3, 4000, 5000),
            (9, 5000, 5000),
        ] {
            for _ in 0..100 {
                let ms = backoff_ns(attempts, &mut chance) / 1_000_000;
                assert!((low..=high).contains(&ms), "{ms} ms after {attempts}");
            }
        }
    }
}
