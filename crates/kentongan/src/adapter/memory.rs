//! The adapter for several nodes in one process, for tests and for programs that run more than one server.
//!
//! It does what an adapter with a wire does: messages pass through the codec, queues are bounded, and its links can be
//! cut. Each node has two tasks, one that encodes and hands out what its server publishes, one that decodes and delivers
//! what the others sent; so `publish` only queues.

use std::{
    collections::VecDeque,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    Adapter, AdapterError, Inbox, Signal,
    codec::{decode, encode},
    config::ClusterLimits,
    message::{ClusterMessage, NodeId},
};

/// A cluster whose nodes are servers of this process. Cheap to clone; all clones are one cluster.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use kentongan::{ClusterConfig, Config, MemoryCluster, Server};
///
/// let cluster = MemoryCluster::new();
/// let node = || {
///     let mut config = Config::default();
///     config.cluster = Some(ClusterConfig::new(cluster.adapter()));
///     Server::new(config)
/// };
/// let (first, second) = (node()?, node()?);
/// assert_eq!(first.nodes_count(), 2);
/// // Reaches the clients of both.
/// second.of("/").emit("news", "hello")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryCluster(Arc<Shared>);

/// What one node of a [`MemoryCluster`] may queue. All are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryLimits {
    /// Messages that wait to be sent, and messages that wait to be delivered. 65,536 each.
    pub queue_messages_max: usize,
    /// Bytes of them. 64 MiB each.
    pub queue_bytes_max: usize,
}

/// The adapter of one node of a [`MemoryCluster`].
pub struct MemoryAdapter {
    shared: Arc<Shared>,
    node: OnceLock<Arc<Node>>,
}

struct Shared {
    limits: MemoryLimits,
    nodes: Mutex<Vec<Arc<Node>>>,
}

struct Node {
    id: NodeId,
    limits: ClusterLimits,
    inbox: Arc<dyn Inbox>,
    outgoing: Queue<ClusterMessage>,
    incoming: Queue<Bytes>,
    /// Neither gets nor gives messages.
    is_cut: AtomicBool,
    is_closed: AtomicBool,
    /// The others take it for dead.
    is_lost: AtomicBool,
}

/// Items in order, and signals between them. Bounded for items; signals that say the same are one.
struct Queue<T> {
    state: Mutex<QueueState<T>>,
    changed: Notify,
    limits: MemoryLimits,
}

struct QueueState<T> {
    items: VecDeque<Item<T>>,
    messages: usize,
    bytes: usize,
    is_closed: bool,
}

enum Item<T> {
    Message { message: T, bytes: usize },
    Signal(Signal),
}

impl MemoryCluster {
    /// A cluster without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(MemoryLimits::default())
    }

    /// A cluster without nodes, whose nodes may queue this much.
    #[must_use]
    pub fn with_limits(limits: MemoryLimits) -> Self {
        Self(Arc::new(Shared {
            limits,
            nodes: Mutex::default(),
        }))
    }

    /// An adapter for one more node.
    #[must_use]
    pub fn adapter(&self) -> Arc<MemoryAdapter> {
        Arc::new(MemoryAdapter {
            shared: Arc::clone(&self.0),
            node: OnceLock::new(),
        })
    }

    // --- faults, for tests ---

    /// Cuts a node off. The node is told; the others are not, as with a broken connection to a broker.
    pub fn cut(&self, node: &NodeId) {
        if let Some(node) = self.0.find(node) {
            node.is_cut.store(true, Ordering::Release);
            node.incoming.clear();
            node.incoming.signal(Signal::LinkLost {
                why: "cut by a test".to_owned(),
            });
        }
    }

    /// Connects a node again.
    pub fn restore(&self, node: &NodeId) {
        let Some(node) = self.0.find(node) else {
            return;
        };
        // What waited to be sent when the link was cut is lost, as its `LinkLost` said.
        node.outgoing.clear();
        node.is_cut.store(false, Ordering::Release);
        node.incoming.signal(Signal::LinkRestored);
        if node.is_lost.swap(false, Ordering::AcqRel) {
            self.0
                .tell_others(&node.id, &Signal::NodeJoined(node.id.clone()));
        }
    }

    /// Makes the other nodes find out that a node which was cut off is gone.
    pub fn lose(&self, node: &NodeId) {
        if let Some(node) = self.0.find(node)
            && !node.is_lost.swap(true, Ordering::AcqRel)
        {
            self.0
                .tell_others(&node.id, &Signal::NodeLeft(node.id.clone()));
        }
    }

    /// Gives a node bytes as if they had come from another one.
    pub fn inject(&self, node: &NodeId, bytes: Bytes) {
        if let Some(node) = self.0.find(node) {
            node.take(bytes, None);
        }
    }
}

