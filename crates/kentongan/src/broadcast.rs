//! Sending to many, on all nodes or on this one: whom, how, and what they answer.
//!
//! Invariant: this node's clients come first; whether other nodes are reached changes nothing for them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytestring::ByteString;
use futures_util::future::join;
use kentongan_protocol::{
    engine::session::Class,
    socket::{
        args::{Args, FromArgs, IntoArgs},
        encode,
    },
};

use crate::{
    adapter::{
        Missing, MissingNode,
        cluster::Cluster,
        gather::Gathered,
        message::{
            AckRequest, Answer, Body, ClusterMessage, DisconnectScope, Fault, Flags, NodeId,
        },
        receive::timeout_ms,
        remote::{AnySocket, FetchedSockets, RemoteSocket, SocketInfo},
    },
    error::{AckError, EmitError, JoinError},
    id::Sid,
    metrics,
    namespace::{NamespaceInner, targets::Targets},
    socket::{Socket, SocketInner, outgoing},
};

/// Sockets of a namespace, on all nodes, and flags for what is sent to them. Nothing happens before `emit` or one of its
/// kin.
#[derive(Debug, Clone)]
#[must_use = "a broadcast does nothing before it emits"]
pub struct Broadcast {
    namespace: Arc<NamespaceInner>,
    targets: Targets,
    reach: Reach,
    class: Class,
    compress: bool,
    timeout: Duration,
}

/// On which nodes the sockets are that are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All.
    Everywhere,
    /// This one only.
    ThisNode,
    /// That one only, which is not this one.
    Node(NodeId),
}

/// What the recipients of a broadcast answered.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answers<T> {
    /// One entry per recipient that answered, left, or answered with something else than a `T`.
    pub given: Vec<(Sid, Result<T, AckError>)>,
    /// Those who were silent until the deadline, as far as their nodes have named them.
    pub missing: Vec<Sid>,
    /// Nodes that did not say whom they asked, so that their recipients are in neither list; with the reason.
    pub missing_nodes: Vec<MissingNode>,
}

/// Whom a broadcast at the recipients' pace has reached.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Paced {
    /// How many it was queued for.
    pub sent: usize,
    /// Those who got nothing, because too much waits for them.
    pub left_out: Vec<Socket>,
}

/// Whom a volatile broadcast has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reached {
    /// How many it was queued for.
    pub sent: usize,
    /// For how many it was dropped, because their transport was not writable.
    pub dropped: usize,
}

impl<T> Answers<T> {
    /// The answers alone.
    pub fn into_values(self) -> Vec<T> {
        self.given
            .into_iter()
            .filter_map(|(_, answer)| answer.ok())
            .collect()
    }
}

impl Broadcast {
    pub(crate) fn new(namespace: Arc<NamespaceInner>) -> Self {
        let timeout = namespace.config.ack_timeout;
        Self {
            namespace,
            targets: Targets::default(),
            reach: Reach::Everywhere,
            class: Class::Reliable,
            compress: true,
            timeout,
        }
    }

    pub(crate) fn but_not(mut self, socket: Sid) -> Self {
        self.targets.except_socket = Some(socket);
        self
    }

    pub(crate) fn reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// Also those in `room`: a name, or a socket's id.
    pub fn to(mut self, room: impl Into<ByteString>) -> Self {
        self.targets.rooms.push(room.into());
        self
    }

    /// Not those in `room`.
    pub fn except(mut self, room: impl Into<ByteString>) -> Self {
        self.targets.except.push(room.into());
        self
    }

