//! Who is in which room of one namespace.
//!
//! Invariant: a socket is in the hub from `add` to `remove`, and in rooms only meanwhile; both change under one lock, so
//! nothing can join after it has left. Every room has a member.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytestring::ByteString;
use parking_lot::RwLock;

use super::targets::Targets;
use crate::{error::JoinError, id::Sid, socket::SocketInner};

#[derive(Default)]
pub(crate) struct Hub {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    sockets: HashMap<Sid, Arc<SocketInner>>,
    names: HashMap<ByteString, u32>,
    rooms: Vec<Room>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Room {
    name: ByteString,
    members: Vec<Arc<SocketInner>>,
}

/// A socket's place in a room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Membership {
    room: u32,
    /// Index among the room's members.
    index: u32,
}

/// What a change did to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    /// The socket was in the room already, or not in it.
    Nothing,
    Members,
    /// The room came into being, or went.
    Room,
}

impl Hub {
    /// Lets a socket in, with its first rooms. `false`: it has ended already.
    pub(crate) fn add(
        &self,
        socket: &Arc<SocketInner>,
        rooms: &[ByteString],
    ) -> Option<Vec<(ByteString, Changed)>> {
        let mut state = self.state.write();
        if !socket.set_connected() {
            return None;
        }
        state.sockets.insert(socket.id, Arc::clone(socket));
        Some(
            rooms
                .iter()
                .map(|room| (room.clone(), state.join(socket, room)))
                .collect(),
        )
    }

    /// Takes a socket out of everything and returns the rooms it was in. `None`: it was not connected. `keep` is told the
    /// rooms in the same step: to others, the socket is either still in or already kept for its return.
    pub(crate) fn remove(
        &self,
        socket: &Arc<SocketInner>,
        keep: impl FnOnce(&[ByteString]),
    ) -> Option<Vec<(ByteString, Changed)>> {
        let mut state = self.state.write();
        if !socket.set_ended() {
            return None;
        }
        state.sockets.remove(&socket.id);
        let memberships: Vec<u32> = socket
            .memberships
            .lock()
            .iter()
            .map(|membership| membership.room)
            .collect();
        let names: Vec<ByteString> = memberships
            .iter()
            .filter_map(|room| state.rooms.get(*room as usize))
            .map(|room| room.name.clone())
            .collect();
        keep(&names);
        Some(
            names
                .into_iter()
                .map(|name| (name.clone(), state.leave(socket, &name)))
                .collect(),
        )
    }

    pub(crate) fn join(
        &self,
        socket: &Arc<SocketInner>,
        room: &ByteString,
        rooms_max: usize,
    ) -> Result<Changed, JoinError> {
        let mut state = self.state.write();
        if !socket.is_connected() {
            return Err(JoinError::Closed);
        }
        if socket.memberships.lock().len() >= rooms_max && !state.is_member(socket, room) {
            return Err(JoinError::TooManyRooms);
        }
        Ok(state.join(socket, room))
    }

    pub(crate) fn leave(&self, socket: &Arc<SocketInner>, room: &str) -> Changed {
        self.state.write().leave(socket, room)
    }

    pub(crate) fn rooms_of(&self, socket: &SocketInner) -> Vec<ByteString> {
        let state = self.state.read();
        let memberships = socket.memberships.lock();
        memberships
            .iter()
            .filter_map(|membership| state.rooms.get(membership.room as usize))
            .map(|room| room.name.clone())
            .collect()
    }

    pub(crate) fn find(&self, id: &Sid) -> Option<Arc<SocketInner>> {
        self.state.read().sockets.get(id).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.state.read().sockets.len()
    }

    /// The rooms there are, and how many are in each.
    pub(crate) fn rooms(&self) -> Vec<(ByteString, usize)> {
        let state = self.state.read();
        state
            .names
            .iter()
            .filter_map(|(name, room)| {
                Some((name.clone(), state.rooms.get(*room as usize)?.members.len()))
            })
            .collect()
    }

    pub(crate) fn sockets(&self, targets: &Targets) -> Vec<Arc<SocketInner>> {
        let mut found = Vec::new();
        self.for_each(targets, |socket| found.push(Arc::clone(socket)));
        found
    }

