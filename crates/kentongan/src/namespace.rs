//! Namespaces: who is in them, what they do, and how a publication reaches its sockets.

pub(crate) mod behaviour;
pub(crate) mod connect;
pub(crate) mod hub;
pub(crate) mod registry;
pub(crate) mod targets;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytestring::ByteString;
use kentongan_protocol::{
    engine::session::{Class, Sent},
    frame::Frame,
    socket::{
        args::{Args, FromArgs, IntoArgs},
        encode,
    },
};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use self::{
    behaviour::{Behaviour, RoomEvent, RoomEventKind},
    hub::{Changed, Hub},
    targets::Targets,
};
use crate::{
    adapter::{
        AdapterError,
        cluster::Cluster,
        message::{Answer, Body, ClusterMessage},
        server_event::{
            IntoServerReply, NodeAnswerError, NodeAnswers, ServerEvent, ServerEventJob,
            ServerListener,
        },
    },
    broadcast::Broadcast,
    config::SharedConfig,
    error::{EmitError, JoinError},
    handler::{Handler, IntoReply, Middleware, listeners::ListenerId},
    id::Sid,
    metrics::{self, Metrics},
    reason::DisconnectReason,
    recovery::NamespaceRecovery,
    session::{flusher::flush_all, shared::now},
    socket::{Socket, SocketInner, acks::Acks},
};

/// A namespace of a server. Cheap to clone.
#[derive(Clone)]
pub struct Namespace(pub(crate) Arc<NamespaceInner>);

pub(crate) struct NamespaceInner {
    pub(crate) name: ByteString,
    pub(crate) behaviour: Arc<Behaviour>,
    pub(crate) hub: Hub,
    pub(crate) acks: Acks,
    pub(crate) recovery: Option<NamespaceRecovery>,
    /// Held while a broadcast goes to its outboxes: everyone sees broadcasts in one order.
    pub(crate) broadcasts: Mutex<()>,
    /// Some socket wants to see what is sent to it, broadcasts too.
    pub(crate) is_watched: AtomicBool,
    /// Clients between middleware and the hub.
    pub(crate) arriving: AtomicUsize,
    pub(crate) config: SharedConfig,
    pub(crate) metrics: Arc<Metrics>,
    /// This node's end of the cluster, if it is in one.
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// To the task that runs the listeners of server events, once there was one.
    pub(crate) server_events: OnceLock<mpsc::Sender<ServerEventJob>>,
}

impl Namespace {
    /// Its name, with the leading slash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    // --- what it does ---

    /// Decides who may come in; all middleware in the order of registration. `Err` arrives as `connect_error`.
    pub fn middleware<A>(&self, middleware: impl Middleware<A>) -> &Self {
        self.0
            .behaviour
            .change(|listeners| listeners.add_middleware(middleware));
        self
    }

    /// Runs for every client that came in. Its events wait until it is done.
    pub fn on_connect<A, R: IntoReply>(&self, handler: impl Handler<A, R>) -> ListenerId {
        self.0
            .behaviour
            .change(|listeners| listeners.add_connect(handler))
    }

    /// Runs for every client that left, after the handlers of its last events.
    pub fn on_disconnect<A, R: IntoReply>(&self, handler: impl Handler<A, R>) -> ListenerId {
        self.0
            .behaviour
            .change(|listeners| listeners.add_disconnect(handler))
    }

    /// Handles an event of every client. Several listeners run one after the other, in the order of registration.
    pub fn on<A, R: IntoReply>(
        &self,
        event: impl Into<ByteString>,
        handler: impl Handler<A, R>,
    ) -> ListenerId {
        self.0
            .behaviour
            .change(|listeners| listeners.add(event.into(), handler))
    }

    /// Handles every event of every client, before the listeners of its name.
    pub fn on_any<A, R: IntoReply>(&self, handler: impl Handler<A, R>) -> ListenerId {
        self.0
            .behaviour
            .change(|listeners| listeners.add_any(handler))
    }

    /// Sees every event that is sent, once per emit.
    pub fn on_any_outgoing(
        &self,
        listener: impl Fn(&str, &Args) + Send + Sync + 'static,
    ) -> ListenerId {
        self.0
            .behaviour
            .change(|listeners| listeners.add_outgoing(listener))
    }

