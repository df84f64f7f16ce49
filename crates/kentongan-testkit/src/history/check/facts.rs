//! One pass over the history: calls with their completions, publications, who saw which message where, connections, faults.
//! It judges nothing.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::stream::{Place, Stream};
use crate::history::{
    History,
    event::{Answer, Event, FaultPhase, Info, Invoke, Position, ServerPhase, What},
    expectations::Expectations,
};

/// How a call ended.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) invoke: Option<usize>,
    /// All completions, in order; there should be one.
    pub(super) completions: Vec<usize>,
}

/// The end of an attempt to publish.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome<'h> {
    Ok {
        event: usize,
        position: &'h Position,
        duplicate: bool,
        durable: bool,
    },
    Fail,
    Unknown,
}

/// One attempt to publish.
#[derive(Debug)]
pub(super) struct Publication<'h> {
    pub(super) event: usize,
    pub(super) begun_ns: u64,
    /// When it was completed; `u64::MAX` when that is not known.
    pub(super) ended_ns: u64,
    pub(super) proc: &'h str,
    pub(super) room: &'h str,
    pub(super) id: &'h str,
    pub(super) key: Option<&'h str>,
    pub(super) conn: Option<u64>,
    pub(super) user: Option<&'h str>,
    pub(super) tenant: Option<&'h str>,
    pub(super) bytes: u64,
    pub(super) outcome: Outcome<'h>,
}

/// Where a message was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Witness {
    Acknowledged,
    Delivered,
    FinalRead,
    History,
}

/// One look at one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight<'h> {
    pub(super) event: usize,
    pub(super) at_ns: u64,
    pub(super) room: &'h str,
    pub(super) epoch: &'h str,
    pub(super) offset: u64,
    pub(super) id: &'h str,
    pub(super) by: Witness,
}

/// A connection of a client.
#[derive(Debug)]
pub(super) struct Conn<'h> {
    pub(super) user: Option<&'h str>,
    pub(super) tenant: Option<&'h str>,
    /// Whether the client had another one before.
    pub(super) is_return: bool,
}

/// A fault of the harness.
#[derive(Debug, Default)]
pub(super) struct FaultSeen<'h> {
    pub(super) kind: &'h str,
    pub(super) started: Option<usize>,
    pub(super) traced: bool,
}

pub(super) struct Facts<'h> {
    pub(super) events: &'h [Event],
    pub(super) expectations: &'h Expectations,
    pub(super) calls: BTreeMap<u64, Call>,
    pub(super) publications: Vec<Publication<'h>>,
    /// The attempts to publish each message, as indexes into `publications`.
    pub(super) attempts: FxHashMap<&'h str, Vec<usize>>,
    pub(super) sights: Vec<Sight<'h>>,
    /// By room and epoch.
    pub(super) streams: FxHashMap<(&'h str, &'h str), Stream<'h>>,
    /// The epochs of each room, in the order in which they were seen first.
    pub(super) epochs: BTreeMap<&'h str, Vec<&'h str>>,
    pub(super) conns: FxHashMap<u64, Conn<'h>>,
    pub(super) faults: BTreeMap<u64, FaultSeen<'h>>,
    /// When something happened that may lose what was not durable.
    pub(super) crashes: Vec<u64>,
    /// The end of the last fault; `None` without a fault.
    pub(super) calm_ns: Option<u64>,
    pub(super) end_ns: u64,
    pub(super) deliveries: u64,
}

impl<'h> Facts<'h> {
    pub(super) fn gather(history: &'h History, expectations: &'h Expectations) -> Self {
        let mut facts = Self {
            events: history.events(),
            expectations,
            calls: BTreeMap::new(),
            publications: Vec::new(),
            attempts: FxHashMap::default(),
            sights: Vec::new(),
            streams: FxHashMap::default(),
            epochs: BTreeMap::new(),
            conns: FxHashMap::default(),
            faults: BTreeMap::new(),
            crashes: Vec::new(),
            calm_ns: None,
            end_ns: history.events().last().map_or(0, |event| event.t_ns),
            deliveries: 0,
        };
        facts.pair_calls();
        let mut known_clients = FxHashMap::default();
        for (index, event) in facts.events.iter().enumerate() {
            match &event.what {
                What::Invoke(Invoke::Publish { .. }) => facts.publication(index, event),
                What::Ok(answer) => facts.answer(index, event, answer),
                What::Info(info) => facts.info(index, event, info, &mut known_clients),
                What::Invoke(_) | What::Fail(_) => {}
            }
        }
        facts.fill_streams();
        facts
    }

