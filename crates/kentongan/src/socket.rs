//! A client's presence in one namespace.
//!
//! Owns identity, membership state and what an application keeps with a socket. Invariant: a socket is connected from
//! `activate` to `end`, each of which happens once; joining is refused outside of that (or, in middleware, before it).

pub(crate) mod acks;
pub(crate) mod emit;
mod listen;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
};

use bytestring::ByteString;
use http::Extensions;
use kentongan_protocol::{
    engine::session::{Class, CloseReason, Flush, Sent},
    frame::Frame,
    socket::{args::Args, encode, value::Value},
};
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

pub(crate) use self::emit::{outgoing, sent};
use crate::{
    error::JoinError,
    handler::listeners::Listeners,
    handshake::Handshake,
    id::Sid,
    metrics,
    namespace::{Namespace, NamespaceInner, hub::Membership},
    reason::DisconnectReason,
    session::shared::{Command, Session},
};

/// A client in a namespace. Cheap to clone; stays valid (but unconnected) after the client has left.
#[derive(Clone)]
pub struct Socket(pub(crate) Arc<SocketInner>);

pub(crate) struct SocketInner {
    pub(crate) id: Sid,
    state: AtomicU8,
    /// Acknowledgements that this client owes.
    pub(crate) acks_owed: AtomicU32,
    pub(crate) namespace: Arc<NamespaceInner>,
    pub(crate) session: Arc<Session>,
    /// Where the hub has this socket. Only the hub touches it, under its own lock.
    pub(crate) memberships: Mutex<SmallVec<[Membership; 2]>>,
    extra: OnceLock<Box<Extra>>,
}

/// What most sockets never have.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) listeners: RwLock<Arc<Listeners>>,
    extensions: RwLock<Extensions>,
    data: RwLock<Value>,
    pub(crate) identity: RwLock<Option<String>>,
    pub(crate) pid: OnceLock<Sid>,
    /// Rooms that middleware joined, until the client is let in.
    early_rooms: Mutex<Vec<ByteString>>,
    ended: Mutex<Option<Ended>>,
}

/// How a socket ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) reason: DisconnectReason,
    pub(crate) rooms: Vec<ByteString>,
}

impl Socket {
    pub(crate) fn new(id: Sid, namespace: Arc<NamespaceInner>, session: Arc<Session>) -> Self {
        Self(Arc::new(SocketInner {
            id,
            state: AtomicU8::new(CONNECTING),
            acks_owed: AtomicU32::new(0),
            namespace,
            session,
            memberships: Mutex::default(),
            extra: OnceLock::new(),
        }))
    }

    /// The public id; also the name of a room that only this socket is in.
    #[must_use]
    pub fn id(&self) -> Sid {
        self.0.id
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> Namespace {
        Namespace(Arc::clone(&self.0.namespace))
    }

    /// The request that opened the connection.
    #[must_use]
    pub fn handshake(&self) -> &Handshake {
        &self.0.session.handshake
    }

    /// Whether the client is in the namespace.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == CONNECTED
    }

