//! The end of the run: what is read when all is calm.

use super::{Bug, Message, World};
use crate::history::event::{Answer, Info, Invoke, ResourcePhase, What};

impl World {
    pub(super) fn calm(&mut self) {
        for room in 0..self.server.rooms.len() {
            let number = self.number();
            let message = Message {
                room,
                id: format!("m-{number}"),
                key: None,
                bytes: 50,
            };
            self.publish(None, message);
        }
    }

    pub(super) fn finale(&mut self) {
        for number in 0..self.server.rooms.len() {
            let call = self.number();
            let has_hole = self.shows(Bug::HoleInFinalRead, 100);
            let Some(room) = self.server.rooms.get_mut(number) else {
                continue;
            };
            room.trim(self.now_ns);
            let name = room.name.clone();
            let mut items = room.items(0);
            if has_hole && items.len() > 2 {
                items.remove(1);
            }
            let (epoch, top) = (room.position(0).epoch, room.synced);
            self.invoke(
                "reader",
                Invoke::FinalRead {
                    call,
                    node: "a".into(),
                    room: name,
                },
            );
            self.record(
                "reader",
                What::Ok(Answer::FinalRead {
                    call,
                    epoch,
                    top,
                    items,
                }),
            );
        }
        self.count_resources(ResourcePhase::End);
    }

    pub(super) fn count_resources(&mut self, phase: ResourcePhase) {
        let is_end = phase == ResourcePhase::End;
        let pending_acks = match self.bug {
            Some(Bug::PendingAcksLeft) if is_end => 3,
            _ => 0,
        };
        let tasks = match self.bug {
            Some(Bug::TaskLeak) if is_end => 100,
            _ => 20,
        };
        self.info(Info::Resources {
            node: "a".into(),
            phase,
            pending_acks,
            tasks,
            fds: 30,
            rss_bytes: 10 << 20,
        });
    }
}