    /// The invocation that an answer belongs to.
    pub(super) fn invoke(&self, call: u64) -> Option<(usize, &'h Event, &'h Invoke)> {
        let index = self.calls.get(&call)?.invoke?;
        let event = self.events.get(index)?;
        match &event.what {
            What::Invoke(invoke) => Some((index, event, invoke)),
            _ => None,
        }
    }

    /// The epoch that a room surely had at a moment.
    pub(super) fn epoch_at(&self, room: &str, at_ns: u64) -> Option<&'h str> {
        let epochs = self.epochs.get(room)?;
        epochs
            .iter()
            .rev()
            .find(|epoch| {
                self.streams
                    .get(&(room, **epoch))
                    .is_some_and(|stream| stream.first_ns <= at_ns)
            })
            .copied()
    }

    /// The publications of the message that stands at a place.
    pub(super) fn attempts_of(&self, id: &str) -> impl Iterator<Item = &Publication<'h>> {
        self.attempts
            .get(id)
            .into_iter()
            .flatten()
            .filter_map(|&index| self.publications.get(index))
    }

    fn pair_calls(&mut self) {
        for (index, event) in self.events.iter().enumerate() {
            let Some(number) = event.call() else { continue };
            let call = self.calls.entry(number).or_default();
            match &event.what {
                What::Invoke(_) => call.invoke = call.invoke.or(Some(index)),
                _ => call.completions.push(index),
            }
        }
    }

    fn publication(&mut self, index: usize, event: &'h Event) {
        let What::Invoke(Invoke::Publish {
            call,
            room,
            id,
            key,
            conn,
            user,
            tenant,
            bytes,
        }) = &event.what
        else {
            return;
        };
        let completion = self
            .calls
            .get(call)
            .and_then(|call| call.completions.first())
            .and_then(|&index| Some((index, self.events.get(index)?)));
        let (outcome, ended_ns) = match completion.map(|(index, event)| (index, event, &event.what))
        {
            Some((
                event,
                Event { t_ns, .. },
                What::Ok(Answer::Publish {
                    position,
                    duplicate,
                    durable,
                    ..
                }),
            )) => (
                Outcome::Ok {
                    event,
                    position,
                    duplicate: *duplicate,
                    durable: *durable,
                },
                *t_ns,
            ),
            Some((_, Event { t_ns, .. }, What::Fail(_))) => (Outcome::Fail, *t_ns),
            _ => (Outcome::Unknown, u64::MAX),
        };
        self.attempts
            .entry(id)
            .or_default()
            .push(self.publications.len());
        self.publications.push(Publication {
            event: index,
            begun_ns: event.t_ns,
            ended_ns,
            proc: &event.proc,
            room,
            id,
            key: key.as_deref(),
            conn: *conn,
            user: user.as_deref(),
            tenant: tenant.as_deref(),
            bytes: *bytes,
            outcome,
        });
    }

    fn answer(&mut self, index: usize, event: &'h Event, answer: &'h Answer) {
        let Some((_, asked, invoke)) = self.invoke(answer.call()) else {
            return;
        };
        let mut sight = Sight {
            event: index,
            at_ns: event.t_ns,
            room: "",
            epoch: "",
            offset: 0,
            id: "",
            by: Witness::Acknowledged,
        };
        match (answer, invoke) {
            (Answer::Publish { position, .. }, Invoke::Publish { room, id, .. }) => {
                self.epoch_seen(room, &position.epoch, index, event.t_ns, asked.t_ns);
                (sight.room, sight.epoch, sight.offset, sight.id) =
                    (room, &position.epoch, position.offset, id);
                self.sights.push(sight);
            }
            (Answer::Join { position, .. }, Invoke::Join { room, .. }) => {
                self.epoch_seen(room, &position.epoch, index, event.t_ns, asked.t_ns);
            }
            (Answer::History { epoch, items, .. }, Invoke::History { room, .. })
            | (Answer::FinalRead { epoch, items, .. }, Invoke::FinalRead { room, .. }) => {
                self.epoch_seen(room, epoch, index, event.t_ns, asked.t_ns);
                sight.by = match answer {
                    Answer::History { .. } => Witness::History,
                    _ => Witness::FinalRead,
                };
                self.sights.extend(items.iter().map(|item| Sight {
                    room,
                    epoch,
                    offset: item.offset,
                    id: &item.id,
                    ..sight
                }));
            }
            _ => {}
        }
    }

    fn info(
        &mut self,
        index: usize,
        event: &'h Event,
        info: &'h Info,
        known_clients: &mut FxHashMap<u64, ()>,
    ) {
        match info {
            Info::Connect {
                client,
                conn,
                user,
                tenant,
            } => {
                let is_return = known_clients.insert(*client, ()).is_some();
                let conn_seen = Conn {
                    user: user.as_deref(),
                    tenant: tenant.as_deref(),
                    is_return,
                };
                self.conns.insert(*conn, conn_seen);
            }
            Info::Deliver {
                room, position, id, ..
            } => {
                self.deliveries += 1;
                // A delivery may have been on its way for long, so it says nothing about which epoch is the present one.
                self.epoch_seen(room, &position.epoch, index, event.t_ns, 0);
                self.sights.push(Sight {
                    event: index,
                    at_ns: event.t_ns,
                    room,
                    epoch: &position.epoch,
                    offset: position.offset,
                    id,
                    by: Witness::Delivered,
                });
            }
            Info::Reset { room, position, .. } => {
                self.epoch_seen(room, &position.epoch, index, event.t_ns, 0);
            }
            Info::Fault { fault, kind, phase } => {
                let seen = self.faults.entry(*fault).or_default();
                seen.kind = kind;
                match phase {
                    FaultPhase::Start => {
                        seen.started = Some(index);
                        self.crashes.push(event.t_ns);
                    }
                    FaultPhase::Trace => seen.traced = true,
                    FaultPhase::Stop => {}
                }
                if *phase != FaultPhase::Trace {
                    self.calm_ns = Some(event.t_ns);
                }
            }
            Info::Server { phase, .. } => {
                if *phase == ServerPhase::Crash {
                    self.crashes.push(event.t_ns);
                }
                // Before the first fault a start is the beginning of the run.
                if self.calm_ns.is_some() {
                    self.calm_ns = Some(event.t_ns);
                }
            }
            _ => {}
        }
    }

    fn epoch_seen(
        &mut self,
        room: &'h str,
        epoch: &'h str,
        event: usize,
        at_ns: u64,
        begun_ns: u64,
    ) {
        let stream = self.streams.entry((room, epoch)).or_insert_with(|| {
            self.epochs.entry(room).or_default().push(epoch);
            Stream::new(at_ns, event)
        });
        if begun_ns >= stream.last_begun_ns {
            stream.last_begun_ns = begun_ns;
            stream.last_event = event;
        }
    }

    fn fill_streams(&mut self) {
        for sight in self.sights.iter().filter(|s| s.by != Witness::History) {
            let mut attempts = self
                .attempts
                .get(sight.id)
                .into_iter()
                .flatten()
                .filter_map(|&index| self.publications.get(index))
                .peekable();
            let first = attempts.peek();
            let place = Place {
                id: sight.id,
                event: sight.event,
                begun_ns: first.map_or(sight.at_ns, |first| first.begun_ns.min(sight.at_ns)),
                seen_ns: sight.at_ns,
                bytes: first.map_or(0, |first| first.bytes),
            };
            if let Some(stream) = self.streams.get_mut(&(sight.room, sight.epoch)) {
                stream.places.entry(sight.offset).or_insert(place);
            }
        }
        for stream in self.streams.values_mut() {
            stream.finish();
        }
    }
}