    /// Decides about every event before its listeners see it. A refused event's ack says so.
    pub fn use_event<A>(&self, middleware: impl Middleware<A>) -> &Self {
        self.0
            .behaviour
            .change(|listeners| listeners.add_event_middleware(middleware));
        self
    }

    /// Decides, for a client that comes back, which of its rooms it may still be in. Without it, it gets all of them.
    pub fn on_recover(
        &self,
        decide: impl Fn(&Socket, Vec<ByteString>) -> Vec<ByteString> + Send + Sync + 'static,
    ) -> &Self {
        self.0.behaviour.set_recover(Arc::new(decide));
        self
    }

    /// Hears of rooms: created, joined, left, deleted. Called after the change, on the thread that made it.
    pub fn on_room(&self, listener: impl Fn(&RoomEvent) + Send + Sync + 'static) -> &Self {
        self.0.behaviour.add_room_listener(Arc::new(listener));
        self
    }

    /// Removes a listener. `false`: it was not there.
    pub fn off(&self, listener: ListenerId) -> bool {
        self.0
            .behaviour
            .change(|listeners| listeners.remove(listener))
            || self.0.behaviour.remove_server_listener(listener)
    }

    // --- who is in it ---

    /// The socket with this id.
    #[must_use]
    pub fn socket(&self, id: Sid) -> Option<Socket> {
        self.0.hub.find(&id).map(Socket)
    }

    /// Sockets on this node.
    #[must_use]
    pub fn sockets_count(&self) -> usize {
        self.0.hub.len()
    }

    /// Rooms on this node, and how many sockets are in each.
    #[must_use]
    pub fn rooms(&self) -> Vec<(ByteString, usize)> {
        self.0.hub.rooms()
    }

    /// Acknowledgements that clients owe now.
    #[must_use]
    pub fn acks_pending(&self) -> usize {
        self.0.acks.len()
    }

    // --- broadcasting ---

    /// Everyone in the namespace.
    pub fn broadcast(&self) -> Broadcast {
        Broadcast::new(Arc::clone(&self.0))
    }

    /// Everyone in `room`. Call it again to add rooms.
    pub fn to(&self, room: impl Into<ByteString>) -> Broadcast {
        self.broadcast().to(room)
    }

    /// Everyone but those in `room`.
    pub fn except(&self, room: impl Into<ByteString>) -> Broadcast {
        self.broadcast().except(room)
    }

    /// Sends an event to everyone in the namespace.
    ///
    /// # Errors
    /// [`EmitError`] when the event cannot be sent to anyone.
    pub fn emit(&self, event: &str, data: impl IntoArgs) -> Result<(), EmitError> {
        self.broadcast().emit(event, data)
    }

    // --- the other nodes ---

