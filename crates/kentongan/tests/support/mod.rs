//! Servers on loopback and a small client for the raw wire, for tests that want to see every byte.
//!
//! Owns ports, requests and frames; it must not know what an answer ought to be.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

pub(crate) mod http;
pub(crate) mod tls;
pub(crate) mod websocket;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use bytestring::ByteString;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use kentongan::{
    Config, DisconnectReason, NotFound, RawHandler, RawMessage, RawServer, RawSession, ServeConfig,
    Server,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

/// How long anything may take that has no time of its own. Failing takes this long, passing does not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Awaits `future`; panics with `what` when it takes too long.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing happened in {PATIENCE:?}"),
    }
}

/// A server on a free port of the loopback interface. It stops accepting when dropped.
pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    pub(crate) server: Server,
    _stop: oneshot::Sender<()>,
}

/// Serves with [`Server::serve`] and [`NotFound`], the root namespace open.
pub(crate) async fn start(config: Config) -> TestServer {
    let server = Server::new(config).unwrap();
    let _ = server.of("/");
    serve(server).await
}

/// Serves a server that the test has prepared.
pub(crate) async fn serve(server: Server) -> TestServer {
    serve_with(server, ServeConfig::default()).await
}

/// As [`serve`], with these limits on HTTP connections.
pub(crate) async fn serve_with(server: Server, config: ServeConfig) -> TestServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = server.clone();
    tokio::spawn(async move {
        let stop = async {
            let _ = stopped.await;
        };
        serving
            .serve(listener, config, NotFound, stop)
            .await
            .unwrap();
    });
    TestServer {
        addr,
        server,
        _stop: stop,
    }
}

/// What a bare Engine.IO server saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RawEvent {
    Opened,
    Message(RawMessage),
    Closed(DisconnectReason),
}

/// A bare Engine.IO server that echoes every message.
pub(crate) struct EchoServer {
    pub(crate) addr: SocketAddr,
    pub(crate) server: RawServer,
    pub(crate) events: mpsc::UnboundedReceiver<RawEvent>,
    /// The sessions as they open, for what the server does on its own.
    pub(crate) sessions: mpsc::UnboundedReceiver<RawSession>,
}

impl EchoServer {
    /// The next event.
    pub(crate) async fn event(&mut self) -> RawEvent {
        within("an event of the server", self.events.recv())
            .await
            .unwrap()
    }

    /// Passes over events until a session closes.
    pub(crate) async fn closed(&mut self) -> DisconnectReason {
        loop {
            if let RawEvent::Closed(reason) = self.event().await {
                return reason;
            }
        }
    }

    /// The next session that opened.
    pub(crate) async fn session(&mut self) -> RawSession {
        within("a session of the server", self.sessions.recv())
            .await
            .unwrap()
    }
}

struct Echo {
    events: mpsc::UnboundedSender<RawEvent>,
    sessions: mpsc::UnboundedSender<RawSession>,
}

impl RawHandler for Echo {
    fn opened(&self, session: &RawSession) {
        let _ = self.events.send(RawEvent::Opened);
        let _ = self.sessions.send(session.clone());
    }

    fn message(&self, session: &RawSession, message: RawMessage) {
        session.send(&message);
        let _ = self.events.send(RawEvent::Message(message));
    }

    fn closed(&self, _: &RawSession, reason: DisconnectReason) {
        let _ = self.events.send(RawEvent::Closed(reason));
    }
}

/// Serves a bare Engine.IO server, at every path, over hyper.
pub(crate) async fn start_echo(config: Config) -> EchoServer {
    let (events, seen) = mpsc::unbounded_channel();
    let (sessions, opened) = mpsc::unbounded_channel();
    let server = RawServer::new(config, Arc::new(Echo { events, sessions })).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let service = server.service();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service.clone())
                .with_upgrades();
            tokio::spawn(async move {
                // How a connection ends is the client's to see.
                let _ = connection.await;
            });
        }
    });
    EchoServer {
        addr,
        server,
        events: seen,
        sessions: opened,
    }
}

/// A text message.
pub(crate) fn text(text: &str) -> RawMessage {
    RawMessage::Text(ByteString::from(text))
}

/// A binary message.
pub(crate) fn binary(data: &[u8]) -> RawMessage {
    RawMessage::Binary(bytes::Bytes::copy_from_slice(data))
}

/// Raises the limit of open files to what the system allows.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}
