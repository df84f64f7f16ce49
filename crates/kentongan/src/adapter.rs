//! Several nodes as one server: what an adapter owes, and what the server makes of it.
//!
//! Owns the contract ([`Adapter`], [`Inbox`]), the messages between nodes and their codec, the table of requests that
//! wait for other nodes, and the adapter for several nodes in one process. It must not know sessions or transports; how
//! an adapter moves messages is the adapter's business.

pub(crate) mod cluster;
pub(crate) mod codec;
pub(crate) mod config;
pub(crate) mod gather;
pub(crate) mod memory;
pub(crate) mod message;
pub(crate) mod receive;
pub(crate) mod remote;
pub(crate) mod server_event;

use std::{fmt, sync::Arc};

use self::{
    codec::ClusterDecodeError,
    config::ClusterLimits,
    message::{ClusterMessage, NodeId},
};

/// Passes messages between the nodes of a cluster. One adapter serves one node, for all its namespaces.
///
/// The server delivers to its own clients before it publishes, works out who is meant, gathers replies and keeps
/// deadlines. An adapter moves messages and says who is there. `kentongan-testkit` has a suite that checks every
/// obligation below; an adapter that passes it can be used.
///
/// # Obligations
///
/// 1. **Attached once.** `attach` works once. Before it, `publish` is refused with [`AdapterError::NotAttached`]; a
///    second `attach` with [`AdapterError::AlreadyAttached`].
/// 2. **Never waits.** `publish`, `nodes` and `close` return at once: no I/O, no waiting for room. `publish` is called
///    under the lock that orders the broadcasts of a namespace, so it hands the message to a task or thread of the
///    adapter, which encodes and sends it.
/// 3. **Order.** What one node publishes arrives at every node in the order in which `publish` was called, whether it is
///    for all nodes or for one. Between two senders there is no order.
/// 4. **At most once.** A node gets no message twice, and never its own.
/// 5. **Addressed.** A message with `to` reaches that node only.
/// 6. **Unchanged.** A message arrives as it was published.
/// 7. **Nothing is lost silently.** `Ok` means that the message is on its way. When one is lost afterwards, or may have
///    been, somebody is told: the node that may lack messages by [`Signal::LinkLost`] or [`Signal::Gap`], or the
///    publisher by [`Signal::LinkLost`]. When the adapter knows already that it cannot pass a message on, `publish` says
///    so with an error.
/// 8. **Comes back.** After [`Signal::LinkLost`] the adapter tries again by itself and says [`Signal::LinkRestored`].
/// 9. **Members.** `nodes` names the *other* nodes that are up, as far as the adapter knows. Changes are told by
///    [`Signal::NodeJoined`] and [`Signal::NodeLeft`]. A node that dies without a word is found out after a while of
///    the adapter's choosing.
/// 10. **Distrust.** Bytes from outside that are no message, or pass a limit, are handed to [`Inbox::refuse`] and
///     dropped; what follows them is read. Lengths are checked before memory is taken.
/// 11. **Bounded.** Everything that the adapter queues has a limit with a name.
/// 12. **Closed.** After `close`, `publish` says [`AdapterError::Closed`], the other nodes see [`Signal::NodeLeft`], and
///     the inbox gets nothing more once what is being delivered is done. What was published before is still sent.
pub trait Adapter: Send + Sync + 'static {
    /// Enters the cluster as `node`. From now on `inbox` gets what other nodes publish. Called inside a tokio runtime,
    /// where the adapter may start its tasks.
    ///
    /// # Errors
    /// [`AdapterError::AlreadyAttached`], or whatever keeps the adapter from ever working. A cluster that cannot be
    /// reached *now* is no error here: it is a [`Signal::LinkLost`].
    fn attach(
        &self,
        node: NodeId,
        limits: ClusterLimits,
        inbox: Arc<dyn Inbox>,
    ) -> Result<(), AdapterError>;

    /// Sends a message to all other nodes, or to `message.to`. Does not wait.
    ///
    /// # Errors
    /// [`AdapterError`]: the message was not taken and will reach nobody.
    fn publish(&self, message: ClusterMessage) -> Result<(), AdapterError>;

    /// The other nodes that are up, as far as the adapter knows.
    fn nodes(&self) -> Vec<NodeId>;

    /// Leaves the cluster. Called more than once it does nothing more.
    fn close(&self);
}