    /// Calls `f` once for every socket that `targets` means. `f` must be quick and must not come back to the hub.
    pub(crate) fn for_each(&self, targets: &Targets, mut f: impl FnMut(&Arc<SocketInner>)) {
        let state = self.state.read();
        if let Some(id) = targets.socket {
            state.sockets.get(&id).into_iter().for_each(f);
            return;
        }
        let left_out = state.ids(&targets.except);
        let is_meant = |socket: &Arc<SocketInner>| {
            targets.except_socket != Some(socket.id) && !left_out.contains(&socket.id)
        };
        match targets.rooms.as_slice() {
            [] => state
                .sockets
                .values()
                .filter(|socket| is_meant(socket))
                .for_each(f),
            [room] => state
                .in_room(room)
                .filter(|socket| is_meant(socket))
                .for_each(f),
            rooms => {
                let mut seen = HashSet::with_capacity(
                    rooms.iter().map(|room| state.in_room(room).count()).sum(),
                );
                for socket in rooms.iter().flat_map(|room| state.in_room(room)) {
                    if is_meant(socket) && seen.insert(socket.id) {
                        f(socket);
                    }
                }
            }
        }
    }
}

impl State {
    fn is_member(&self, socket: &SocketInner, room: &str) -> bool {
        self.names.get(room).is_some_and(|index| {
            socket
                .memberships
                .lock()
                .iter()
                .any(|membership| membership.room == *index)
        })
    }

    fn join(&mut self, socket: &Arc<SocketInner>, name: &ByteString) -> Changed {
        if self.is_member(socket, name) {
            return Changed::Nothing;
        }
        let (index, changed) = match self.names.get(name) {
            Some(index) => (*index, Changed::Members),
            None => (self.create(name), Changed::Room),
        };
        if let Some(room) = self.rooms.get_mut(index as usize) {
            let place =
                u32::try_from(room.members.len()).expect("a node has fewer than 2^32 sockets");
            room.members.push(Arc::clone(socket));
            socket.memberships.lock().push(Membership {
                room: index,
                index: place,
            });
        }
        changed
    }

    fn create(&mut self, name: &ByteString) -> u32 {
        let room = Room {
            name: name.clone(),
            members: Vec::new(),
        };
        let index = if let Some(index) = self.free.pop() {
            if let Some(slot) = self.rooms.get_mut(index as usize) {
                *slot = room;
            }
            index
        } else {
            self.rooms.push(room);
            u32::try_from(self.rooms.len() - 1).expect("a node has fewer than 2^32 rooms")
        };
        self.names.insert(name.clone(), index);
        index
    }

    fn leave(&mut self, socket: &SocketInner, name: &str) -> Changed {
        let Some(index) = self.names.get(name).copied() else {
            return Changed::Nothing;
        };
        let membership = {
            let mut memberships = socket.memberships.lock();
            let Some(position) = memberships
                .iter()
                .position(|membership| membership.room == index)
            else {
                return Changed::Nothing;
            };
            memberships.swap_remove(position)
        };
        let Some(room) = self.rooms.get_mut(index as usize) else {
            return Changed::Nothing;
        };
        room.members.swap_remove(membership.index as usize);
        // The last member took the free place.
        if let Some(moved) = room.members.get(membership.index as usize) {
            for each in moved
                .memberships
                .lock()
                .iter_mut()
                .filter(|each| each.room == index)
            {
                each.index = membership.index;
            }
        }
        if !room.members.is_empty() {
            return Changed::Members;
        }
        *room = Room::default();
        self.names.remove(name);
        self.free.push(index);
        Changed::Room
    }

    /// Members of a room, or the socket whose id the name is.
    fn in_room<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<SocketInner>> + use<'a> {
        let members = self
            .names
            .get(name)
            .and_then(|index| self.rooms.get(*index as usize))
            .map_or(&[][..], |room| &room.members);
        let own = name
            .parse::<Sid>()
            .ok()
            .and_then(|id| self.sockets.get(&id));
        let own = own.filter(|socket| !members.iter().any(|member| member.id == socket.id));
        members.iter().chain(own)
    }

    fn ids(&self, rooms: &[ByteString]) -> HashSet<Sid> {
        rooms
            .iter()
            .flat_map(|room| self.in_room(room))
            .map(|socket| socket.id)
            .collect()
    }
}
