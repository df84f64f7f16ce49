//! From a record that is on disk to the clients in its room; clients that are slow get it later, or a notice.

use super::{Bug, World, room::Member};
use crate::history::event::{Info, What};

impl World {
    /// What was taken up to this offset is safe: it is acknowledged and delivered.
    pub(super) fn synced(&mut self, number: usize, epoch: u64, offset: u64) {
        let Some(room) = self.server.rooms.get_mut(number) else {
            return;
        };
        // A crash may have taken it.
        if room.epoch != epoch || offset > room.top() || offset <= room.synced {
            return;
        }
        let from = room.synced + 1;
        room.synced = offset;
        let mut acks = Vec::new();
        for offset in from..=offset {
            let position = room.position(offset);
            if let Some(record) = room.record_mut(offset) {
                for one in std::mem::take(&mut record.waiting) {
                    acks.push((one, position.clone()));
                }
            }
        }
        for (one, position) in acks {
            self.answer_published(one.from, one.call, position, one.repeats);
        }
        self.fan_out(number, offset);
        let now_ns = self.now_ns;
        if let Some(room) = self.server.rooms.get_mut(number) {
            room.trim(now_ns);
        }
    }

    /// Everyone in the room gets what they lack, up to an offset.
    pub(super) fn fan_out(&mut self, number: usize, to: u64) {
        let Some(room) = self.server.rooms.get(number) else {
            return;
        };
        let members: Vec<u64> = room
            .members
            .iter()
            .filter(|member| !member.is_behind)
            .map(|member| member.conn)
            .collect();
        for conn in members {
            self.send_up_to(number, conn, to);
        }
        if self.shows(Bug::CrossTenantDelivery, 5) {
            let tenant = self.server.rooms.get(number).map(|room| room.tenant);
            let other = self
                .clients
                .iter()
                .enumerate()
                .find(|(_, client)| Some(client.tenant) != tenant && client.conn.is_some())
                .and_then(|(index, client)| Some((index, client.conn?)));
            if let Some((client, conn)) = other {
                self.deliver(number, client, conn, to);
            }
        }
    }

    pub(super) fn member(&mut self, room: usize, conn: u64) -> Option<&mut Member> {
        let room = self.server.rooms.get_mut(room)?;
        room.members.iter_mut().find(|member| member.conn == conn)
    }

    pub(super) fn send_up_to(&mut self, room: usize, conn: u64, to: u64) {
        let Some(member) = self.member(room, conn) else {
            return;
        };
        let (client, from) = (member.client, member.sent + 1);
        member.sent = member.sent.max(to);
        for offset in from..=to {
            let drops = self.shows(Bug::DropDelivery, 1);
            let swaps = self.shows(Bug::SwapDeliveries, 2);
            let Some(member) = self.member(room, conn) else {
                return;
            };
            if std::mem::take(&mut member.loses_next) || drops {
                continue;
            }
            if swaps && member.held.is_none() {
                member.held = Some(offset);
                continue;
            }
            let held = member.held.take();
            self.deliver(room, client, conn, offset);
            if let Some(held) = held {
                self.deliver(room, client, conn, held);
            }
        }
    }

    pub(super) fn deliver(&mut self, number: usize, client: usize, conn: u64, offset: u64) {
        let is_phantom = self.shows(Bug::Phantom, 1);
        let Some(room) = self.server.rooms.get(number) else {
            return;
        };
        let Some(record) = room.record(offset) else {
            return;
        };
        let id = match is_phantom {
            true => format!("ghost-{offset}"),
            false => record.message.id.clone(),
        };
        let what = What::Info(Info::Deliver {
            client: client as u64,
            conn,
            room: room.name.clone(),
            position: room.position(offset),
            id,
        });
        self.tell(client, conn, what);
    }

    pub(super) fn catch_up(&mut self, number: usize, conn: u64) {
        let now_ns = self.now_ns;
        let Some(room) = self.server.rooms.get_mut(number) else {
            return;
        };
        room.trim(now_ns);
        let (base, synced, name) = (room.base, room.synced, room.name.clone());
        let Some(member) = room
            .members
            .iter_mut()
            .find(|member| member.conn == conn && member.is_behind)
        else {
            return;
        };
        member.is_behind = false;
        let client = member.client;
        let missed = base.saturating_sub(member.sent);
        member.sent = member.sent.max(base);
        if missed > 0 {
            let notice = Info::Gap {
                client: client as u64,
                conn,
                room: name.clone(),
                missed,
            };
            self.tell(client, conn, What::Info(notice));
        }
        self.send_up_to(number, conn, synced);
        let notice = Info::CaughtUp {
            client: client as u64,
            conn,
            room: name,
        };
        self.tell(client, conn, What::Info(notice));
    }
}
