//! The server: its namespaces, its service for hyper, axum and tower, and its end.

use std::{future::Future, sync::Arc, time::Duration};

use bytestring::ByteString;
use futures_util::FutureExt;
use kentongan_protocol::socket::args::Args;
use regex::Regex;
use tokio::runtime::Handle;

use crate::{
    adapter::{AdapterError, message::NodeId, receive::ServerInbox},
    config::{Config, ConfigError},
    http::service::{SocketIoLayer, SocketIoService},
    metrics::Metrics,
    namespace::{
        Namespace, NamespaceInner,
        registry::{Allows, Namespaces},
    },
    session::{
        engine::{Application, Engine},
        raw::RawHandler,
    },
};

/// A Socket.IO server. Cheap to clone; all clones are one server.
///
/// ```
/// use kentongan::{Ack, Config, Data, Server, Socket};
///
/// let server = Server::new(Config::default())?;
/// server.of("/").on("greet", |socket: Socket, Data(name): Data<String>, ack: Ack| async move {
///     ack.send(format!("hello {name}"));
///     let _ = socket.broadcast().emit("joined", name);
/// });
/// let router: axum::Router = axum::Router::new().route_service("/socket.io/", server.service());
/// # let _ = router;
/// # Ok::<(), kentongan::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Server {
    engine: Arc<Engine>,
    namespaces: Arc<Namespaces>,
}

/// A bare Engine.IO server: messages without Socket.IO on top.
#[derive(Clone)]
pub struct RawServer {
    engine: Arc<Engine>,
}

/// Namespaces that are made when a client asks for a fitting name. They share these listeners.
#[derive(Debug, Clone)]
pub struct DynamicNamespaces {
    template: Namespace,
}

impl Server {
    /// A server with these settings.
    ///
    /// # Errors
    /// [`ConfigError`] names the first contradiction. With [`Config::cluster`], also when this is not called inside a
    /// tokio runtime, or when the adapter belongs to another server already.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        let config = Arc::new(config);
        let metrics = Arc::<Metrics>::default();
        let namespaces = Arc::new(Namespaces::new(Arc::clone(&config), Arc::clone(&metrics)));
        attach(&namespaces)?;
        let engine = Engine::new(
            config,
            metrics,
            Application::SocketIo(Arc::clone(&namespaces)),
        );
        Ok(Self { engine, namespaces })
    }

    /// The namespace of this name. It is there for clients from now on.
    #[must_use]
    pub fn of(&self, name: &str) -> Namespace {
        Namespace(self.namespaces.of(name))
    }

    /// Lets clients into every namespace whose name `pattern` matches.
    #[must_use]
    pub fn of_pattern(&self, pattern: Regex) -> DynamicNamespaces {
        self.dynamic(Allows::Pattern(pattern))
    }

    /// Lets clients into every namespace that `allow`, given its name and the client's auth payload, says yes to.
    pub fn of_predicate<F, Fut>(&self, allow: F) -> DynamicNamespaces
    where
        F: Fn(ByteString, Args) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        self.dynamic(Allows::Predicate(Arc::new(move |name, auth| {
            allow(name, auth).boxed()
        })))
    }

    fn dynamic(&self, allows: Allows) -> DynamicNamespaces {
        let behaviour = self.namespaces.add_parent(allows);
        let config = &self.engine.config;
        DynamicNamespaces {
            template: Namespace(NamespaceInner::new(
                ByteString::from_static("/"),
                behaviour,
                config,
                &self.engine.metrics,
                // A template has no clients on any node.
                None,
            )),
        }
    }

    /// The names of the namespaces there are.
    #[must_use]
    pub fn namespaces(&self) -> Vec<ByteString> {
        self.namespaces.names()
    }

    /// The tower service. It takes every request that it is given: mount it at the path that clients use.
    #[must_use]
    pub fn service(&self) -> SocketIoService {
        SocketIoService::new(&self.engine)
    }

    /// A tower layer that takes the requests below `Config::path` and passes on all others.
    #[must_use]
    pub fn layer(&self) -> SocketIoLayer {
        SocketIoLayer::new(&self.engine)
    }

    /// What the server counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.engine.metrics
    }

    /// Open sessions.
    #[must_use]
    pub fn sessions_count(&self) -> usize {
        self.engine.table.len()
    }

    /// Ends the server in good order: refuses new sessions, lets every open one send what is left and close, and waits
    /// for them. What is not done by `deadline` is cut off. Clients see `transport close`, and try to reconnect.
    ///
    /// In a cluster the node leaves when its last client has.
    pub async fn shutdown(&self, deadline: Duration) {
        shutdown(&self.engine, deadline).await;
        if let Some(cluster) = &self.namespaces.cluster {
            cluster.close();
        }
    }

    /// This node's name in the cluster. `None`: the server is not in one.
    #[must_use]
    pub fn node(&self) -> Option<&NodeId> {
        Some(&self.namespaces.cluster.as_ref()?.node)
    }

    /// The other nodes of the cluster, as far as the adapter knows.
    #[must_use]
    pub fn other_nodes(&self) -> Vec<NodeId> {
        self.namespaces
            .cluster
            .as_ref()
            .map_or_else(Vec::new, |cluster| cluster.nodes())
    }

    /// Nodes of the cluster, this one with them: 1 without a cluster.
    #[must_use]
    pub fn nodes_count(&self) -> usize {
        1 + self.other_nodes().len()
    }

    /// Requests to other nodes that wait for an answer now.
    #[must_use]
    pub fn cluster_requests_pending(&self) -> usize {
        self.namespaces
            .cluster
            .as_ref()
            .map_or(0, |cluster| cluster.requests.len())
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }
}

