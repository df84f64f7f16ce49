//! The server of the model: what it does with each request, how it delivers, and what a crash leaves.

use std::collections::BTreeSet;

use super::{
    Bug, MS, Message, Task, World,
    room::{Member, Record, Room, Waiting},
};
use crate::history::event::{Answer, Failure, Info, Item, Position, Recovered, What};

#[derive(Debug)]
pub(super) struct Server {
    pub(super) is_up: bool,
    pub(super) rooms: Vec<Room>,
    /// Which client may join which room.
    pub(super) joins: BTreeSet<(usize, usize)>,
    /// Which client may publish.
    pub(super) publishers: BTreeSet<usize>,
    /// Planted: the acknowledgement of the event before.
    last_emit: String,
    /// After the last fault until then, planted, it takes nothing.
    pub(super) stuck_until_ns: u64,
}

/// What reaches the server.
#[derive(Debug)]
pub(super) enum Request {
    Publish {
        call: u64,
        from: Option<(usize, u64)>,
        message: Message,
    },
    Join {
        call: u64,
        client: usize,
        conn: u64,
        room: usize,
        since: Option<Position>,
    },
    Leave {
        call: u64,
        client: usize,
        conn: u64,
        room: usize,
    },
    Emit {
        call: u64,
        client: usize,
        conn: u64,
        id: String,
    },
    History {
        call: u64,
        room: usize,
        after: u64,
        limit: u64,
    },
    /// With a room, the right to join it; else the right to publish.
    Revoke {
        call: u64,
        client: usize,
        room: Option<usize>,
    },
}

impl Server {
    pub(super) fn new(rooms: Vec<Room>) -> Self {
        Self {
            is_up: true,
            rooms,
            joins: BTreeSet::new(),
            publishers: BTreeSet::new(),
            last_emit: "e-0".into(),
            stuck_until_ns: 0,
        }
    }
}

impl World {
    pub(super) fn arrive(&mut self, request: Request) {
        if !self.server.is_up {
            return;
        }
        match request {
            Request::Publish {
                call,
                from,
                message,
            } => self.take(call, from, message),
            Request::Join {
                call,
                client,
                conn,
                room,
                since,
            } => self.enter(call, client, conn, room, since.as_ref()),
            Request::Leave {
                call,
                client,
                conn,
                room,
            } => {
                if let Some(room) = self.server.rooms.get_mut(room) {
                    room.members.retain(|member| member.conn != conn);
                }
                self.tell(client, conn, What::Ok(Answer::Leave { call }));
            }
            Request::Emit {
                call,
                client,
                conn,
                id,
            } => self.acknowledge(call, client, conn, id),
            Request::History {
                call,
                room,
                after,
                limit,
            } => self.page(call, room, after, limit),
            Request::Revoke { call, client, room } => self.take_right(call, client, room),
        }
    }

    /// Sends something to a client; on a connection nothing overtakes.
    pub(super) fn tell(&mut self, client: usize, conn: u64, what: What) {
        let latency = self.random.between(MS, 20 * MS);
        let now_ns = self.now_ns;
        let Some(receiver) = self.clients.get_mut(client) else {
            return;
        };
        receiver.received_ns = (receiver.received_ns + 1).max(now_ns + latency);
        let at_ns = receiver.received_ns;
        self.later(at_ns, Task::See { client, conn, what });
    }

    pub(super) fn answer(&mut self, from: Option<(usize, u64)>, call: u64, what: What) {
        if let Some((client, conn)) = from {
            return self.tell(client, conn, what);
        }
        let at_ns = self.now_ns + self.random.between(MS, 20 * MS);
        self.later(at_ns, Task::Answer { call, what });
    }

    pub(super) fn refuse(&mut self, from: Option<(usize, u64)>, call: u64, f: &str, code: &str) {
        let failure = Failure {
            f: f.to_owned(),
            call,
            code: code.to_owned(),
        };
        self.answer(from, call, What::Fail(failure));
    }

