//! What a namespace does: its listeners and hooks. Namespaces made from one pattern share theirs.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arc_swap::{ArcSwap, Guard};
use bytestring::ByteString;
use parking_lot::{Mutex, RwLock};

use crate::{
    adapter::server_event::ServerListener,
    handler::listeners::{ListenerId, Listeners},
    id::Sid,
    socket::Socket,
};

/// Decides about the rooms of a client that comes back.
pub(crate) type DecideRooms =
    Arc<dyn Fn(&Socket, Vec<ByteString>) -> Vec<ByteString> + Send + Sync>;
type RoomListener = Arc<dyn Fn(&RoomEvent) + Send + Sync>;

#[derive(Default)]
pub(crate) struct Behaviour {
    /// Read for every event, changed hardly ever: readers on different cores must not meet.
    listeners: ArcSwap<Listeners>,
    changing: Mutex<()>,
    recover: RwLock<Option<DecideRooms>>,
    rooms: RwLock<Vec<RoomListener>>,
    server_events: RwLock<HashMap<ByteString, Vec<ServerListener>>>,
}

/// Something happened to a room.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomEvent {
    /// What.
    pub kind: RoomEventKind,
    /// Which room.
    pub room: ByteString,
    /// Who joined or left.
    pub socket: Option<Sid>,
}

/// What happened to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoomEventKind {
    /// It has its first member.
    Created,
    /// A socket joined.
    Joined,
    /// A socket left.
    Left,
    /// Its last member is gone.
    Deleted,
}

impl Behaviour {
    pub(crate) fn listeners(&self) -> Guard<Arc<Listeners>> {
        self.listeners.load()
    }

    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Listeners) -> R) -> R {
        let _turn = self.changing.lock();
        let mut changed = Listeners::clone(&self.listeners.load());
        let result = change(&mut changed);
        self.listeners.store(Arc::new(changed));
        result
    }

    pub(crate) fn recover(&self) -> Option<DecideRooms> {
        self.recover.read().clone()
    }

    pub(crate) fn set_recover(&self, decide: DecideRooms) {
        *self.recover.write() = Some(decide);
    }

    pub(crate) fn add_room_listener(&self, listener: RoomListener) {
        self.rooms.write().push(listener);
    }

    pub(crate) fn add_server_listener(&self, event: ByteString, listener: ServerListener) {
        self.server_events
            .write()
            .entry(event)
            .or_default()
            .push(listener);
    }

    /// The listeners of a server event, in the order of their registration.
    pub(crate) fn server_listeners(&self, event: &str) -> Vec<ServerListener> {
        self.server_events
            .read()
            .get(event)
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn remove_server_listener(&self, id: ListenerId) -> bool {
        let mut removed = false;
        self.server_events.write().retain(|_, listeners| {
            let before = listeners.len();
            listeners.retain(|listener| listener.id != id);
            removed |= listeners.len() != before;
            !listeners.is_empty()
        });
        removed
    }

    pub(crate) fn tell_room(&self, kind: RoomEventKind, room: &ByteString, socket: Option<Sid>) {
        let listeners = self.rooms.read().clone();
        if listeners.is_empty() {
            return;
        }
        let event = RoomEvent {
            kind,
            room: room.clone(),
            socket,
        };
        for listener in listeners {
            // The caller is in the middle of letting somebody in or out; that must be completed.
            if catch_unwind(AssertUnwindSafe(|| listener(&event))).is_err() {
                tracing::error!(room = %event.room, "a room listener panicked");
            }
        }
    }
}