impl Default for MemoryCluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self {
            queue_messages_max: 65_536,
            queue_bytes_max: 64 << 20,
        }
    }
}

impl Adapter for MemoryAdapter {
    fn attach(
        &self,
        node: NodeId,
        limits: ClusterLimits,
        inbox: Arc<dyn Inbox>,
    ) -> Result<(), AdapterError> {
        let node = Arc::new(Node {
            id: node,
            limits,
            inbox,
            outgoing: Queue::new(self.shared.limits),
            incoming: Queue::new(self.shared.limits),
            is_cut: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
        });
        self.node
            .set(Arc::clone(&node))
            .map_err(|_| AdapterError::AlreadyAttached)?;
        let others = {
            let mut nodes = self.shared.nodes.lock();
            let others: Vec<_> = nodes.clone();
            nodes.push(Arc::clone(&node));
            others
        };
        for other in others {
            other.incoming.signal(Signal::NodeJoined(node.id.clone()));
            node.incoming.signal(Signal::NodeJoined(other.id.clone()));
        }
        tokio::spawn(send(Arc::downgrade(&self.shared), Arc::clone(&node)));
        tokio::spawn(deliver(node));
        Ok(())
    }

    fn publish(&self, message: ClusterMessage) -> Result<(), AdapterError> {
        let node = self.node.get().ok_or(AdapterError::NotAttached)?;
        if node.is_closed.load(Ordering::Acquire) {
            return Err(AdapterError::Closed);
        }
        if node.is_cut.load(Ordering::Acquire) {
            return Err(AdapterError::LinkDown);
        }
        let (bytes, max) = (message.bytes_bound(), node.limits.message_bytes_max);
        if bytes > max {
            return Err(AdapterError::TooLarge { bytes, max });
        }
        if node.outgoing.push(message, bytes) {
            Ok(())
        } else {
            Err(AdapterError::QueueFull)
        }
    }

    fn nodes(&self) -> Vec<NodeId> {
        let own = self.node.get().map(|node| &node.id);
        let nodes = self.shared.nodes.lock();
        nodes
            .iter()
            .filter(|node| Some(&node.id) != own && !node.is_lost.load(Ordering::Acquire))
            .map(|node| node.id.clone())
            .collect()
    }

    fn close(&self) {
        if let Some(node) = self.node.get()
            && !node.is_closed.swap(true, Ordering::AcqRel)
        {
            node.incoming.close();
            // What was published before is sent still; then the task takes the node out.
            node.outgoing.close();
        }
    }
}

impl Drop for MemoryAdapter {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn find(&self, id: &NodeId) -> Option<Arc<Node>> {
        self.nodes
            .lock()
            .iter()
            .find(|node| node.id == *id)
            .cloned()
    }

    fn tell_others(&self, id: &NodeId, signal: &Signal) {
        let nodes = self.nodes.lock().clone();
        for other in nodes.iter().filter(|other| other.id != *id) {
            if !other.is_cut.load(Ordering::Acquire) {
                other.incoming.signal(signal.clone());
            }
        }
    }
}

impl Node {
    /// Puts bytes into the incoming queue; what it has no room for is told to the node.
    fn take(&self, bytes: Bytes, from: Option<&NodeId>) {
        if self.is_cut.load(Ordering::Acquire) {
            // Told with `LinkLost`.
            return;
        }
        let len = bytes.len();
        if !self.incoming.push(bytes, len) {
            self.incoming.gap(from);
        }
    }
}