    fn take(&mut self, call: u64, from: Option<(usize, u64)>, message: Message) {
        if from.is_some() && self.shows(Bug::PublisherReorder, 3) {
            // Another one that comes meanwhile is first.
            let at_ns = self.now_ns + 20 * MS;
            let request = Request::Publish {
                call,
                from,
                message,
            };
            return self.later(at_ns, Task::Arrive(request));
        }
        let may_publish = from.is_none_or(|(client, _)| self.server.publishers.contains(&client))
            || self.bug == Some(Bug::PublishWithoutRight);
        let is_stuck = self.now_ns < self.server.stuck_until_ns;
        let code = match () {
            () if is_stuck => "unavailable",
            () if !may_publish => "denied",
            // Some data is invalid.
            () if self.random.chance(3) => "invalid",
            () => "",
        };
        if !code.is_empty() {
            if code == "invalid" && self.shows(Bug::AbortedRead, 30) {
                self.append(message.clone(), Vec::new());
            }
            return self.refuse(from, call, "publish", code);
        }
        let now_ns = self.now_ns;
        let Some(room) = self.server.rooms.get_mut(message.room) else {
            return;
        };
        room.trim(now_ns);
        let known = message.key.as_deref().and_then(|key| room.find_key(key));
        if let Some(offset) = known {
            return self.repeat(call, from, &message, offset);
        }
        if self.shows(Bug::StaleOrder, 5) {
            return self.reserve(call, from, message);
        }
        let room = message.room;
        let is_gone = from.is_some_and(|(client, conn)| {
            self.clients
                .get(client)
                .is_none_or(|client| client.conn != Some(conn))
        });
        let twice =
            self.shows(Bug::DuplicateAppend, 2) || is_gone && self.shows(Bug::UnknownTwice, 80);
        self.append(
            message.clone(),
            vec![Waiting {
                from,
                call,
                repeats: false,
            }],
        );
        if twice {
            self.append(message, Vec::new());
        }
        let reserved = self
            .server
            .rooms
            .get_mut(room)
            .and_then(|r| r.reserved.take());
        if let Some(reserved) = reserved {
            self.append(reserved, Vec::new());
        }
    }

    /// Planted: says an offset that only the one after the next message gets.
    fn reserve(&mut self, call: u64, from: Option<(usize, u64)>, message: Message) {
        let Some(room) = self.server.rooms.get_mut(message.room) else {
            return;
        };
        let position = room.position(room.top() + 2);
        let before = room.reserved.replace(message);
        if let Some(before) = before {
            self.append(before, Vec::new());
        }
        self.answer_published(from, call, position, false);
    }

    /// The key is known.
    fn repeat(&mut self, call: u64, from: Option<(usize, u64)>, message: &Message, offset: u64) {
        let Some(room) = self.server.rooms.get_mut(message.room) else {
            return;
        };
        let position = room.position(offset);
        let is_synced = offset <= room.synced;
        let Some(record) = room.record_mut(offset) else {
            return;
        };
        if record.message.id != message.id {
            return self.refuse(from, call, "publish", "id_reused");
        }
        if is_synced {
            let duplicate = !self.shows(Bug::DuplicateFlagWrong, 100);
            self.answer_published(from, call, position, duplicate);
        } else {
            record.waiting.push(Waiting {
                from,
                call,
                repeats: true,
            });
        }
    }

    fn append(&mut self, message: Message, waiting: Vec<Waiting>) {
        let at_ns = self.now_ns;
        let number = message.room;
        let Some(room) = self.server.rooms.get_mut(number) else {
            return;
        };
        let early = match self.bug {
            Some(Bug::AckBeforeSync) => waiting.clone(),
            _ => Vec::new(),
        };
        let waiting = if early.is_empty() {
            waiting
        } else {
            Vec::new()
        };
        let offset = room.append(Record {
            message,
            at_ns,
            waiting,
        });
        let (epoch, position) = (room.epoch, room.position(offset));
        for one in early {
            self.answer_published(one.from, one.call, position.clone(), one.repeats);
        }
        if self.bug == Some(Bug::OffsetReuse) {
            self.fan_out(number, offset);
        }
        let at_ns = at_ns + self.random.between(5 * MS, 60 * MS);
        self.later(
            at_ns,
            Task::Synced {
                room: number,
                epoch,
                offset,
            },
        );
    }

    pub(super) fn answer_published(
        &mut self,
        from: Option<(usize, u64)>,
        call: u64,
        position: Position,
        duplicate: bool,
    ) {
        let answer = Answer::Publish {
            call,
            position,
            duplicate,
            durable: true,
        };
        if self.shows(Bug::AckTwice, 5) && from.is_some() {
            self.answer(from, call, What::Ok(answer.clone()));
        }
        self.answer(from, call, What::Ok(answer));
    }

