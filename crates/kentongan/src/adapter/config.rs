//! Settings of a server that is one node of a cluster.

use std::{fmt, sync::Arc, time::Duration};

use super::{Adapter, Signal};

/// Makes a server a node of a cluster.
///
/// Connection state recovery stays on its node: a client that comes back to another node is not recovered, and is told
/// so with the reason ([`Recovery::Unknown`](crate::Recovery::Unknown)).
///
/// ```
/// use std::time::Duration;
/// use kentongan::{ClusterConfig, Config, MemoryCluster};
///
/// let cluster = MemoryCluster::new();
/// let mut settings = ClusterConfig::new(cluster.adapter());
/// settings.request_timeout = Duration::from_secs(2);
/// let mut config = Config::default();
/// config.cluster = Some(settings.on_signal(|signal| println!("{}", signal.code())));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// What connects this node with the others. One adapter per server.
    pub adapter: Arc<dyn Adapter>,
    /// How long `fetch_sockets` waits for other nodes. 5 s, as in Node.
    pub request_timeout: Duration,
    /// What may pass between nodes, and what this node holds for it.
    pub limits: ClusterLimits,
    pub(crate) signals: Option<OnSignal>,
}

pub(crate) type OnSignal = Arc<dyn Fn(&Signal) + Send + Sync>;

/// Limits on what passes between nodes. All are inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterLimits {
    /// Bytes of one message. 8 MiB: a client's largest message, whatever its form, with room to spare.
    pub message_bytes_max: usize,
    /// Rooms that one message may name. 10,000.
    pub message_rooms_max: usize,
    /// Requests of this node that wait for other nodes. 1,000.
    pub requests_max: usize,
    /// Sockets that the answers to one request may name, over all nodes. 100,000.
    pub reply_sockets_max: usize,
    /// Broadcasts of other nodes whose acknowledgements this node collects at a time. 1,000.
    pub served_requests_max: usize,
    /// How long this node collects acknowledgements for another one, whatever that one asks for. 5 minutes.
    pub served_request_time_max: Duration,
    /// Events of `server_side_emit` that wait for their listeners, for each namespace. 1,024.
    pub server_events_max: usize,
}

impl ClusterConfig {
    /// Settings with the defaults.
    #[must_use]
    pub fn new(adapter: Arc<dyn Adapter>) -> Self {
        Self {
            adapter,
            request_timeout: Duration::from_secs(5),
            limits: ClusterLimits::default(),
            signals: None,
        }
    }

    /// Calls `listener` with every [`Signal`]: nodes that come and go, connections lost, messages lost. It must be quick.
    #[must_use]
    pub fn on_signal(mut self, listener: impl Fn(&Signal) + Send + Sync + 'static) -> Self {
        self.signals = Some(Arc::new(listener));
        self
    }
}

impl Default for ClusterLimits {
    fn default() -> Self {
        Self {
            message_bytes_max: 8 << 20,
            message_rooms_max: 10_000,
            requests_max: 1_000,
            reply_sockets_max: 100_000,
            served_requests_max: 1_000,
            served_request_time_max: Duration::from_secs(300),
            server_events_max: 1_024,
        }
    }
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterConfig")
            .field("request_timeout", &self.request_timeout)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
