//! What happens by chance: messages, events that ask for acknowledgements, leaving, rights, slow clients, cuts.

use super::{Bug, MS, Message, Request, SECOND, Task, World, client::Asked};
use crate::history::event::{Info, Invoke, Right, What};

impl World {
    pub(super) fn act(&mut self) {
        let clients = self.clients.len() as u64;
        let client = usize::try_from(self.random.below(clients)).unwrap_or(0);
        let room = usize::try_from(self.random.below(4)).unwrap_or(0);
        match self.random.below(200) {
            0..120 => self.publish_some(client, room),
            120..135 => self.publish_again(client),
            135..160 => self.emit(client),
            160..172 => self.read_history(room),
            172..178 => self.leave_or_join(client),
            178..182 => self.revoke(client),
            182..186 => self.grant_again(client),
            186..188 => self.expire(client),
            188..195 => self.slow_down(room),
            195..197 => self.deny_publishing(client),
            197 if self.random.chance(20) => self.reset_room(room),
            _ => self.cut(client),
        }
    }

    /// One to three messages, all before the first answer.
    fn publish_some(&mut self, client: usize, room: usize) {
        let client = self.random.chance(70).then_some(client);
        let room = match client.and_then(|client| self.clients.get(client)) {
            Some(client) if client.tenant == "a" => room % 2,
            Some(_) => 2 + room % 2,
            None => room,
        };
        for _ in 0..self.random.between(1, 4) {
            let message = self.message(room);
            if message.key.is_some() && self.random.chance(30) {
                self.sent.push(message.clone());
            }
            self.publish(client, message);
        }
    }

    pub(super) fn message(&mut self, room: usize) -> Message {
        let number = self.number();
        Message {
            room,
            id: format!("m-{number}"),
            key: self.random.chance(60).then(|| format!("key-{number}")),
            bytes: self.random.between(20, 200),
        }
    }

    /// An application that repeats itself, or takes a key for something else.
    fn publish_again(&mut self, client: usize) {
        let from = self.sent.len().saturating_sub(20);
        let recent = (self.sent.len() - from) as u64;
        if recent == 0 {
            return;
        }
        let index = from + usize::try_from(self.random.below(recent)).unwrap_or(0);
        let Some(mut message) = self.sent.get(index).cloned() else {
            return;
        };
        if self.random.chance(20) {
            message.id = format!("m-{}", self.number());
        }
        let is_own = self.clients.get(client).is_some_and(|client| {
            self.server
                .rooms
                .get(message.room)
                .is_some_and(|room| room.tenant == client.tenant)
        });
        self.publish(is_own.then_some(client), message);
    }

    pub(super) fn publish(&mut self, client: Option<usize>, message: Message) {
        let Some(room) = self.server.rooms.get(message.room) else {
            return;
        };
        let (name, tenant) = (room.name.clone(), room.tenant.to_owned());
        let invoke = |call, conn, user| Invoke::Publish {
            call,
            room: name,
            id: message.id.clone(),
            key: message.key.clone(),
            conn,
            user,
            tenant: Some(tenant),
            bytes: message.bytes,
        };
        if let Some(number) = client {
            let user = self.clients.get(number).map(|client| client.user.clone());
            let asked = Asked::Publish(message.clone());
            self.send(number, asked, |call, conn| {
                let from = Some((number, conn));
                (
                    invoke(call, Some(conn), user),
                    Request::Publish {
                        call,
                        from,
                        message: message.clone(),
                    },
                )
            });
            return;
        }
        if !self.server.is_up {
            return;
        }
        let call = self.number();
        let invoke = invoke(call, None, None);
        self.invoke("backend", invoke);
        self.waiting.insert(call, Some(message.clone()));
        let at_ns = self.now_ns + self.random.between(MS, 15 * MS);
        let from = None;
        self.later(
            at_ns,
            Task::Arrive(Request::Publish {
                call,
                from,
                message,
            }),
        );
    }

    fn emit(&mut self, client: usize) {
        let id = format!("e-{}", self.number());
        self.send(client, Asked::Other, |call, conn| {
            (
                Invoke::EmitAck {
                    call,
                    id: id.clone(),
                },
                Request::Emit {
                    call,
                    client,
                    conn,
                    id,
                },
            )
        });
    }

    fn read_history(&mut self, room: usize) {
        if !self.server.is_up {
            return;
        }
        let call = self.number();
        let Some(from) = self.server.rooms.get(room) else {
            return;
        };
        let name = from.name.clone();
        let top = from.synced;
        let after = top.saturating_sub(self.random.below(15));
        let limit = self.random.between(5, 30);
        self.invoke(
            "backend",
            Invoke::History {
                call,
                room: name,
                after,
                limit,
            },
        );
        self.waiting.insert(call, None);
        let at_ns = self.now_ns + self.random.between(MS, 15 * MS);
        self.later(
            at_ns,
            Task::Arrive(Request::History {
                call,
                room,
                after,
                limit,
            }),
        );
    }

