//! What each client got in each room, over all its connections: C10 (one by one), C11 (nothing twice), C15 (everything, soon),
//! the clients' part of C24 (they are told of a new epoch). It notes returns and gaps for the rules about recovery, and who has caught up.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::facts::Facts;
use crate::history::{
    event::{Answer, Event, Info, Invoke, Position, Recovered, What},
    expectations::ns,
    report::{Report, Rule},
};

/// A join with a position, and what came of it.
#[derive(Debug)]
pub(super) struct Return<'h> {
    pub(super) asked: usize,
    pub(super) asked_ns: u64,
    pub(super) answered: usize,
    pub(super) answered_ns: u64,
    pub(super) room: &'h str,
    pub(super) since: &'h Position,
    pub(super) recovered: Recovered,
    pub(super) position: &'h Position,
    /// The first delivery after the answer.
    pub(super) first: Option<(usize, &'h Position)>,
}

/// A notice that messages were missed.
#[derive(Debug)]
pub(super) struct GapNotice<'h> {
    pub(super) event: usize,
    pub(super) at_ns: u64,
    pub(super) room: &'h str,
    pub(super) epoch: &'h str,
    /// The first offset that was missed.
    pub(super) from: u64,
    pub(super) missed: u64,
}

/// A client that was in a room when the run ended.
#[derive(Debug)]
pub(super) struct Stayed<'h> {
    pub(super) client: u64,
    pub(super) room: &'h str,
    /// The answer to its join, and when that was.
    pub(super) joined: usize,
    pub(super) joined_ns: u64,
    /// When it had all that was there when the last fault ended.
    pub(super) reached_ns: Option<u64>,
}

/// What the walk over all clients found.
#[derive(Debug, Default)]
pub(super) struct Sessions<'h> {
    pub(super) returns: Vec<Return<'h>>,
    pub(super) gaps: Vec<GapNotice<'h>>,
    pub(super) stayed: Vec<Stayed<'h>>,
}

#[derive(Debug, Clone, Copy)]
struct Cursor<'h> {
    epoch: &'h str,
    offset: u64,
    /// The event that put it there.
    event: usize,
}

/// Offsets that were passed over: of which epoch, from, to, the delivery behind them.
type Hole<'h> = (&'h str, u64, u64, usize);