    /// The transport now: `polling` or `websocket`.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        self.0.session.transport().as_str()
    }

    /// Takes what middleware set on `other`, which will not be let in under its own id.
    pub(crate) fn adopt(&self, other: &Self) {
        let Some(theirs) = other.0.extra.get() else {
            return;
        };
        let ours = self.0.extra();
        std::mem::swap(&mut *ours.listeners.write(), &mut *theirs.listeners.write());
        std::mem::swap(
            &mut *ours.extensions.write(),
            &mut *theirs.extensions.write(),
        );
        std::mem::swap(&mut *ours.identity.write(), &mut *theirs.identity.write());
        std::mem::swap(
            &mut *ours.early_rooms.lock(),
            &mut *theirs.early_rooms.lock(),
        );
    }

    // --- rooms ---

    /// Joins a room. In middleware the membership begins when the client is let in, and leaves nothing when not.
    ///
    /// # Errors
    /// [`JoinError::Closed`] after the socket has left, and the limits on names and numbers of rooms.
    pub fn join(&self, room: impl Into<ByteString>) -> Result<(), JoinError> {
        let room = room.into();
        let held = &self.0.session.engine.config.held;
        if room.len() > held.room_bytes_max {
            return Err(JoinError::NameTooLong);
        }
        if self.0.state.load(Ordering::Acquire) == CONNECTING {
            let mut rooms = self.0.extra().early_rooms.lock();
            if rooms.len() >= held.rooms_per_socket_max {
                return Err(JoinError::TooManyRooms);
            }
            if !rooms.contains(&room) {
                rooms.push(room);
            }
            return Ok(());
        }
        self.0
            .namespace
            .join(&self.0, &room, held.rooms_per_socket_max)
    }

    /// Leaves a room. Nothing happens when the socket is not in it.
    pub fn leave(&self, room: &str) {
        if let Some(extra) = self.0.extra.get() {
            extra.early_rooms.lock().retain(|each| *each != room);
        }
        self.0.namespace.leave(&self.0, room);
    }

    /// The rooms it is in, without the one of its own id.
    #[must_use]
    pub fn rooms(&self) -> Vec<ByteString> {
        let early = self
            .0
            .extra
            .get()
            .map(|extra| extra.early_rooms.lock().clone())
            .unwrap_or_default();
        if early.is_empty() {
            self.0.namespace.hub.rooms_of(&self.0)
        } else {
            early
        }
    }

    // --- what the application keeps ---

    /// Keeps a typed value with the socket, on this node only.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) {
        self.0.extra().extensions.write().insert(value);
    }

    /// The value of this type that was kept.
    #[must_use]
    pub fn value<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.0
            .extra
            .get()
            .and_then(|extra| extra.extensions.read().get::<T>().cloned())
    }

    /// Data that other nodes see in `fetch_sockets`, and that recovery restores (Node: `socket.data`).
    #[must_use]
    pub fn data(&self) -> Value {
        self.0
            .extra
            .get()
            .map_or(Value::Null, |extra| extra.data.read().clone())
    }

    /// Replaces that data.
    pub fn set_data(&self, data: Value) {
        *self.0.extra().data.write() = data;
    }

    /// Who the client is, as middleware found out. Recovery is refused to anyone else.
    pub fn set_identity(&self, identity: impl Into<String>) {
        *self.0.extra().identity.write() = Some(identity.into());
    }

    /// What `set_identity` was told.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        self.0
            .extra
            .get()
            .and_then(|extra| extra.identity.read().clone())
    }

    // --- leaving ---

    /// Sends the client out of the namespace. It is told and does not come back by itself.
    pub fn disconnect(&self) {
        if self.end(DisconnectReason::ServerNamespaceDisconnect) {
            self.send_disconnect();
            self.0.session.command(Command::SocketEnded(self.0.id));
        }
    }

    /// Sends the client out of all its namespaces and closes its connection.
    pub fn disconnect_session(&self) {
        self.0.session.command(Command::DisconnectAll);
    }

    /// Closes the connection below the socket, after what is still to be sent. To the client it looks like a broken
    /// connection: it comes back, and recovers if it may.
    pub fn close_connection(&self) {
        self.0.session.close(CloseReason::ForcedClose, Flush::Yes);
    }

    /// Bytes that wait for this client and that its transport has not taken yet, of all its namespaces.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.0.session.queued_bytes()
    }

    /// Waits until at most `bytes` wait for this client: `true`. `false`: the socket has ended. So whoever sends much
    /// sends at the client's pace, and no outbox overflows.
    ///
    /// ```
    /// # async fn send_history(socket: kentongan::Socket, pages: Vec<Vec<u64>>) -> Result<(), kentongan::EmitError> {
    /// for page in pages {
    ///     if !socket.drained(64 * 1024).await {
    ///         break; // The client has left.
    ///     }
    ///     socket.emit("page", page)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn drained(&self, bytes: usize) -> impl Future<Output = bool> + Send + 'static {
        let socket = Arc::clone(&self.0);
        async move {
            let is_over = || !socket.is_connected();
            socket.session.drained(bytes, is_over).await
        }
    }

    pub(crate) fn send_disconnect(&self) {
        let parser = self.0.session.engine.config.parser;
        let _ = self.0.session.send(
            encode::disconnect(parser, &self.0.namespace.name),
            Class::Reliable,
        );
    }

    /// The one way out: whatever ends a socket passes here. `false`: it had ended before.
    pub(crate) fn end(&self, reason: DisconnectReason) -> bool {
        let Some(rooms) = self.0.namespace.remove(&self.0, reason) else {
            return false;
        };
        let metrics = &self.0.session.engine.metrics;
        metrics::sub(&metrics.sockets_open, 1);
        metrics.disconnected(reason);
        *self.0.extra().ended.lock() = Some(Ended { reason, rooms });
        self.0.session.wake_drains();
        true
    }

    /// How it ended, for the one who runs the handlers.
    pub(crate) fn take_ended(&self) -> Option<Ended> {
        self.0
            .extra
            .get()
            .and_then(|extra| extra.ended.lock().take())
    }

    pub(crate) fn acked(&self, id: u64, args: Args) {
        self.0
            .namespace
            .acks
            .answered(&self.0, id, args, &self.0.session.engine.metrics);
    }
}

impl SocketInner {
    pub(crate) fn extra(&self) -> &Extra {
        self.extra.get_or_init(Box::default)
    }

    pub(crate) fn extra_if_any(&self) -> Option<&Extra> {
        self.extra.get().map(AsRef::as_ref)
    }

    pub(crate) fn take_early_rooms(&self) -> Vec<ByteString> {
        self.extra
            .get()
            .map(|extra| std::mem::take(&mut *extra.early_rooms.lock()))
            .unwrap_or_default()
    }

    /// For the hub, under its lock.
    pub(crate) fn set_connected(&self) -> bool {
        self.state
            .compare_exchange(CONNECTING, CONNECTED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// For the hub, under its lock.
    pub(crate) fn set_ended(&self) -> bool {
        self.state.swap(ENDED, Ordering::AcqRel) == CONNECTED
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state.load(Ordering::Acquire) == CONNECTED
    }

    pub(crate) fn send(&self, frame: Frame, class: Class) -> Sent {
        self.session.send(frame, class)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.0.id)
            .field("namespace", &self.0.namespace.name)
            .finish_non_exhaustive()
    }
}

const CONNECTING: u8 = 0;
const CONNECTED: u8 = 1;
const ENDED: u8 = 2;
