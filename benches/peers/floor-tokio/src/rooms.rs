//! Who is in which room. The runtime has one thread, so the table belongs to it.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use messages::Hub;

use crate::connection::Connection;

/// From a room's name to its members.
type Rooms = HashMap<Box<[u8]>, Vec<Arc<Connection>>>;

thread_local! {
    static ROOMS: RefCell<Rooms> = RefCell::default();
}

/// The hub, seen from one connection.
pub(crate) struct Members {
    connection: Arc<Connection>,
    joined: Vec<Box<[u8]>>,
}

impl Members {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            joined: Vec::new(),
        }
    }

    /// Takes the connection out of all rooms.
    pub(crate) fn leave(&mut self) {
        ROOMS.with_borrow_mut(|rooms| {
            for room in self.joined.drain(..) {
                let Some(members) = rooms.get_mut(&room) else {
                    continue;
                };
                let place = members
                    .iter()
                    .position(|member| Arc::ptr_eq(member, &self.connection));
                if let Some(place) = place {
                    members.swap_remove(place);
                }
            }
        });
    }
}

impl Hub for Members {
    fn join(&mut self, room: &[u8]) {
        if !self.is_member(room) {
            self.joined.push(room.into());
            ROOMS.with_borrow_mut(|rooms| {
                let members = rooms.entry(room.into()).or_default();
                members.push(Arc::clone(&self.connection));
            });
        }
    }

    fn is_member(&self, room: &[u8]) -> bool {
        self.joined.iter().any(|joined| **joined == *room)
    }

    fn publish(&mut self, room: &[u8], frames: &[u8]) {
        ROOMS.with_borrow(|rooms| {
            for member in rooms.get(room).into_iter().flatten() {
                if !Arc::ptr_eq(member, &self.connection) {
                    member.write(frames);
                }
            }
        });
    }
}
