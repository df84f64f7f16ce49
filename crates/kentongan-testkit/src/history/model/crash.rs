//! The end of a server and its start: what is lost, and who is told.

use super::{Bug, END_NS, MS, STORM_NS, Task, World};
use crate::history::event::{FaultPhase, Info, ServerPhase, What};

impl World {
    /// Everything that was not on disk may be gone, and every connection is.
    pub(super) fn crash(&mut self, wipe: bool) {
        if !self.server.is_up {
            return;
        }
        let fault = self.number();
        let kind = if wipe { "wipe" } else { "kill" };
        self.info(Info::Fault {
            fault,
            kind: kind.into(),
            phase: FaultPhase::Start,
        });
        self.info(Info::Server {
            node: "a".into(),
            phase: ServerPhase::Crash,
        });
        self.server.is_up = false;
        let keeps_nothing = matches!(self.bug, Some(Bug::AckBeforeSync | Bug::OffsetReuse));
        for index in 0..self.server.rooms.len() {
            let luck = if keeps_nothing {
                0
            } else {
                self.random.below(4)
            };
            let churns = self.shows(Bug::EpochChurn, 50);
            let forgets = self.bug == Some(Bug::KeyForgottenAfterRestart);
            let Some(room) = self.server.rooms.get_mut(index) else {
                continue;
            };
            room.crash(luck);
            if wipe || churns {
                room.wipe();
            }
            if forgets {
                for record in &mut room.records {
                    record.message.key = None;
                }
            }
        }
        if wipe {
            self.info(Info::EpochChange {
                room: None,
                cause: "the data was deleted".into(),
            });
        }
        for client in 0..self.clients.len() {
            self.disconnect(client);
        }
        for (call, message) in std::mem::take(&mut self.waiting) {
            self.record("backend", What::Info(Info::Unknown { call }));
            if let Some(message) = message.filter(|message| message.key.is_some()) {
                let at_ns = self.now_ns + self.random.between(900 * MS, 3_000 * MS);
                let client = None;
                self.later(at_ns, Task::Retry { client, message });
            }
        }
        let at_ns = self.now_ns + self.random.between(100 * MS, 800 * MS);
        self.later(at_ns, Task::Restart { fault });
    }

    pub(super) fn restart(&mut self, fault: u64) {
        self.server.is_up = true;
        if self.bug == Some(Bug::StuckAfterFault) && self.now_ns > STORM_NS / 2 {
            self.server.stuck_until_ns = END_NS;
        }
        self.info(Info::Server {
            node: "a".into(),
            phase: ServerPhase::Start,
        });
        for phase in [FaultPhase::Trace, FaultPhase::Stop] {
            if phase == FaultPhase::Trace && self.shows(Bug::FaultWithoutTrace, 100) {
                continue;
            }
            self.info(Info::Fault {
                fault,
                kind: "kill".into(),
                phase,
            });
        }
    }
}
