//! What other nodes want of this one.
//!
//! Invariant: a message is carried out before `deliver` returns, so that what one node says happens here in its order:
//! whoever makes sockets join a room and then asks who is in it gets the right answer. Only waiting is left to tasks:
//! for acknowledgements, and for the listeners of server events.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use bytestring::ByteString;
use kentongan_protocol::{
    engine::session::Class,
    socket::{
        args::{Args, IntoArgs},
        encode,
    },
};
use tokio::{runtime::Handle, sync::mpsc};

use super::{
    Inbox, Signal,
    cluster::Cluster,
    codec::ClusterDecodeError,
    message::{
        AckRequest, Answer, Audience, Body, ClusterMessage, DisconnectScope, Fault, Flags, NodeId,
        RequestId, SocketRecord,
    },
    server_event::{ServerEvent, ServerEventJob, work},
};
use crate::{
    error::AckError,
    id::Sid,
    metrics::RefusalCode,
    namespace::{NamespaceInner, registry::Namespaces, targets::Targets},
    socket::Socket,
};

/// The server's inbox. It does not keep the server alive.
pub(crate) struct ServerInbox {
    pub(crate) namespaces: Weak<Namespaces>,
    pub(crate) runtime: Handle,
}

/// One message, and what is needed to carry it out.
struct Received<'a> {
    cluster: &'a Arc<Cluster>,
    runtime: &'a Handle,
    namespaces: &'a Namespaces,
    name: ByteString,
    from: NodeId,
}

impl Inbox for ServerInbox {
    fn deliver(&self, message: ClusterMessage) {
        let Some(namespaces) = self.namespaces.upgrade() else {
            return;
        };
        let Some(cluster) = &namespaces.cluster else {
            return;
        };
        if message.from == cluster.node {
            return refuse(cluster, &ClusterDecodeError::Own);
        }
        if message.to.as_ref().is_some_and(|to| *to != cluster.node) {
            return refuse(cluster, &ClusterDecodeError::Misdirected);
        }
        let received = Received {
            cluster,
            runtime: &self.runtime,
            namespaces: &namespaces,
            name: message.namespace,
            from: message.from,
        };
        // Listeners of the application run in here: what they do must not harm the adapter.
        if catch_unwind(AssertUnwindSafe(|| received.carry_out(message.body))).is_err() {
            tracing::error!("a listener panicked on a message of another node");
        }
    }

    fn refuse(&self, error: &ClusterDecodeError) {
        if let Some(cluster) = self
            .namespaces
            .upgrade()
            .and_then(|namespaces| namespaces.cluster.clone())
        {
            refuse(&cluster, error);
        }
    }

    fn signal(&self, signal: Signal) {
        let cluster = self
            .namespaces
            .upgrade()
            .and_then(|namespaces| namespaces.cluster.clone());
        let Some(cluster) = cluster else { return };
        if catch_unwind(AssertUnwindSafe(|| cluster.signal(&signal))).is_err() {
            tracing::error!("a listener for signals of the cluster panicked");
        }
    }
}

fn refuse(cluster: &Cluster, error: &ClusterDecodeError) {
    cluster.metrics.refused(RefusalCode::ClusterMessage);
    tracing::warn!(code = error.code(), %error, "a message of another node was refused");
}

