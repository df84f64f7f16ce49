//! Histories from a seed: clients and publishers, cuts, crashes, a wiped store, windows, revocations and expired tokens, around
//! a server that obeys the rules, or breaks one on purpose. There is no I/O and no clock; a seed gives the same history every
//! time. The server here is a model of what is promised, not of how it is built.

mod actions;
mod bug;
mod client;
mod crash;
mod delivery;
mod finale;
mod room;
mod server;

use std::collections::BTreeMap;

pub use self::bug::Bug;
use self::{
    client::Client,
    room::Room,
    server::{Request, Server},
};
use super::{
    History,
    event::{Event, Info, Invoke, What},
    expectations::{Expectations, Rights, Window},
};
use crate::sim::random::Random;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// How long acts and faults go on.
const STORM_NS: u64 = 16 * SECOND;
/// When the end is read: late enough for everyone to have caught up.
const END_NS: u64 = STORM_NS + 13 * SECOND;

/// A history, and what it has to fulfil.
#[derive(Debug, Clone)]
pub struct Run {
    /// What was seen.
    pub history: History,
    /// What is expected of it.
    pub expectations: Expectations,
}

/// Makes the history of a seed. With a bug it may be bad; a bug that needs an occasion shows in some seeds only.
#[must_use]
pub fn run(seed: u64, bug: Option<Bug>) -> Run {
    let mut world = World::new(seed, bug);
    world.begin();
    while let Some(((at_ns, _), task)) = world.tasks.pop_first() {
        world.now_ns = at_ns;
        world.carry_out(task);
    }
    let room_windows = world
        .server
        .rooms
        .iter()
        .map(|room| (room.name.clone(), room.window))
        .collect();
    Run {
        history: History::new(world.events),
        expectations: Expectations {
            deliveries_min: 100,
            rights: Rights::Granted,
            room_windows,
            ..Expectations::default()
        },
    }
}

/// What happens later.
#[derive(Debug)]
enum Task {
    /// Somebody does something.
    Act,
    /// A client is cut off.
    Cut { client: usize },
    /// A client gets a connection, with a new token when its old one has expired.
    Reconnect { client: usize },
    /// A request reaches the server.
    Arrive(Request),
    /// What a room took up to this offset is on disk.
    Synced {
        room: usize,
        epoch: u64,
        offset: u64,
    },
    /// A slow client is fast again.
    CatchUp { room: usize, conn: u64 },
    /// A client sees something on its connection.
    See {
        client: usize,
        conn: u64,
        what: What,
    },
    /// The backend or the harness gets an answer.
    Answer { call: u64, what: What },
    /// A publisher tries again.
    Retry {
        client: Option<usize>,
        message: Message,
    },
    /// The server is killed; with a wipe, its data is deleted too.
    Crash { wipe: bool },
    /// The server is there again.
    Restart { fault: u64 },
    /// Something is published for everyone to catch up with.
    Calm,
    /// Everything is read.
    Finale,
}

/// A message before it has a place.
#[derive(Debug, Clone)]
struct Message {
    room: usize,
    id: String,
    key: Option<String>,
    bytes: u64,
}

#[derive(Debug)]
struct World {
    random: Random,
    bug: Option<Bug>,
    now_ns: u64,
    tasks: BTreeMap<(u64, u64), Task>,
    events: Vec<Event>,
    server: Server,
    clients: Vec<Client>,
    /// Calls of the backend and the harness that are not completed, with what may be tried again.
    waiting: BTreeMap<u64, Option<Message>>,
    /// Some messages with keys, to be sent once more.
    sent: Vec<Message>,
    numbers: u64,
}

impl World {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Random::new(seed);
        let windows = [
            Window {
                messages: Some(random.between(10, 25)),
                ..Window::default()
            },
            Window::default(),
            Window {
                bytes: Some(random.between(1_500, 4_000)),
                ..Window::default()
            },
            Window {
                age_ms: Some(random.between(1_000, 4_000)),
                ..Window::default()
            },
        ];
        let rooms = windows
            .into_iter()
            .enumerate()
            .map(|(index, window)| Room::new(index, window))
            .collect();
        let clients = (0..random.between(4, 8))
            .map(|number| Client::new(usize::try_from(number).unwrap_or(0)))
            .collect();
        Self {
            random,
            bug,
            now_ns: 0,
            tasks: BTreeMap::new(),
            events: Vec::new(),
            server: Server::new(rooms),
            clients,
            waiting: BTreeMap::new(),
            sent: Vec::new(),
            numbers: 0,
        }
    }

    fn begin(&mut self) {
        self.info(Info::Server {
            node: "a".into(),
            phase: super::ServerPhase::Start,
        });
        self.count_resources(super::ResourcePhase::Base);
        for client in 0..self.clients.len() {
            let at_ns = self.random.between(10 * MS, 200 * MS);
            self.later(at_ns, Task::Reconnect { client });
        }
        let mut at_ns = 300 * MS;
        while at_ns < STORM_NS {
            self.later(at_ns, Task::Act);
            at_ns += self.random.between(5 * MS, 80 * MS);
        }
        // In every run, so that none is vacuous.
        self.later(3 * SECOND, Task::Cut { client: 0 });
        let crash_ns = self.random.between(5 * SECOND, 9 * SECOND);
        self.later(crash_ns, Task::Crash { wipe: false });
        if self.random.chance(50) {
            let at_ns = self.random.between(10 * SECOND, 15 * SECOND);
            let wipe = self.random.chance(50);
            self.later(at_ns, Task::Crash { wipe });
        }
        for seconds in [2, 6, 10] {
            self.later(STORM_NS + seconds * SECOND, Task::Calm);
        }
        self.later(END_NS, Task::Finale);
    }

    fn carry_out(&mut self, task: Task) {
        match task {
            Task::Act => self.act(),
            Task::Cut { client } => self.cut(client),
            Task::Reconnect { client } => self.reconnect(client),
            Task::Arrive(request) => self.arrive(request),
            Task::Synced {
                room,
                epoch,
                offset,
            } => self.synced(room, epoch, offset),
            Task::CatchUp { room, conn } => self.catch_up(room, conn),
            Task::See { client, conn, what } => self.see(client, conn, what),
            Task::Answer { call, what } => {
                if self.waiting.remove(&call).is_some() {
                    self.record("backend", what);
                }
            }
            Task::Retry { client, message } => self.publish(client, message),
            Task::Crash { wipe } => self.crash(wipe),
            Task::Restart { fault } => self.restart(fault),
            Task::Calm => self.calm(),
            Task::Finale => self.finale(),
        }
    }

    fn later(&mut self, at_ns: u64, task: Task) {
        let number = self.number();
        self.tasks.insert((at_ns, number), task);
    }

    /// A number that nothing else has: for calls, connections, faults, messages.
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn record(&mut self, proc: &str, what: What) {
        self.events.push(Event {
            t_ns: self.now_ns,
            proc: proc.to_owned(),
            what,
        });
    }

    fn info(&mut self, info: Info) {
        self.record("harness", What::Info(info));
    }

    fn invoke(&mut self, proc: &str, invoke: Invoke) {
        self.record(proc, What::Invoke(invoke));
    }

    /// Whether the bug is planted and shows itself now.
    fn shows(&mut self, bug: Bug, percent: u64) -> bool {
        self.bug == Some(bug) && self.random.chance(percent)
    }
}