/// Where an adapter delivers. The server implements it; the calls are quick, never block, and may come from any thread,
/// one at a time for each sender.
pub trait Inbox: Send + Sync {
    /// A message from another node.
    fn deliver(&self, message: ClusterMessage);

    /// Bytes came that were no message. They are counted and logged, and reach nobody.
    fn refuse(&self, error: &ClusterDecodeError);

    /// Something happened to the cluster.
    fn signal(&self, signal: Signal);
}

/// What an adapter has to tell besides messages.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// Another node is there.
    NodeJoined(NodeId),
    /// Another node has left, or is taken for dead.
    NodeLeft(NodeId),
    /// This node has lost the others. From here to [`Signal::LinkRestored`] messages are lost in both directions, and
    /// some that were published shortly before may be.
    LinkLost {
        /// For the log.
        why: String,
    },
    /// The connection is back. What was said meanwhile is lost.
    LinkRestored,
    /// Messages for this node were lost while the connection was up, such as when its queue was full.
    Gap {
        /// Whose, if that is known.
        from: Option<NodeId>,
        /// How many, if that is known.
        messages: Option<u64>,
    },
}

impl Signal {
    /// Stable name for metrics and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NodeJoined(_) => "node_joined",
            Self::NodeLeft(_) => "node_left",
            Self::LinkLost { .. } => "link_lost",
            Self::LinkRestored => "link_restored",
            Self::Gap { .. } => "gap",
        }
    }

    /// Whether it means that messages were, or may have been, lost.
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        matches!(self, Self::LinkLost { .. } | Self::Gap { .. })
    }
}

/// A message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// `attach` has not been called.
    #[error("the adapter is not attached to a node yet")]
    NotAttached,
    /// `attach` was called before.
    #[error("the adapter is attached to a node already: each server needs its own")]
    AlreadyAttached,
    /// `close` was called.
    #[error("the adapter is closed")]
    Closed,
    /// The other nodes cannot be reached now.
    #[error("the other nodes cannot be reached")]
    LinkDown,
    /// More waits to be sent than the adapter may hold.
    #[error("the adapter's queue is full")]
    QueueFull,
    /// The message is larger than [`ClusterLimits::message_bytes_max`].
    #[error("the message may have up to {bytes} bytes encoded, {max} are allowed")]
    TooLarge {
        /// An upper bound for what the message takes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The message names more rooms than [`ClusterLimits::message_rooms_max`].
    #[error("the message names {rooms} rooms, {max} are allowed")]
    TooManyRooms {
        /// Rooms to send to, and rooms to leave out.
        rooms: usize,
        /// The limit.
        max: usize,
    },
    /// The adapter has a fault of its own, said in words for the log.
    #[error("the adapter failed: {0}")]
    Failed(String),
}

impl AdapterError {
    /// Stable name for metrics and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAttached => "adapter_not_attached",
            Self::AlreadyAttached => "adapter_already_attached",
            Self::Closed => "adapter_closed",
            Self::LinkDown => "adapter_link_down",
            Self::QueueFull => "adapter_queue_full",
            Self::TooLarge { .. } => "adapter_too_large",
            Self::TooManyRooms { .. } => "adapter_too_many_rooms",
            Self::Failed(_) => "adapter_failed",
        }
    }
}

/// A node that should have answered and did not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingNode {
    /// Which.
    pub node: NodeId,
    /// Why.
    pub why: Missing,
}

/// Why a node's answer is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// It was silent, or not done, until the deadline.
    #[error("the node did not answer in time")]
    TimedOut,
    /// It left while it was waited for.
    #[error("the node left before it answered")]
    Left,
    /// It could not be asked.
    #[error("the node could not be asked: {0}")]
    NotAsked(AdapterError),
    /// It was not asked: this node waits for [`ClusterLimits::requests_max`] requests already.
    #[error("too many requests to other nodes are pending")]
    TooManyRequests,
    /// Its answer has more than [`ClusterLimits::reply_sockets_max`] sockets; what came before is in the result.
    #[error("the node's answer has too many sockets")]
    TooManySockets,
    /// It had too much to do to answer.
    #[error("the node refused the request because it serves too many")]
    Busy,
}

impl Missing {
    /// Stable name for metrics and logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Left => "left",
            Self::NotAsked(error) => error.code(),
            Self::TooManyRequests => "too_many_requests",
            Self::TooManySockets => "too_many_sockets",
            Self::Busy => "busy",
        }
    }
}

impl fmt::Debug for dyn Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter")
            .field("nodes", &self.nodes())
            .finish()
    }
}