impl Received<'_> {
    fn carry_out(self, body: Body) {
        let requests = &self.cluster.requests;
        match body {
            Body::Broadcast {
                audience,
                event,
                args,
                flags,
                ack,
            } => self.broadcast(audience, &event, args, flags, ack),
            Body::SocketsJoin { audience, rooms } => self.join(audience, &rooms),
            Body::SocketsLeave { audience, rooms } => {
                for socket in self.sockets(audience) {
                    rooms.iter().for_each(|room| socket.leave(room));
                }
            }
            Body::DisconnectSockets { audience, scope } => {
                for socket in self.sockets(audience) {
                    match scope {
                        DisconnectScope::Namespace => socket.disconnect(),
                        DisconnectScope::Session => socket.disconnect_session(),
                    }
                }
            }
            Body::FetchSockets { request, audience } => self.fetch(&request, audience),
            Body::ServerSideEmit {
                request,
                event,
                args,
            } => self.server_event(request, event, args),
            // An answer that nobody waits for any more is late, which its request has told already.
            Body::FetchSocketsReply {
                request,
                sockets,
                last,
            } => {
                requests.sockets(&request, &self.from, sockets, last);
            }
            Body::ServerSideReply { request, answer } => {
                requests.node_answered(&request, &self.from, answer);
            }
            Body::BroadcastAckCount {
                request,
                count,
                sockets,
            } => {
                requests.clients_asked(&request, &self.from, count, &sockets);
            }
            Body::BroadcastAck {
                request,
                socket,
                answer,
            } => {
                requests.client_answered(&request, &self.from, socket, answer);
            }
        }
    }

    fn namespace(&self) -> Option<Arc<NamespaceInner>> {
        self.namespaces.find(&self.name)
    }

    fn sockets(&self, audience: Audience) -> Vec<Socket> {
        let targets = Targets::from(audience);
        self.namespace()
            .map(|namespace| namespace.hub.sockets(&targets))
            .unwrap_or_default()
            .into_iter()
            .map(Socket)
            .collect()
    }

    fn reply(&self, body: Body) {
        let message = self
            .cluster
            .message(&self.name, Some(self.from.clone()), body);
        // Counted and logged there; the asking node finds this one missing.
        let _ = self.cluster.publish(message);
    }

    fn broadcast(
        &self,
        audience: Audience,
        event: &str,
        args: Args,
        flags: Flags,
        ack: Option<AckRequest>,
    ) {
        let namespace = self.namespace();
        // The other node may speak the other parser with its clients.
        let args = namespace
            .as_ref()
            .map(|namespace| args.into_args(namespace.config.parser));
        let (namespace, args) = match (namespace, args) {
            (Some(namespace), Some(Ok(args))) => (namespace, args),
            (_, failed) => {
                if let Some(Err(error)) = failed {
                    self.cluster.metrics.refused(RefusalCode::ClusterMessage);
                    tracing::warn!(code = error.code(), %error, "an event of another node cannot be sent");
                }
                if let Some(ack) = ack {
                    self.asked(&ack.request, &[]);
                }
                return;
            }
        };
        let targets = Targets::from(audience);
        if namespace.is_watched.load(Ordering::Acquire) {
            for socket in namespace.hub.sockets(&targets) {
                socket.tell_own_outgoing(event, &args);
            }
        }
        let class = if flags.volatile {
            Class::Volatile
        } else {
            Class::Reliable
        };
        match ack {
            None => namespace.publish(&targets, event, &args, class, flags.compress, None),
            Some(ack) => self.broadcast_with_ack(
                &namespace,
                &targets,
                (event, &args),
                (class, flags.compress),
                ack,
            ),
        }
    }

    fn broadcast_with_ack(
        &self,
        namespace: &Arc<NamespaceInner>,
        targets: &Targets,
        (event, args): (&str, &Args),
        (class, compress): (Class, bool),
        ack: AckRequest,
    ) {
        let Some(serving) = self.cluster.serve() else {
            return self.reply(Body::BroadcastAckCount {
                request: ack.request,
                count: None,
                sockets: Vec::new(),
            });
        };
        let timeout = ack
            .timeout()
            .min(self.cluster.limits.served_request_time_max);
        let sockets = namespace.hub.sockets(targets);
        let ids: Vec<Sid> = sockets.iter().map(|socket| socket.id).collect();
        self.asked(&ack.request, &ids);
        let id = namespace.acks.next_id();
        let forward = self.forward_answers(&ack.request);
        let answers = namespace.acks.expect_forwarded(&sockets, id, forward);
        let frame =
            encode::event(&namespace.name, event, args, Some(id), None).with_compress(compress);
        let _ = namespace.send_each(&sockets, &frame, class, None);
        let namespace = Arc::clone(namespace);
        self.runtime.spawn(async move {
            // Who is silent is known to the node that asked: it has the list and the same deadline.
            answers.collect(timeout).await;
            namespace.acks.forget(id);
            drop(serving);
        });
    }

    /// Tells the node that wants acknowledgements whom to expect them from.
    fn asked(&self, request: &RequestId, ids: &[Sid]) {
        // One list for each part, at least one in all.
        let mut parts = ids.chunks(IDS_PER_MESSAGE);
        let mut part = parts.next().unwrap_or_default();
        loop {
            self.reply(Body::BroadcastAckCount {
                request: request.clone(),
                count: Some(ids.len() as u64),
                sockets: part.to_vec(),
            });
            match parts.next() {
                Some(next) => part = next,
                None => return,
            }
        }
    }

    fn forward_answers(&self, request: &RequestId) -> crate::socket::acks::Forward {
        let cluster = Arc::clone(self.cluster);
        let (name, from, request) = (self.name.clone(), self.from.clone(), request.clone());
        Box::new(move |socket, answer| {
            let answer = match answer {
                Ok(args) => Answer::Given(args),
                Err(AckError::TooManyPending) => Answer::Failed(Fault::TooManyPending),
                Err(_) => Answer::Failed(Fault::Disconnected),
            };
            let body = Body::BroadcastAck {
                request: request.clone(),
                socket,
                answer,
            };
            let _ = cluster.publish(cluster.message(&name, Some(from.clone()), body));
        })
    }

    fn join(&self, audience: Audience, rooms: &[ByteString]) {
        for socket in self.sockets(audience) {
            for room in rooms {
                if let Err(error) = socket.join(room.clone()) {
                    tracing::warn!(%error, socket = %socket.id(), "a socket did not join what another node wanted");
                }
            }
        }
    }

    fn fetch(&self, request: &RequestId, audience: Audience) {
        let part_bytes_max = self.cluster.limits.message_bytes_max / 2;
        let (mut part, mut bytes) = (Vec::new(), 0);
        for socket in self.sockets(audience) {
            let record = SocketRecord {
                id: socket.id(),
                rooms: socket.rooms(),
                data: socket.data(),
            };
            let more = record.bytes_bound();
            if !part.is_empty() && bytes + more > part_bytes_max {
                self.reply(Body::FetchSocketsReply {
                    request: request.clone(),
                    sockets: std::mem::take(&mut part),
                    last: false,
                });
                bytes = 0;
            }
            bytes += more;
            part.push(record);
        }
        self.reply(Body::FetchSocketsReply {
            request: request.clone(),
            sockets: part,
            last: true,
        });
    }

    fn server_event(&self, request: Option<RequestId>, name: ByteString, args: Args) {
        let Some(namespace) = self.namespace() else {
            if let Some(request) = request {
                self.reply(Body::ServerSideReply {
                    request,
                    answer: Answer::Failed(Fault::NoListener),
                });
            }
            return;
        };
        let job = ServerEventJob {
            event: ServerEvent {
                from: self.from.clone(),
                namespace: self.name.clone(),
                name,
                args,
            },
            request,
            behaviour: Arc::clone(&namespace.behaviour),
            cluster: Arc::clone(self.cluster),
            parser: namespace.config.parser,
        };
        let jobs = namespace.server_events.get_or_init(|| {
            let (jobs, waiting) = mpsc::channel(self.cluster.limits.server_events_max.max(1));
            self.runtime.spawn(work(waiting));
            jobs
        });
        if let Err(refused) = jobs.try_send(job) {
            self.cluster.metrics.refused(RefusalCode::ClusterMessage);
            tracing::warn!(
                code = "cluster_server_events_full",
                "a server event was refused: too many are waiting"
            );
            refused.into_inner().answer(Answer::Failed(Fault::Busy));
        }
    }
}

/// About 220 KB, well below every sensible limit on a message.
const IDS_PER_MESSAGE: usize = 10_000;

/// Longest time that `timeout_ms` can say.
pub(crate) fn timeout_ms(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}