#[derive(Debug)]
struct Session<'h> {
    client: u64,
    room: &'h str,
    /// The connection on which it is in the room.
    conn: Option<u64>,
    joined: usize,
    joined_ns: u64,
    is_behind: bool,
    cursor: Option<Cursor<'h>>,
    /// Delivered, with the event.
    seen: BTreeMap<(&'h str, u64), usize>,
    holes: Vec<Hole<'h>>,
    /// The return whose first delivery has not come yet.
    returning: Option<usize>,
    reached_ns: Option<u64>,
    /// What it has to reach: what was there when the last fault ended.
    need: Option<(&'h str, u64)>,
}

impl<'h> Sessions<'h> {
    pub(super) fn walk(facts: &Facts<'h>, report: &mut Report) -> Self {
        let mut walk = Walk {
            facts,
            report,
            found: Self::default(),
            sessions: BTreeMap::new(),
            rooms_of: FxHashMap::default(),
        };
        for (index, event) in facts.events.iter().enumerate() {
            match &event.what {
                What::Ok(answer) => walk.answer(index, event, answer),
                What::Info(info) => walk.info(index, event, info),
                What::Invoke(Invoke::Leave { client, room, .. }) => {
                    // From now on it may get the rest or not. C15 ends here.
                    walk.judge_end(*client, room, event.t_ns, index);
                }
                What::Invoke(_) | What::Fail(_) => {}
            }
        }
        walk.finish()
    }
}

struct Walk<'f, 'h> {
    facts: &'f Facts<'h>,
    report: &'f mut Report,
    found: Sessions<'h>,
    sessions: BTreeMap<(u64, &'h str), Session<'h>>,
    /// The rooms that a client ever joined.
    rooms_of: FxHashMap<u64, Vec<&'h str>>,
}

impl<'h> Walk<'_, 'h> {
    fn answer(&mut self, index: usize, event: &Event, answer: &'h Answer) {
        let Some((asked, asked_event, invoke)) = self.facts.invoke(answer.call()) else {
            return;
        };
        match (answer, invoke) {
            (
                Answer::Join {
                    recovered,
                    position,
                    ..
                },
                Invoke::Join {
                    client,
                    conn,
                    room,
                    since,
                    ..
                },
            ) => {
                let returning = since.as_ref().map(|since| {
                    self.found.returns.push(Return {
                        asked,
                        asked_ns: asked_event.t_ns,
                        answered: index,
                        answered_ns: event.t_ns,
                        room,
                        since,
                        recovered: *recovered,
                        position,
                        first: None,
                    });
                    self.found.returns.len() - 1
                });
                let session = self.session(*client, room);
                session.conn = Some(*conn);
                (session.joined, session.joined_ns) = (index, event.t_ns);
                session.is_behind = false;
                session.returning = returning;
                session.stand(position, index, event.t_ns);
            }
            (
                Answer::Leave { .. },
                Invoke::Leave {
                    client, room, conn, ..
                },
            ) => {
                let session = self.session(*client, room);
                if session.conn == Some(*conn) {
                    session.conn = None;
                }
            }
            _ => {}
        }
    }

    fn info(&mut self, index: usize, event: &Event, info: &'h Info) {
        match info {
            Info::Deliver {
                client,
                conn,
                room,
                position,
                id,
            } => self.deliver(index, event, *client, *conn, room, position, id),
            Info::Gap {
                client,
                room,
                missed,
                ..
            } => self.gap(index, event, *client, room, *missed),
            Info::Reset {
                client,
                room,
                position,
                ..
            } => {
                let session = self.session(*client, room);
                session.returning = None;
                session.stand(position, index, event.t_ns);
            }
            Info::Behind { client, room, .. } => self.session(*client, room).is_behind = true,
            Info::CaughtUp { client, room, .. } => self.session(*client, room).is_behind = false,
            Info::Denied {
                client, conn, room, ..
            } => self.end(*client, *conn, room, event.t_ns, index),
            Info::Expired { client, conn } | Info::Disconnect { client, conn } => {
                for room in self.rooms_of.get(client).cloned().unwrap_or_default() {
                    self.end(*client, *conn, room, event.t_ns, index);
                }
            }
            _ => {}
        }
    }

    fn session(&mut self, client: u64, room: &'h str) -> &mut Session<'h> {
        self.sessions.entry((client, room)).or_insert_with(|| {
            self.rooms_of.entry(client).or_default().push(room);
            let need = self.facts.calm_ns.and_then(|calm_ns| {
                let epoch = self.facts.epoch_at(room, calm_ns)?;
                let stream = self.facts.streams.get(&(room, epoch))?;
                Some((epoch, stream.known_top(calm_ns)))
            });
            Session::new(client, room, need)
        })
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    fn deliver(
        &mut self,
        index: usize,
        event: &Event,
        client: u64,
        conn: u64,
        room: &'h str,
        position: &'h Position,
        id: &str,
    ) {
        self.report.checked(Rule::C10);
        self.report.checked(Rule::C11);
        let session = self.session(client, room);
        let cursor = session.cursor.filter(|_| session.conn == Some(conn));
        let Some(cursor) = cursor else {
            self.report
                .violated(Rule::C10, "not-joined", vec![index], || {
                    format!("client {client} got {id} of room {room}, in which it was not")
                });
            return;
        };
        let returning = session.returning.take();
        let before = session
            .seen
            .insert((&position.epoch, position.offset), index);
        if cursor.epoch == position.epoch && position.offset > cursor.offset {
            session.stand_after(position, index, event.t_ns);
            if position.offset > cursor.offset + 1 {
                let hole = (cursor.epoch, cursor.offset + 1, position.offset - 1, index);
                session.holes.push(hole);
            }
        } else if cursor.epoch == position.epoch {
            session.fill(position);
        }
        if let Some(found) = returning.and_then(|found| self.found.returns.get_mut(found)) {
            found.first = Some((index, position));
        }
        if let Some(before) = before {
            self.report
                .violated(Rule::C11, "duplicate-delivery", vec![before, index], || {
                    format!(
                        "client {client} got offset {} of room {room} twice",
                        position.offset
                    )
                });
        } else if cursor.epoch != position.epoch || position.offset <= cursor.offset {
            self.report.violated(
                Rule::C10,
                "non-monotonic",
                vec![cursor.event, index],
                || {
                    format!(
                        "client {client} in room {room} was at {} and got {}",
                        cursor.offset, position.offset
                    )
                },
            );
        } else if position.offset != cursor.offset + 1 {
            self.report
                .violated(Rule::C10, "poll-skip", vec![cursor.event, index], || {
                    format!(
                        "client {client} in room {room} was at {} and got {}",
                        cursor.offset, position.offset
                    )
                });
        }
    }

    fn gap(&mut self, index: usize, event: &Event, client: u64, room: &'h str, missed: u64) {
        let session = self.session(client, room);
        let Some(cursor) = session.cursor else { return };
        // What comes first now follows the gap, not the return.
        session.returning = None;
        let offset = cursor.offset.saturating_add(missed);
        session.cursor = Some(Cursor {
            offset,
            event: index,
            ..cursor
        });
        session.note_reached(event.t_ns);
        self.found.gaps.push(GapNotice {
            event: index,
            at_ns: event.t_ns,
            room,
            epoch: cursor.epoch,
            from: cursor.offset + 1,
            missed,
        });
    }

    /// The client is no longer in the room.
    fn end(&mut self, client: u64, conn: u64, room: &'h str, at_ns: u64, event: usize) {
        if self.session(client, room).conn != Some(conn) {
            return;
        }
        self.judge_end(client, room, at_ns, event);
        self.session(client, room).conn = None;
    }

    /// C15: what was there a while ago has arrived.
    fn judge_end(&mut self, client: u64, room: &'h str, at_ns: u64, event: usize) {
        let facts = self.facts;
        let session = self.session(client, room);
        let settled_ns = at_ns.saturating_sub(ns(facts.expectations.delivery_lag_ms));
        let is_judged =
            session.conn.is_some() && !session.is_behind && session.joined_ns <= settled_ns;
        let Some(cursor) = session.cursor.filter(|_| is_judged) else {
            return;
        };
        let joined = session.joined;
        self.report.checked(Rule::C15);
        let Some(epoch) = facts.epoch_at(room, settled_ns) else {
            return;
        };
        let is_older = facts
            .streams
            .get(&(room, cursor.epoch))
            .zip(facts.streams.get(&(room, epoch)))
            .is_some_and(|(own, present)| own.first_ns < present.first_ns);
        if is_older {
            let events = vec![joined, cursor.event, event];
            self.report.violated(Rule::C24, "not-reset", events, || {
                format!("client {client} was not told that room {room} has another epoch")
            });
            return;
        }
        let top = facts
            .streams
            .get(&(room, cursor.epoch))
            .map_or(0, |stream| stream.known_top(settled_ns));
        if cursor.offset < top {
            let last = facts
                .streams
                .get(&(room, cursor.epoch))
                .and_then(|stream| stream.places.get(&top));
            let events = std::iter::once(cursor.event)
                .chain(last.map(|place| place.event))
                .chain([event])
                .collect();
            self.report.violated(Rule::C15, "lost-live", events, || {
                format!(
                    "client {client} in room {room} stopped at {}, where {top} was known",
                    cursor.offset
                )
            });
        }
    }

    fn finish(mut self) -> Sessions<'h> {
        let end_ns = self.facts.end_ns;
        let last = self.facts.events.len().saturating_sub(1);
        let keys: Vec<_> = self.sessions.keys().copied().collect();
        for (client, room) in keys {
            self.session(client, room).is_behind = false;
            self.judge_end(client, room, end_ns, last);
        }
        for session in self.sessions.into_values() {
            for (_, from, to, event) in &session.holes {
                self.report.checked(Rule::C15);
                self.report
                    .violated(Rule::C15, "lost-live", vec![*event], || {
                        format!(
                            "client {} in room {} never got {from} to {to}",
                            session.client, session.room
                        )
                    });
            }
            if session.conn.is_some() {
                self.found.stayed.push(Stayed {
                    client: session.client,
                    room: session.room,
                    joined: session.joined,
                    joined_ns: session.joined_ns,
                    reached_ns: session.reached_ns,
                });
            }
        }
        self.found
    }
}

impl<'h> Session<'h> {
    fn new(client: u64, room: &'h str, need: Option<(&'h str, u64)>) -> Self {
        Self {
            client,
            room,
            conn: None,
            joined: 0,
            joined_ns: 0,
            is_behind: false,
            cursor: None,
            seen: BTreeMap::new(),
            holes: Vec::new(),
            returning: None,
            reached_ns: None,
            need,
        }
    }

    /// The server said where the client stands. What is behind that may come again.
    fn stand(&mut self, position: &'h Position, event: usize, at_ns: u64) {
        let epoch = position.epoch.as_str();
        let again = (epoch, position.offset.saturating_add(1))..=(epoch, u64::MAX);
        let again: Vec<_> = self.seen.range(again).map(|(place, _)| *place).collect();
        for place in again {
            self.seen.remove(&place);
        }
        self.stand_after(position, event, at_ns);
    }

    fn stand_after(&mut self, position: &'h Position, event: usize, at_ns: u64) {
        self.cursor = Some(Cursor {
            epoch: &position.epoch,
            offset: position.offset,
            event,
        });
        self.note_reached(at_ns);
    }

    fn note_reached(&mut self, at_ns: u64) {
        let (Some(cursor), Some((epoch, offset))) = (self.cursor, self.need) else {
            self.reached_ns.get_or_insert(at_ns);
            return;
        };
        // Another epoch after the last fault is C24's business.
        if cursor.epoch != epoch || cursor.offset >= offset {
            self.reached_ns.get_or_insert(at_ns);
        }
    }

    /// A message came late. What it leaves of the hole is lost.
    fn fill(&mut self, position: &Position) {
        let offset = position.offset;
        let found = self.holes.iter().rposition(|(epoch, from, to, _)| {
            *epoch == position.epoch && (*from..=*to).contains(&offset)
        });
        let Some(found) = found else { return };
        let (epoch, from, to, event) = self.holes.swap_remove(found);
        if from < offset {
            self.holes.push((epoch, from, offset - 1, event));
        }
        if offset < to {
            self.holes.push((epoch, offset + 1, to, event));
        }
    }
}