    /// Only the sockets that are connected to this node. Other nodes are not told.
    ///
    /// ```
    /// # let server = kentongan::Server::new(kentongan::Config::default())?;
    /// server.of("/").to("news").local().emit("restart", "this node only")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn local(self) -> Self {
        self.reach(Reach::ThisNode)
    }

    /// Drop it for those whose transport is not writable now.
    pub fn volatile(mut self) -> Self {
        self.class = Class::Volatile;
        self
    }

    /// Whether it may be compressed.
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// How long to wait for answers.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the event. It is encoded once, whatever the number of recipients. This node's clients come first; then it
    /// goes to the other nodes.
    ///
    /// # Errors
    /// [`EmitError`] when it cannot be sent to anyone. A recipient that is too slow is closed, recoverable, and counted.
    /// Other nodes that are not reached are no error here: that is counted (`adapter_failures`) and logged.
    pub fn emit(self, event: &str, data: impl IntoArgs) -> Result<(), EmitError> {
        let args = self.prepare(event, data)?;
        let message = self.message(|| self.event(event, &args, None));
        if self.is_here() {
            self.namespace.publish(
                &self.targets,
                event,
                &args,
                self.class,
                self.compress,
                message,
            );
        } else {
            self.publish(message);
        }
        Ok(())
    }

    /// Sends the event to those of this node's clients for whom at most `queued_max` bytes wait, and names the others, who
    /// get nothing: nobody is closed for being slow. Whoever calls it keeps what those have missed, and gives it to them
    /// when they have caught up ([`Socket::drained`]). The event has no position, and is not kept for connection state
    /// recovery. Broadcasts at the recipients' pace are in order with all others.
    ///
    /// ```
    /// # let server = kentongan::Server::new(kentongan::Config::default())?;
    /// let paced = server.of("/").to("news").emit_paced("headline", "rain", 256 * 1024)?;
    /// for socket in paced.left_out {
    ///     socket.leave("news"); // It comes back when it has read what waits.
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`EmitError`] when it cannot be sent to anyone.
    pub fn emit_paced(
        self,
        event: &str,
        data: impl IntoArgs,
        queued_max: usize,
    ) -> Result<Paced, EmitError> {
        let mut left_out = Vec::new();
        let sent = self.emit_here(event, data, Class::Reliable, queued_max, |socket| {
            left_out.push(Socket(Arc::clone(socket)));
        })?;
        Ok(Paced { sent, left_out })
    }

    /// Sends the event to those of this node's clients whose transport is writable now, and counts the others. It is not
    /// kept for connection state recovery.
    ///
    /// # Errors
    /// [`EmitError`] when it cannot be sent to anyone.
    pub fn emit_volatile(self, event: &str, data: impl IntoArgs) -> Result<Reached, EmitError> {
        let mut dropped = 0;
        let sent = self.emit_here(event, data, Class::Volatile, usize::MAX, |_| dropped += 1)?;
        Ok(Reached { sent, dropped })
    }

    fn emit_here(
        self,
        event: &str,
        data: impl IntoArgs,
        class: Class,
        queued_max: usize,
        left_out: impl FnMut(&Arc<SocketInner>),
    ) -> Result<usize, EmitError> {
        let args = self.prepare(event, data)?;
        let frame = encode::event(&self.namespace.name, event, &args, None, None)
            .with_compress(self.compress);
        Ok(self
            .namespace
            .fan_out(&self.targets, &frame, class, queued_max, None, left_out))
    }

    /// Sends the event and collects the answers until all are there or the time is up. No recipients, no waiting; but
    /// other nodes have to say that they have none. A node that is missing because it was not asked
    /// ([`Missing::NotAsked`], [`Missing::TooManyRequests`], [`Missing::Busy`]) has not sent the event to its clients.
    ///
    /// # Errors
    /// [`EmitError`] when it cannot be sent to anyone.
    pub async fn emit_with_ack<T: FromArgs>(
        self,
        event: &str,
        data: impl IntoArgs,
    ) -> Result<Answers<T>, EmitError> {
        let args = self.prepare(event, data)?;
        let namespace = &self.namespace;
        let id = namespace.acks.next_id();
        let sockets = if self.is_here() {
            namespace.hub.sockets(&self.targets)
        } else {
            Vec::new()
        };
        let (entry, answers) = namespace.acks.expect_many(&sockets, id);
        let frame = encode::event(&namespace.name, event, &args, Some(id), None)
            .with_compress(self.compress);
        let request = self
            .cluster()
            .map(|cluster| cluster.request(self.only_node()));
        let message = request.as_ref().and_then(|request| {
            let ack = AckRequest {
                request: request.id()?,
                timeout_ms: timeout_ms(self.timeout),
            };
            self.message(|| self.event(event, &args, Some(ack)))
        });
        let published = namespace.send_each(&sockets, &frame, self.class, message);
        let collected = answers.collect(self.timeout);
        let ((given, missing), remote) = match request {
            None => (collected.await, Gathered::default()),
            Some(request) => {
                request.published(published);
                join(collected, request.collect(self.timeout)).await
            }
        };
        drop(entry);
        let missing_here = missing.len();
        let answers = Answers::of(given, missing, remote);
        metrics::add(&namespace.metrics.acks_timed_out, missing_here);
        Ok(answers)
    }

    /// The sockets of this node that are meant. Cheap, and asks nobody.
    #[must_use]
    pub fn sockets(&self) -> Vec<Socket> {
        if !self.is_here() {
            return Vec::new();
        }
        self.namespace
            .hub
            .sockets(&self.targets)
            .into_iter()
            .map(Socket)
            .collect()
    }

    /// The sockets that are meant, on all nodes. Waits for the other nodes, for at most
    /// [`ClusterConfig::request_timeout`](crate::ClusterConfig::request_timeout); which of them did not answer is in the
    /// result. What this node has done to other nodes' sockets before (joining, leaving) is seen.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// # let server = kentongan::Server::new(kentongan::Config::default())?;
    /// let found = server.of("/").to("news").fetch_sockets().await;
    /// for socket in found {
    ///     socket.socket.emit("hello", socket.rooms.len())?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn fetch_sockets(&self) -> FetchedSockets {
        let mut sockets: Vec<_> = self.sockets().into_iter().map(SocketInfo::local).collect();
        let Some(cluster) = self.cluster() else {
            return FetchedSockets {
                sockets,
                missing: Vec::new(),
            };
        };
        let request = cluster.request(self.only_node());
        if let Some(id) = request.id() {
            let body = Body::FetchSockets {
                request: id,
                audience: self.targets.audience(),
            };
            let to = self.only_node().cloned();
            request.published(cluster.publish(cluster.message(&self.namespace.name, to, body)));
        }
        let gathered = request.collect(cluster.request_timeout).await;
        let remote = gathered
            .sockets
            .into_iter()
            .map(|(node, record)| SocketInfo {
                id: record.id,
                rooms: record.rooms,
                data: record.data,
                socket: AnySocket::Remote(RemoteSocket::new(&self.namespace, node, record.id)),
            });
        sockets.extend(remote);
        FetchedSockets {
            sockets,
            missing: gathered.missing,
        }
    }

    /// Makes the sockets join `room`, on all nodes; on other nodes a little later.
    ///
    /// # Errors
    /// [`JoinError::NameTooLong`], and then nobody joins; or the first [`JoinError::TooManyRooms`] of a socket of this
    /// node, and then all others do. Those who have just left are passed over.
    pub fn sockets_join(&self, room: impl Into<ByteString>) -> Result<(), JoinError> {
        let room = room.into();
        if room.len() > self.namespace.config.held.room_bytes_max {
            return Err(JoinError::NameTooLong);
        }
        let mut joined = Ok(());
        for socket in self.sockets() {
            match socket.join(room.clone()) {
                Ok(()) | Err(JoinError::Closed) => {}
                Err(error) => joined = joined.and(Err(error)),
            }
        }
        self.publish(self.message(|| Body::SocketsJoin {
            audience: self.targets.audience(),
            rooms: vec![room],
        }));
        joined
    }

    /// Makes the sockets leave `room`, on all nodes; on other nodes a little later.
    pub fn sockets_leave(&self, room: &str) {
        for socket in self.sockets() {
            socket.leave(room);
        }
        self.publish(self.message(|| Body::SocketsLeave {
            audience: self.targets.audience(),
            rooms: vec![room.into()],
        }));
    }

    /// Sends the sockets out of the namespace, on all nodes; on other nodes a little later.
    pub fn disconnect_sockets(&self) {
        for socket in self.sockets() {
            socket.disconnect();
        }
        self.publish_disconnect(DisconnectScope::Namespace);
    }

    /// Closes the connections of the sockets, on all nodes; on other nodes a little later.
    pub fn disconnect_sessions(&self) {
        for socket in self.sockets() {
            socket.disconnect_session();
        }
        self.publish_disconnect(DisconnectScope::Session);
    }

    fn publish_disconnect(&self, scope: DisconnectScope) {
        self.publish(self.message(|| Body::DisconnectSockets {
            audience: self.targets.audience(),
            scope,
        }));
    }

    /// Whether sockets of this node are meant.
    fn is_here(&self) -> bool {
        !matches!(self.reach, Reach::Node(_))
    }

    fn only_node(&self) -> Option<&NodeId> {
        match &self.reach {
            Reach::Node(node) => Some(node),
            Reach::Everywhere | Reach::ThisNode => None,
        }
    }

    /// The way to other nodes, if they are meant.
    fn cluster(&self) -> Option<&Arc<Cluster>> {
        match self.reach {
            Reach::ThisNode => None,
            Reach::Everywhere | Reach::Node(_) => self.namespace.cluster.as_ref(),
        }
    }

    /// A message for the nodes that are meant; without any, nothing is made.
    fn message(&self, body: impl FnOnce() -> Body) -> Option<ClusterMessage> {
        let cluster = self.cluster()?;
        Some(cluster.message(&self.namespace.name, self.only_node().cloned(), body()))
    }

    fn publish(&self, message: Option<ClusterMessage>) {
        if let (Some(cluster), Some(message)) = (&self.namespace.cluster, message) {
            // Counted and logged there.
            let _ = cluster.publish(message);
        }
    }

    fn event(&self, event: &str, args: &Args, ack: Option<AckRequest>) -> Body {
        Body::Broadcast {
            audience: self.targets.audience(),
            event: event.into(),
            args: args.clone(),
            flags: Flags {
                volatile: self.class == Class::Volatile,
                compress: self.compress,
            },
            ack,
        }
    }

    fn prepare(&self, event: &str, data: impl IntoArgs) -> Result<Args, EmitError> {
        let args = outgoing(event, data, &self.namespace.config)?;
        self.namespace
            .behaviour
            .listeners()
            .tell_outgoing(event, &args);
        if self.namespace.is_watched.load(Ordering::Acquire) {
            for socket in self.sockets() {
                socket.0.tell_own_outgoing(event, &args);
            }
        }
        Ok(args)
    }
}

impl<T: FromArgs> Answers<T> {
    fn of(
        given: Vec<(Sid, Result<Args, AckError>)>,
        mut missing: Vec<Sid>,
        remote: Gathered,
    ) -> Self {
        let read = |answer: Args| -> Result<T, AckError> {
            T::from_args(&answer).map_err(AckError::Answer)
        };
        let mut all: Vec<_> = given
            .into_iter()
            .map(|(id, answer)| (id, answer.and_then(read)))
            .collect();
        all.extend(remote.clients.into_iter().map(|(id, answer)| {
            let answer = match answer {
                Answer::Given(args) => read(args),
                Answer::Failed(Fault::Disconnected) => Err(AckError::Disconnected),
                Answer::Failed(Fault::TooManyPending) => Err(AckError::TooManyPending),
                Answer::Failed(_) => Err(AckError::Node(Missing::Busy)),
            };
            (id, answer)
        }));
        missing.extend(remote.silent);
        Self {
            given: all,
            missing,
            missing_nodes: remote.missing,
        }
    }
}