/// Hands out what a node publishes, until it is closed.
async fn send(shared: Weak<Shared>, node: Arc<Node>) {
    while let Some(item) = node.outgoing.next().await {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let Item::Message { message, .. } = item else {
            continue;
        };
        if node.is_cut.load(Ordering::Acquire) {
            continue;
        }
        let bytes = match encode(&message, &node.limits) {
            Ok(bytes) => bytes,
            Err(error) => {
                // `publish` has held the message against its bound, so this is a message that cannot be encoded at all.
                node.incoming.signal(Signal::LinkLost {
                    why: error.to_string(),
                });
                node.incoming.signal(Signal::LinkRestored);
                continue;
            }
        };
        let nodes = shared.nodes.lock().clone();
        for other in nodes.iter().filter(|other| other.id != node.id) {
            if message.to.as_ref().is_none_or(|to| *to == other.id) {
                other.take(bytes.clone(), Some(&node.id));
            }
        }
    }
    if let Some(shared) = shared.upgrade() {
        shared.nodes.lock().retain(|each| each.id != node.id);
        if !node.is_lost.load(Ordering::Acquire) {
            shared.tell_others(&node.id, &Signal::NodeLeft(node.id.clone()));
        }
    }
}

/// Delivers what has come for a node, until it is closed.
async fn deliver(node: Arc<Node>) {
    while let Some(item) = node.incoming.next().await {
        if node.is_closed.load(Ordering::Acquire) {
            return;
        }
        match item {
            Item::Signal(signal) => node.inbox.signal(signal),
            Item::Message { message, .. } => match decode(&message, &node.limits) {
                Ok(message) => node.inbox.deliver(message),
                Err(error) => node.inbox.refuse(&error),
            },
        }
        // A long queue must not keep the thread from the clients.
        tokio::task::consume_budget().await;
    }
}

impl<T> Queue<T> {
    fn new(limits: MemoryLimits) -> Self {
        Self {
            state: Mutex::new(QueueState {
                items: VecDeque::new(),
                messages: 0,
                bytes: 0,
                is_closed: false,
            }),
            changed: Notify::new(),
            limits,
        }
    }

    /// `false`: there is no room.
    fn push(&self, message: T, bytes: usize) -> bool {
        let mut state = self.state.lock();
        if state.is_closed
            || state.messages >= self.limits.queue_messages_max
            || state.bytes.saturating_add(bytes) > self.limits.queue_bytes_max
        {
            return false;
        }
        state.messages += 1;
        state.bytes += bytes;
        state.items.push_back(Item::Message { message, bytes });
        drop(state);
        self.changed.notify_one();
        true
    }

    fn signal(&self, signal: Signal) {
        self.state.lock().items.push_back(Item::Signal(signal));
        self.changed.notify_one();
    }

    /// Tells of one more lost message; losses in a row are told together.
    fn gap(&self, from: Option<&NodeId>) {
        let mut state = self.state.lock();
        for item in state.items.iter_mut().rev() {
            let Item::Signal(Signal::Gap {
                from: whose,
                messages,
            }) = item
            else {
                break;
            };
            if whose.as_ref() == from {
                *messages = messages.map(|messages| messages + 1);
                return;
            }
        }
        state.items.push_back(Item::Signal(Signal::Gap {
            from: from.cloned(),
            messages: Some(1),
        }));
        drop(state);
        self.changed.notify_one();
    }

    /// Drops the messages; signals stay.
    fn clear(&self) {
        let mut state = self.state.lock();
        state.items.retain(|item| matches!(item, Item::Signal(_)));
        state.messages = 0;
        state.bytes = 0;
    }

    /// Nothing more is taken.
    fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// The next item. `None`: closed, and nothing is left.
    async fn next(&self) -> Option<Item<T>> {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(item) = state.items.pop_front() {
                    if let Item::Message { bytes, .. } = &item {
                        state.messages -= 1;
                        state.bytes -= bytes;
                    }
                    return Some(item);
                }
                if state.is_closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }
}