    /// A client comes into a room.
    fn enter(
        &mut self,
        call: u64,
        client: usize,
        conn: u64,
        number: usize,
        since: Option<&Position>,
    ) {
        let may_join = self.server.joins.contains(&(client, number))
            || since.is_some() && self.bug == Some(Bug::RevokeIgnoredOnReplay);
        let is_there = self
            .clients
            .get(client)
            .is_some_and(|c| c.conn == Some(conn));
        if !is_there {
            return;
        }
        if !may_join {
            return self.refuse(Some((client, conn)), call, "join", "denied");
        }
        let now_ns = self.now_ns;
        if let Some(room) = self.server.rooms.get_mut(number) {
            room.trim(now_ns);
        }
        let (recovered, position) = self.judge(number, since);
        let Some(room) = self.server.rooms.get_mut(number) else {
            return;
        };
        let synced = room.synced;
        let mut sent = position.offset;
        match self.bug {
            Some(Bug::ResumeFromSame) if since.is_some() => sent = sent.saturating_sub(1),
            Some(Bug::ResumeSkipsOne) if since.is_some() => sent = (sent + 1).min(synced),
            _ => {}
        }
        // Planted bugs make a client stand in front of what is held.
        let sent = sent.max(room.base);
        room.members.retain(|member| member.conn != conn);
        room.members.push(Member {
            client,
            conn,
            sent,
            is_behind: false,
            loses_next: false,
            held: None,
        });
        let answer = Answer::Join {
            call,
            recovered,
            position,
        };
        self.tell(client, conn, What::Ok(answer));
        self.send_up_to(number, conn, synced);
        if since.is_some() && sent < synced && self.shows(Bug::DuplicateOnResume, 100) {
            self.deliver(number, client, conn, synced);
        }
        let loses = match since {
            Some(_) => self.shows(Bug::LiveLostAtJoin, 30),
            None => self.shows(Bug::LostSubscribeWindow, 50),
        };
        if let Some(member) = self.member(number, conn) {
            member.loses_next = loses;
        }
    }

    /// What a position is worth, and where the client stands then.
    fn judge(&mut self, number: usize, since: Option<&Position>) -> (Recovered, Position) {
        let says_reset = self.shows(Bug::FalseReset, 20);
        let says_gap = self.shows(Bug::FalseGap, 20);
        let Some(room) = self.server.rooms.get(number) else {
            return (
                Recovered::Reset,
                Position {
                    epoch: String::new(),
                    offset: 0,
                },
            );
        };
        let Some(since) = since else {
            return (Recovered::Complete, room.position(room.synced));
        };
        let present = room.position(room.base);
        if since.epoch != present.epoch {
            if self.bug == Some(Bug::WrongEpochKept) {
                return (Recovered::Complete, room.position(since.offset));
            }
            return (Recovered::Reset, present);
        }
        if since.offset > room.synced {
            return (Recovered::Reset, present);
        }
        if since.offset < room.base {
            if self.bug == Some(Bug::SilentGap) {
                return (Recovered::Complete, since.clone());
            }
            return (Recovered::Gap, present);
        }
        if says_reset {
            return (Recovered::Reset, room.position(room.synced));
        }
        if says_gap && since.offset < room.synced {
            return (Recovered::Gap, room.position(since.offset + 1));
        }
        (Recovered::Complete, since.clone())
    }

    fn acknowledge(&mut self, call: u64, client: usize, conn: u64, id: String) {
        let other = std::mem::replace(&mut self.server.last_emit, id.clone());
        let id = match self.shows(Bug::AckToOtherEvent, 10) {
            true => other,
            false => id,
        };
        self.tell(client, conn, What::Ok(Answer::EmitAck { call, id }));
    }

    fn page(&mut self, call: u64, number: usize, after: u64, limit: u64) {
        let (differs, skips) = (
            self.shows(Bug::HistoryDiffers, 20),
            self.shows(Bug::HistorySkips, 20),
        );
        let Some(room) = self.server.rooms.get(number) else {
            return;
        };
        let mut items: Vec<Item> = room.items(after);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        if differs && let [first, second, ..] = items.as_mut_slice() {
            std::mem::swap(&mut first.id, &mut second.id);
        }
        if skips && items.len() > 2 {
            items.remove(1);
        }
        let epoch = room.position(0).epoch;
        let answer = Answer::History {
            call,
            epoch,
            items,
            more,
        };
        self.answer(None, call, What::Ok(answer));
    }

    fn take_right(&mut self, call: u64, client: usize, room: Option<usize>) {
        match room {
            Some(number) => {
                let was_there = self.server.joins.remove(&(client, number));
                let is_ignored = self.bug == Some(Bug::RevokeIgnored);
                if let Some(room) = self.server.rooms.get_mut(number)
                    && was_there
                    && !is_ignored
                {
                    let name = room.name.clone();
                    let conn = room
                        .members
                        .iter()
                        .find(|member| member.client == client)
                        .map(|member| member.conn);
                    room.members.retain(|member| member.client != client);
                    if let Some(conn) = conn {
                        let notice = Info::Denied {
                            client: client as u64,
                            conn,
                            room: name,
                        };
                        self.tell(client, conn, What::Info(notice));
                    }
                }
            }
            None => {
                self.server.publishers.remove(&client);
            }
        }
        self.answer(None, call, What::Ok(Answer::Revoke { call }));
    }
}
