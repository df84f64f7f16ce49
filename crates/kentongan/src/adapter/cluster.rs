//! This node's end of the cluster: publishing, and asking the other nodes.
//!
//! Invariant: whatever the adapter does, an error or a panic, stays here: it is counted, told in the log, and local
//! delivery has happened before.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytestring::ByteString;

use super::{
    Adapter, AdapterError, Inbox, Missing, MissingNode, Signal,
    config::{ClusterConfig, ClusterLimits, OnSignal},
    gather::{Gathered, Requests, Waiting},
    message::{Body, ClusterMessage, NodeId, RequestId},
};
use crate::metrics::{self, Metrics};

pub(crate) struct Cluster {
    pub(crate) node: NodeId,
    adapter: Arc<dyn Adapter>,
    pub(crate) limits: ClusterLimits,
    pub(crate) request_timeout: Duration,
    signals: Option<OnSignal>,
    pub(crate) requests: Requests,
    /// Broadcasts of other nodes whose acknowledgements are being collected here.
    serving: AtomicUsize,
    is_attached: AtomicBool,
    /// The last message was not taken. The log is told of changes only.
    is_failing: AtomicBool,
    pub(crate) metrics: Arc<Metrics>,
}

/// A request to other nodes.
pub(crate) struct Request<'a> {
    cluster: &'a Cluster,
    opened: Result<Waiting<'a>, Vec<MissingNode>>,
}

/// A place among the requests that this node serves.
pub(crate) struct Serving(Arc<Cluster>);

impl Cluster {
    pub(crate) fn new(config: &ClusterConfig, metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            node: NodeId::random(),
            adapter: Arc::clone(&config.adapter),
            limits: config.limits.clone(),
            request_timeout: config.request_timeout,
            signals: config.signals.clone(),
            requests: Requests::default(),
            serving: AtomicUsize::new(0),
            is_attached: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
            metrics: Arc::clone(metrics),
        })
    }

    pub(crate) fn attach(&self, inbox: Arc<dyn Inbox>) -> Result<(), AdapterError> {
        self.adapter
            .attach(self.node.clone(), self.limits.clone(), inbox)?;
        self.is_attached.store(true, Ordering::Release);
        Ok(())
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        // Somebody else's code: its panic is not the caller's.
        catch_unwind(AssertUnwindSafe(|| self.adapter.nodes())).unwrap_or_default()
    }

    pub(crate) fn close(&self) {
        if !self.is_attached.load(Ordering::Acquire) {
            // The adapter is another server's.
            return;
        }
        if catch_unwind(AssertUnwindSafe(|| self.adapter.close())).is_err() {
            tracing::error!("the adapter panicked when it was closed");
        }
    }

    pub(crate) fn message(
        &self,
        namespace: &ByteString,
        to: Option<NodeId>,
        body: Body,
    ) -> ClusterMessage {
        ClusterMessage::new(self.node.clone(), to, namespace.clone(), body)
    }

    /// Hands a message to the adapter. An error is counted and logged here; the result is for requests only.
    pub(crate) fn publish(&self, message: ClusterMessage) -> Result<(), AdapterError> {
        let published = self.within_limits(&message).and_then(|()| {
            catch_unwind(AssertUnwindSafe(|| self.adapter.publish(message)))
                .unwrap_or_else(|_| Err(AdapterError::Failed("it panicked".to_owned())))
        });
        match &published {
            Ok(()) => {
                if self.is_failing.load(Ordering::Relaxed)
                    && self.is_failing.swap(false, Ordering::Relaxed)
                {
                    tracing::info!("messages for other nodes are taken again");
                }
            }
            Err(error) => {
                metrics::add(&self.metrics.adapter_failures, 1);
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(code = error.code(), %error, "other nodes were not reached");
                }
            }
        }
        published
    }

    fn within_limits(&self, message: &ClusterMessage) -> Result<(), AdapterError> {
        let (rooms, max) = (message.rooms_len(), self.limits.message_rooms_max);
        if rooms > max {
            return Err(AdapterError::TooManyRooms { rooms, max });
        }
        let (bytes, max) = (message.bytes_bound(), self.limits.message_bytes_max);
        if bytes > max {
            return Err(AdapterError::TooLarge { bytes, max });
        }
        Ok(())
    }

    /// Opens a request to `to`, or to every other node. Whoever opened it publishes the message that asks.
    pub(crate) fn request(&self, to: Option<&NodeId>) -> Request<'_> {
        let nodes = match to {
            Some(node) => vec![node.clone()],
            None => self.nodes(),
        };
        let limits = &self.limits;
        let opened = self
            .requests
            .open(&nodes, limits.requests_max, limits.reply_sockets_max);
        Request {
            cluster: self,
            opened: opened.map_err(|why| {
                let missing = |node| MissingNode {
                    node,
                    why: why.clone(),
                };
                nodes.into_iter().map(missing).collect()
            }),
        }
    }

    /// Takes a place among the requests of other nodes that are served. `None`: there is none.
    pub(crate) fn serve(self: &Arc<Self>) -> Option<Serving> {
        let max = self.limits.served_requests_max;
        self.serving
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |serving| {
                (serving < max).then_some(serving + 1)
            })
            .ok()
            .map(|_| Serving(Arc::clone(self)))
    }

    pub(crate) fn signal(&self, signal: &Signal) {
        match signal {
            Signal::NodeJoined(node) => tracing::info!(%node, "a node has joined"),
            Signal::NodeLeft(node) => {
                tracing::info!(%node, "a node has left");
                self.requests.node_left(node);
            }
            Signal::LinkRestored => {
                tracing::info!("the other nodes can be reached again; what they said is lost");
            }
            Signal::LinkLost { .. } | Signal::Gap { .. } => {
                metrics::add(&self.metrics.cluster_losses, 1);
                tracing::warn!(
                    code = signal.code(),
                    ?signal,
                    "messages between nodes are lost"
                );
            }
        }
        if let Some(listener) = &self.signals {
            listener(signal);
        }
    }
}

impl Request<'_> {
    /// Under which id the other nodes answer. `None`: too many requests wait already, so nobody can be asked.
    pub(crate) fn id(&self) -> Option<RequestId> {
        self.opened.as_ref().ok().map(|waiting| waiting.id.clone())
    }

    /// What became of the message that asks.
    pub(crate) fn published(&self, published: Result<(), AdapterError>) {
        if let (Ok(waiting), Err(error)) = (&self.opened, published) {
            waiting.not_asked(&Missing::NotAsked(error));
        }
    }

    /// Waits for the answers.
    pub(crate) async fn collect(self, timeout: Duration) -> Gathered {
        let gathered = match self.opened {
            Ok(waiting) => waiting.collect(timeout).await,
            Err(missing) => Gathered {
                missing,
                ..Gathered::default()
            },
        };
        let missing = &self.cluster.metrics.cluster_answers_missing;
        metrics::add(missing, gathered.missing.len());
        gathered
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.close();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Ordering::AcqRel);
    }
}
