//! A client of the model: it remembers where it stands in each room, returns after a cut, and completes as unknown what was
//! not answered on its connection.

use std::collections::BTreeMap;

use super::{MS, Message, Request, SECOND, Task, World};
use crate::history::event::{Answer, FaultPhase, Info, Invoke, Position, Right, What};

#[derive(Debug)]
pub(super) struct Client {
    pub(super) user: String,
    pub(super) tenant: &'static str,
    pub(super) conn: Option<u64>,
    /// Room to position; a room is here while the client wants to be in it.
    pub(super) wanted: BTreeMap<usize, Option<Position>>,
    /// Calls on the connection that are not completed.
    pub(super) waiting: BTreeMap<u64, Asked>,
    /// Nothing overtakes on a connection, in neither direction.
    pub(super) sent_ns: u64,
    pub(super) received_ns: u64,
    /// Whether it needs a new token.
    pub(super) needs_token: bool,
}

#[derive(Debug)]
pub(super) enum Asked {
    Publish(Message),
    Join { room: usize },
    Other,
}

impl Client {
    pub(super) fn new(number: usize) -> Self {
        let (tenant, rooms) = if number.is_multiple_of(2) {
            ("a", [0, 1])
        } else {
            ("b", [2, 3])
        };
        Self {
            user: format!("user-{number}"),
            tenant,
            conn: None,
            wanted: rooms.into_iter().map(|room| (room, None)).collect(),
            waiting: BTreeMap::new(),
            sent_ns: 0,
            received_ns: 0,
            needs_token: true,
        }
    }
}

impl World {
    /// The network takes the connection.
    pub(super) fn cut(&mut self, client: usize) {
        let fault = self.number();
        for phase in [FaultPhase::Start, FaultPhase::Trace, FaultPhase::Stop] {
            self.info(Info::Fault {
                fault,
                kind: "cut".into(),
                phase,
            });
            if phase == FaultPhase::Start {
                self.disconnect(client);
            }
        }
    }

    pub(super) fn disconnect(&mut self, number: usize) {
        let Some(client) = self.clients.get_mut(number) else {
            return;
        };
        let Some(conn) = client.conn.take() else {
            return;
        };
        let waiting = std::mem::take(&mut client.waiting);
        let proc = format!("client-{number}");
        self.record(
            &proc,
            What::Info(Info::Disconnect {
                client: number as u64,
                conn,
            }),
        );
        for (call, asked) in waiting {
            self.record(&proc, What::Info(Info::Unknown { call }));
            if let Asked::Publish(message) = asked
                && message.key.is_some()
            {
                let at_ns = self.now_ns + self.random.between(500 * MS, 3 * SECOND);
                let client = Some(number);
                self.later(at_ns, Task::Retry { client, message });
            }
        }
        for room in &mut self.server.rooms {
            room.members.retain(|member| member.conn != conn);
        }
        let at_ns = self.now_ns + self.random.between(20 * MS, 2 * SECOND);
        self.later(at_ns, Task::Reconnect { client: number });
    }

    pub(super) fn reconnect(&mut self, number: usize) {
        if !self.server.is_up {
            let at_ns = self.now_ns + self.random.between(50 * MS, 300 * MS);
            return self.later(at_ns, Task::Reconnect { client: number });
        }
        let conn = self.number();
        let now_ns = self.now_ns;
        let Some(client) = self.clients.get_mut(number) else {
            return;
        };
        if client.conn.is_some() {
            return;
        }
        client.conn = Some(conn);
        (client.sent_ns, client.received_ns) = (now_ns, now_ns);
        let (user, tenant) = (client.user.clone(), client.tenant.to_owned());
        if std::mem::take(&mut client.needs_token) {
            self.grant_all(number);
        }
        self.record(
            &format!("client-{number}"),
            What::Info(Info::Connect {
                client: number as u64,
                conn,
                user: Some(user),
                tenant: Some(tenant),
            }),
        );
        let wanted: Vec<usize> = match self.clients.get(number) {
            Some(client) => client.wanted.keys().copied().collect(),
            None => return,
        };
        for room in wanted {
            self.join(number, room);
        }
    }