    fn leave_or_join(&mut self, number: usize) {
        let Some(client) = self.clients.get_mut(number) else {
            return;
        };
        if client.conn.is_none() || !client.waiting.is_empty() {
            return;
        }
        let rooms = if client.tenant == "a" { [0, 1] } else { [2, 3] };
        if let Some(room) = rooms
            .into_iter()
            .find(|room| !client.wanted.contains_key(room))
        {
            client.wanted.insert(room, None);
            return self.join(number, room);
        }
        let [room, _] = rooms;
        client.wanted.remove(&room);
        let Some(name) = self.server.rooms.get(room).map(|room| room.name.clone()) else {
            return;
        };
        self.send(number, Asked::Other, |call, conn| {
            (
                Invoke::Leave {
                    call,
                    client: number as u64,
                    conn,
                    room: name,
                },
                Request::Leave {
                    call,
                    client: number,
                    conn,
                    room,
                },
            )
        });
    }

    /// The right to be in the first room of the client's tenant.
    fn revoke(&mut self, client: usize) {
        let room = self
            .clients
            .get(client)
            .map_or(0, |client| if client.tenant == "a" { 0 } else { 2 });
        self.revoke_right(client, Some(room), Right::Join);
    }

    fn deny_publishing(&mut self, client: usize) {
        self.revoke_right(client, None, Right::Publish);
    }

    fn revoke_right(&mut self, client: usize, room: Option<usize>, right: Right) {
        let Some(user) = self.clients.get(client).map(|client| client.user.clone()) else {
            return;
        };
        if !self.server.is_up {
            return;
        }
        let call = self.number();
        let name = room
            .and_then(|room| self.server.rooms.get(room))
            .map(|room| room.name.clone());
        self.invoke(
            "backend",
            Invoke::Revoke {
                call,
                user,
                room: name,
                right: Some(right),
            },
        );
        self.waiting.insert(call, None);
        let at_ns = self.now_ns + self.random.between(MS, 15 * MS);
        self.later(at_ns, Task::Arrive(Request::Revoke { call, client, room }));
    }

    /// A right comes back, and the client with it.
    fn grant_again(&mut self, number: usize) {
        let Some(client) = self.clients.get(number) else {
            return;
        };
        if client.needs_token {
            return;
        }
        let user = client.user.clone();
        let room = if client.tenant == "a" { 0 } else { 2 };
        let is_away = !client.wanted.contains_key(&room);
        let Some(name) = self.server.rooms.get(room).map(|room| room.name.clone()) else {
            return;
        };
        if self.server.joins.insert((number, room)) {
            self.grant(&user, Some(name), Right::Join);
            if let Some(client) = self.clients.get_mut(number) {
                client.wanted.entry(room).or_default();
            }
            if is_away {
                self.join(number, room);
            }
        }
        if self.server.publishers.insert(number) {
            self.grant(&user, None, Right::Publish);
        }
    }

    fn expire(&mut self, number: usize) {
        let Some(client) = self.clients.get_mut(number) else {
            return;
        };
        let Some(conn) = client.conn else { return };
        if client.needs_token {
            return;
        }
        let user = client.user.clone();
        if self.bug == Some(Bug::ExpiryIgnored) {
            return self.info(Info::Expire { user });
        }
        client.needs_token = true;
        self.info(Info::Expire { user });
        self.server.joins.retain(|(owner, _)| *owner != number);
        self.server.publishers.remove(&number);
        for room in &mut self.server.rooms {
            room.members.retain(|member| member.conn != conn);
        }
        let notice = Info::Expired {
            client: number as u64,
            conn,
        };
        self.tell(number, conn, What::Info(notice));
    }

    /// Somebody throws the messages of a room away.
    fn reset_room(&mut self, number: usize) {
        let is_told = self.bug != Some(Bug::ResetUntold);
        let Some(room) = self.server.rooms.get_mut(number) else {
            return;
        };
        if !self.server.is_up {
            return;
        }
        let name = room.name.clone();
        let lost: Vec<_> = room
            .records
            .iter_mut()
            .flat_map(|record| std::mem::take(&mut record.waiting))
            .collect();
        room.wipe();
        let position = room.position(0);
        let mut members = Vec::new();
        for member in &mut room.members {
            member.sent = 0;
            member.is_behind = false;
            member.held = None;
            members.push((member.client, member.conn));
        }
        if !is_told {
            room.members.clear();
            members.clear();
        }
        self.info(Info::EpochChange {
            room: Some(name.clone()),
            cause: "the room was reset".into(),
        });
        for one in lost {
            self.refuse(one.from, one.call, "publish", "unavailable");
        }
        for (client, conn) in members {
            let notice = Info::Reset {
                client: client as u64,
                conn,
                room: name.clone(),
                position: position.clone(),
            };
            self.tell(client, conn, What::Info(notice));
        }
    }

    /// A client of a room takes nothing for a while.
    fn slow_down(&mut self, room: usize) {
        let wait = self.random.between(300 * MS, 4 * SECOND);
        let Some(from) = self.server.rooms.get_mut(room) else {
            return;
        };
        let name = from.name.clone();
        let Some(member) = from.members.iter_mut().find(|member| !member.is_behind) else {
            return;
        };
        member.is_behind = true;
        let (client, conn) = (member.client, member.conn);
        let notice = Info::Behind {
            client: client as u64,
            conn,
            room: name,
        };
        self.tell(client, conn, What::Info(notice));
        if !self.shows(Bug::BehindForever, 50) {
            let at_ns = self.now_ns + wait;
            self.later(at_ns, Task::CatchUp { room, conn });
        }
    }
}