    /// Hears an event that *another node* sends with [`Namespace::server_side_emit`]. Several listeners run one after
    /// the other, in the order of registration; the events of a namespace do too, so a slow listener holds up the next
    /// event. To answer, return a [`Reply`](crate::Reply); the first listener that answers counts.
    ///
    /// ```
    /// # use kentongan::{Config, Server};
    /// use kentongan::{Reply, ServerEvent};
    ///
    /// # let server = Server::new(Config::default())?;
    /// let root = server.of("/");
    /// let counted = root.clone();
    /// root.on_server_event("count", move |_: ServerEvent| {
    ///     let count = counted.sockets_count();
    ///     async move { Reply(count) }
    /// });
    /// # Ok::<(), kentongan::ConfigError>(())
    /// ```
    pub fn on_server_event<F, Fut, R>(&self, event: impl Into<ByteString>, handler: F) -> ListenerId
    where
        F: Fn(ServerEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoServerReply,
    {
        let listener = ServerListener::new(handler);
        let id = listener.id;
        self.0.behaviour.add_server_listener(event.into(), listener);
        id
    }

    /// Sends an event to the listeners that the *other* nodes have for it in this namespace (Node: `serverSideEmit`).
    /// Clients see nothing of it. Without a cluster there are no other nodes, and nothing happens.
    ///
    /// # Errors
    /// [`EmitError`] when the event cannot be sent to anyone. That other nodes are not reached is no error here: it is
    /// counted (`adapter_failures`) and logged.
    pub fn server_side_emit(&self, event: &str, data: impl IntoArgs) -> Result<(), EmitError> {
        let args = crate::socket::outgoing(event, data, &self.0.config)?;
        if let Some(cluster) = &self.0.cluster {
            let body = Body::ServerSideEmit {
                request: None,
                event: event.into(),
                args,
            };
            // Counted and logged there.
            let _ = cluster.publish(cluster.message(&self.0.name, None, body));
        }
        Ok(())
    }

    /// As [`Namespace::server_side_emit`], and collects one answer of each other node until all are there or the time
    /// is up. What came is in the result, and which nodes are missing, with the reason.
    ///
    /// # Errors
    /// [`EmitError`] when the event cannot be sent to anyone.
    pub async fn server_side_emit_with_ack<T: FromArgs>(
        &self,
        event: &str,
        data: impl IntoArgs,
        timeout: Duration,
    ) -> Result<NodeAnswers<T>, EmitError> {
        let args = crate::socket::outgoing(event, data, &self.0.config)?;
        let Some(cluster) = &self.0.cluster else {
            return Ok(NodeAnswers {
                given: Vec::new(),
                missing: Vec::new(),
            });
        };
        let request = cluster.request(None);
        if let Some(id) = request.id() {
            let body = Body::ServerSideEmit {
                request: Some(id),
                event: event.into(),
                args,
            };
            request.published(cluster.publish(cluster.message(&self.0.name, None, body)));
        }
        let gathered = request.collect(timeout).await;
        let typed = |answer| match answer {
            Answer::Given(args) => T::from_args(&args).map_err(NodeAnswerError::Answer),
            Answer::Failed(fault) => Err(fault.into()),
        };
        Ok(NodeAnswers {
            given: gathered
                .nodes
                .into_iter()
                .map(|(node, answer)| (node, typed(answer)))
                .collect(),
            missing: gathered.missing,
        })
    }
}

impl NamespaceInner {
    pub(crate) fn new(
        name: ByteString,
        behaviour: Arc<Behaviour>,
        config: &SharedConfig,
        metrics: &Arc<Metrics>,
        cluster: Option<Arc<Cluster>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            recovery: config
                .recovery
                .as_ref()
                .map(|recovery| NamespaceRecovery::new(recovery, &name)),
            name,
            behaviour,
            hub: Hub::default(),
            acks: Acks::default(),
            broadcasts: Mutex::new(()),
            is_watched: AtomicBool::new(false),
            arriving: AtomicUsize::new(0),
            config: Arc::clone(config),
            metrics: Arc::clone(metrics),
            cluster,
            server_events: OnceLock::new(),
        })
    }

    /// Whether nobody is in it or on the way.
    pub(crate) fn is_deserted(&self) -> bool {
        self.arriving.load(Ordering::Acquire) == 0 && self.hub.len() == 0
    }

    /// Sends an event to one socket.
    pub(crate) fn send_to_one(
        &self,
        socket: &Arc<SocketInner>,
        event: &str,
        args: &Args,
        class: Class,
        compress: bool,
    ) -> Result<(), EmitError> {
        let sent = match &self.recovery {
            None => socket.send(
                encode::event(&self.name, event, args, None, None).with_compress(compress),
                class,
            ),
            Some(recovery) => recovery.publish(
                class,
                || socket.as_targets(),
                |position| {
                    encode::event(&self.name, event, args, None, Some(position))
                        .with_compress(compress)
                },
                |frame| socket.send(frame.clone(), class),
            ),
        };
        crate::socket::sent(socket, sent)
    }

    /// Sends an event to everyone on this node that `targets` means: encoded once, whatever their number. Then hands
    /// `message` to the other nodes, in the same order as other broadcasts.
    pub(crate) fn publish(
        &self,
        targets: &Targets,
        event: &str,
        args: &Args,
        class: Class,
        compress: bool,
        message: Option<ClusterMessage>,
    ) {
        match &self.recovery {
            None => {
                let frame =
                    encode::event(&self.name, event, args, None, None).with_compress(compress);
                self.fan_out(targets, &frame, class, usize::MAX, message, |_| ());
            }
            Some(recovery) => recovery.publish(
                class,
                || targets.clone(),
                |position| {
                    encode::event(&self.name, event, args, None, Some(position))
                        .with_compress(compress)
                },
                |frame| {
                    self.fan_out(targets, frame, class, usize::MAX, message, |_| ());
                },
            ),
        }
    }

    /// Queues a frame for all who are meant and have at most `queued_max` bytes waiting, and returns for how many.
    /// `left_out` is called for the others, and for those for whom it was dropped because it is volatile.
    pub(crate) fn fan_out(
        &self,
        targets: &Targets,
        frame: &Frame,
        class: Class,
        queued_max: usize,
        message: Option<ClusterMessage>,
        mut left_out: impl FnMut(&Arc<SocketInner>),
    ) -> usize {
        // Two broadcasts at once must not reach one recipient in this order and another one in that.
        let _turn = self.broadcasts.lock();
        let now = now();
        let mut queued = 0;
        flush_all(|to_flush| {
            self.hub.for_each(targets, |socket| {
                let session = &socket.session;
                match session.queue_if(now, frame.clone(), class, queued_max) {
                    Some((Sent::Queued, is_idle)) => {
                        queued += 1;
                        if is_idle {
                            to_flush.push(Arc::clone(session));
                        }
                    }
                    Some((Sent::Dropped, _)) | None => left_out(socket),
                    Some((Sent::Closed | Sent::Overflow, _)) => {}
                }
            });
        });
        metrics::add(&self.metrics.events_out, queued);
        // Counted and logged there: whoever broadcasts has reached this node's clients.
        let _ = self.pass_on(message);
        queued
    }

    /// Sends a frame to these sockets, and `message` to the other nodes, in the same order as other broadcasts.
    pub(crate) fn send_each(
        &self,
        sockets: &[Arc<SocketInner>],
        frame: &Frame,
        class: Class,
        message: Option<ClusterMessage>,
    ) -> Result<(), AdapterError> {
        let _turn = self.broadcasts.lock();
        for socket in sockets {
            // A recipient that is gone is answered for by its end.
            let _ = crate::socket::sent(socket, socket.send(frame.clone(), class));
        }
        self.pass_on(message)
    }

    /// Under the lock of the broadcasts, so that other nodes see them in this node's order. The adapter only queues.
    fn pass_on(&self, message: Option<ClusterMessage>) -> Result<(), AdapterError> {
        match (&self.cluster, message) {
            (Some(cluster), Some(message)) => cluster.publish(message),
            _ => Ok(()),
        }
    }

    pub(crate) fn join(
        &self,
        socket: &Arc<SocketInner>,
        room: &ByteString,
        rooms_max: usize,
    ) -> Result<(), JoinError> {
        let changed = self.hub.join(socket, room, rooms_max)?;
        self.tell_joined(socket.id, room, changed);
        Ok(())
    }

    pub(crate) fn leave(&self, socket: &Arc<SocketInner>, room: &str) {
        let changed = self.hub.leave(socket, room);
        self.tell_left(socket.id, &room.into(), changed);
    }

    pub(crate) fn tell_joined(&self, socket: Sid, room: &ByteString, changed: Changed) {
        if changed == Changed::Room {
            self.behaviour.tell_room(RoomEventKind::Created, room, None);
        }
        if changed != Changed::Nothing {
            self.behaviour
                .tell_room(RoomEventKind::Joined, room, Some(socket));
        }
    }

    fn tell_left(&self, socket: Sid, room: &ByteString, changed: Changed) {
        if changed != Changed::Nothing {
            self.behaviour
                .tell_room(RoomEventKind::Left, room, Some(socket));
        }
        if changed == Changed::Room {
            self.behaviour.tell_room(RoomEventKind::Deleted, room, None);
        }
    }

    /// Takes a socket out. `None`: it was not in. Returns the rooms that it was in.
    pub(crate) fn remove(
        &self,
        socket: &Arc<SocketInner>,
        reason: DisconnectReason,
    ) -> Option<Vec<ByteString>> {
        let left = self.hub.remove(socket, |rooms| {
            if let Some(recovery) = &self.recovery {
                recovery.ended(socket, rooms, reason);
            }
        })?;
        let rooms: Vec<ByteString> = left.iter().map(|(room, _)| room.clone()).collect();
        for (room, changed) in &left {
            self.tell_left(socket.id, room, *changed);
        }
        self.acks.abandoned(socket);
        Some(rooms)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Namespace").field(&self.0.name).finish()
    }
}

impl fmt::Debug for NamespaceInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamespaceInner").field(&self.name).finish()
    }
}