    /// A new token with all rights.
    fn grant_all(&mut self, number: usize) {
        let Some(client) = self.clients.get(number) else {
            return;
        };
        let (user, tenant) = (client.user.clone(), client.tenant);
        let rooms: Vec<(usize, String)> = self
            .server
            .rooms
            .iter()
            .enumerate()
            .filter(|(_, room)| room.tenant == tenant)
            .map(|(index, room)| (index, room.name.clone()))
            .collect();
        let mut grants = vec![(None, Right::Publish)];
        for (index, name) in rooms {
            self.server.joins.insert((number, index));
            grants.push((Some(name), Right::Join));
        }
        self.server.publishers.insert(number);
        for (room, right) in grants {
            self.grant(&user, room, right);
        }
    }

    pub(super) fn grant(&mut self, user: &str, room: Option<String>, right: Right) {
        let call = self.number();
        let user = user.to_owned();
        self.invoke(
            "backend",
            Invoke::Grant {
                call,
                user,
                room,
                right,
            },
        );
        self.record("backend", What::Ok(Answer::Grant { call }));
    }

    /// Sends a request on the connection, if there is one.
    pub(super) fn send(
        &mut self,
        number: usize,
        asked: Asked,
        make: impl FnOnce(u64, u64) -> (Invoke, Request),
    ) {
        let call = self.number();
        let latency = self.random.between(MS, 15 * MS);
        let now_ns = self.now_ns;
        let Some(client) = self.clients.get_mut(number) else {
            return;
        };
        let Some(conn) = client.conn else { return };
        client.sent_ns = (client.sent_ns + 1).max(now_ns + latency);
        let at_ns = client.sent_ns;
        let (invoke, request) = make(call, conn);
        // Planted: nobody waits for what never comes.
        let hangs = matches!(asked, Asked::Publish(_)) && self.shows(super::Bug::Hang, 2);
        self.invoke(&format!("client-{number}"), invoke);
        if hangs {
            return;
        }
        if let Some(client) = self.clients.get_mut(number) {
            client.waiting.insert(call, asked);
        }
        self.later(at_ns, Task::Arrive(request));
    }

    pub(super) fn join(&mut self, number: usize, room: usize) {
        let Some(client) = self.clients.get(number) else {
            return;
        };
        let since = client.wanted.get(&room).cloned().flatten();
        let Some(name) = self.server.rooms.get(room).map(|room| room.name.clone()) else {
            return;
        };
        self.send(number, Asked::Join { room }, |call, conn| {
            let invoke = Invoke::Join {
                call,
                client: number as u64,
                conn,
                room: name,
                since: since.clone(),
            };
            let request = Request::Join {
                call,
                client: number,
                conn,
                room,
                since,
            };
            (invoke, request)
        });
    }

    /// Something arrives on a connection, unless that is gone.
    pub(super) fn see(&mut self, number: usize, conn: u64, what: What) {
        let Some(client) = self.clients.get_mut(number) else {
            return;
        };
        if client.conn != Some(conn) {
            return;
        }
        let rooms = &self.server.rooms;
        let find = |name: &str| rooms.iter().position(|room| room.name == name);
        let mut ends = false;
        match &what {
            What::Ok(answer) => {
                let asked = client.waiting.remove(&answer.call());
                if let (Answer::Join { position, .. }, Some(Asked::Join { room })) = (answer, asked)
                {
                    client.wanted.insert(room, Some(position.clone()));
                }
            }
            What::Fail(failure) => {
                if let Some(Asked::Join { room }) = client.waiting.remove(&failure.call)
                    && self.random.chance(50)
                {
                    // The others ask again after the next cut.
                    client.wanted.remove(&room);
                }
            }
            What::Info(Info::Deliver { room, position, .. }) => {
                if let Some(Some(cursor)) = find(room).and_then(|room| client.wanted.get_mut(&room))
                    && cursor.epoch == position.epoch
                    && cursor.offset < position.offset
                {
                    cursor.offset = position.offset;
                }
            }
            What::Info(Info::Gap { room, missed, .. }) => {
                if let Some(Some(cursor)) = find(room).and_then(|room| client.wanted.get_mut(&room))
                {
                    cursor.offset += missed;
                }
            }
            What::Info(Info::Reset { room, position, .. }) => {
                if let Some(cursor) = find(room).and_then(|room| client.wanted.get_mut(&room)) {
                    *cursor = Some(position.clone());
                }
            }
            What::Info(Info::Expired { .. }) => ends = true,
            _ => {}
        }
        self.record(&format!("client-{number}"), what);
        if ends {
            self.disconnect(number);
        }
    }
}