impl RawServer {
    /// A bare Engine.IO server whose messages go to `handler`.
    ///
    /// # Errors
    /// [`ConfigError`] names the first contradiction.
    pub fn new(config: Config, handler: Arc<dyn RawHandler>) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            engine: Engine::new(Arc::new(config), Arc::default(), Application::Raw(handler)),
        })
    }

    /// The tower service. It takes every request that it is given.
    #[must_use]
    pub fn service(&self) -> SocketIoService {
        SocketIoService::new(&self.engine)
    }

    /// A tower layer that takes the requests below `Config::path` and passes on all others.
    #[must_use]
    pub fn layer(&self) -> SocketIoLayer {
        SocketIoLayer::new(&self.engine)
    }

    /// As [`Server::shutdown`].
    pub async fn shutdown(&self, deadline: Duration) {
        shutdown(&self.engine, deadline).await;
    }
}

impl DynamicNamespaces {
    /// Where to register what all of these namespaces do. It has no clients of its own.
    #[must_use]
    pub fn each(&self) -> &Namespace {
        &self.template
    }
}

impl std::ops::Deref for DynamicNamespaces {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.template
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.engine.config)
            .finish_non_exhaustive()
    }
}

/// Enters the cluster, if the settings want one.
fn attach(namespaces: &Arc<Namespaces>) -> Result<(), ConfigError> {
    let Some(cluster) = &namespaces.cluster else {
        return Ok(());
    };
    let refuse = |problem| ConfigError {
        setting: "cluster",
        problem,
    };
    let runtime = Handle::try_current()
        .map_err(|_| refuse("a node of a cluster must be made inside a tokio runtime"))?;
    let inbox = ServerInbox {
        namespaces: Arc::downgrade(namespaces),
        runtime,
    };
    cluster.attach(Arc::new(inbox)).map_err(|error| {
        tracing::error!(code = error.code(), %error, "the adapter cannot be attached");
        match error {
            AdapterError::AlreadyAttached => {
                refuse("the adapter belongs to another server: each needs its own")
            }
            _ => refuse("the adapter cannot be attached; the log says why"),
        }
    })
}

async fn shutdown(engine: &Engine, deadline: Duration) {
    engine.begin_shutdown();
    if tokio::time::timeout(deadline, engine.table.drained())
        .await
        .is_err()
    {
        engine.abandon();
        // Cutting off takes no longer than the tasks' next turn.
        let _ = tokio::time::timeout(Duration::from_secs(1), engine.table.drained()).await;
    }
}
