//! What all sessions of one server share.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use kentongan_protocol::{
    engine::session::{CloseReason, Flush, SessionConfig, Transport},
    socket::connection::ConnectionConfig,
};

use super::{
    driver,
    flusher::Flusher,
    raw::RawHandler,
    shared::{Command, Session},
    table::SessionTable,
    websocket::WebSocket,
};
use crate::{
    admission::{Admission, address::Prefix, unauthenticated::Crowd},
    config::{Config, SharedConfig},
    handshake::Handshake,
    id::Sid,
    metrics::{self, Metrics},
    namespace::registry::Namespaces,
};

/// Who gets the messages of the sessions.
pub(crate) enum Application {
    SocketIo(Arc<Namespaces>),
    /// A bare Engine.IO server.
    Raw(Arc<dyn RawHandler>),
}

pub(crate) struct Engine {
    pub(crate) config: SharedConfig,
    /// The same, for sessions that have joined no namespace yet.
    pub(crate) unauthenticated_config: SharedConfig,
    pub(crate) session: SessionConfig,
    pub(crate) connections: ConnectionConfig,
    pub(crate) admission: Admission,
    pub(crate) table: SessionTable,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) application: Application,
    pub(crate) flusher: Arc<Flusher>,
    closing: AtomicBool,
}

/// A connection that is counted as unauthenticated; dropped, it is counted out.
pub(crate) struct Admitted {
    engine: Arc<Engine>,
    prefix: Option<Prefix>,
    is_handed_over: bool,
}

impl Engine {
    pub(crate) fn new(
        config: SharedConfig,
        metrics: Arc<Metrics>,
        application: Application,
    ) -> Arc<Self> {
        let session = config.session();
        Arc::new(Self {
            unauthenticated_config: unauthenticated(&config, &application),
            admission: match application {
                Application::SocketIo(_) => Admission::new(&config),
                Application::Raw(_) => Admission::default(),
            },
            connections: ConnectionConfig {
                connect_timeout: config.connect_timeout,
                attachment_timeout: config.attachments_timeout,
            },
            config,
            session,
            table: SessionTable::default(),
            metrics,
            application,
            flusher: Arc::default(),
            closing: AtomicBool::new(false),
        })
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Whether as many sessions as allowed are open. Asked before a 101, which could not be taken back.
    pub(crate) fn is_full(&self) -> bool {
        self.table.len() >= self.config.held.sessions_max
    }

    /// Opens a session on polling. `None` when the server is full or shutting down.
    pub(crate) fn open(self: &Arc<Self>, handshake: Handshake) -> Option<Arc<Session>> {
        let session = Session::new(self, handshake, Transport::Polling);
        self.start(&session, None).then_some(session)
    }

    /// A session for a WebSocket, not yet started: the open packet has to be queued first.
    pub(crate) fn prepare(self: &Arc<Self>, handshake: Handshake) -> Arc<Session> {
        Session::new(self, handshake, Transport::WebSocket)
    }

    /// Enters a session into the table and starts its task. `false` when the server is full or shutting down.
    pub(crate) fn start(&self, session: &Arc<Session>, websocket: Option<WebSocket>) -> bool {
        if self.is_closing() || !self.table.insert(session, self.config.held.sessions_max) {
            return false;
        }
        let (opened, open) = match session.transport() {
            Transport::Polling => (&self.metrics.polling_opened, &self.metrics.polling_open),
            Transport::WebSocket => (&self.metrics.websocket_opened, &self.metrics.websocket_open),
        };
        metrics::add(opened, 1);
        metrics::add(open, 1);
        self.flusher.start();
        tokio::spawn(driver::drive(Arc::clone(session), websocket));
        if self.is_closing() {
            // The shutdown may have looked through the table before this one was in it.
            session.command(Command::Shutdown);
        }
        true
    }

    /// Counts in a connection that has joined no namespace yet.
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Admitted, Crowd> {
        let prefix = address.map(Prefix::from);
        self.admission.enter(prefix)?;
        Ok(Admitted {
            engine: Arc::clone(self),
            prefix,
            is_handed_over: false,
        })
    }

    pub(crate) fn find(&self, sid: &str) -> Option<Arc<Session>> {
        self.table.find(&sid.parse::<Sid>().ok()?)
    }

    /// Refuses new sessions and asks every open one to end after what it still has to send.
    pub(crate) fn begin_shutdown(&self) {
        self.closing.store(true, Ordering::Release);
        for session in self.table.all() {
            session.command(Command::Shutdown);
        }
    }

    /// Ends what is left, at once.
    pub(crate) fn abandon(&self) {
        for session in self.table.all() {
            session.close(CloseReason::ForcedClose, Flush::No);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.flusher.close();
    }
}

impl Admitted {
    /// A session was started, which counts itself out ([`Session::set_joined`]).
    pub(crate) fn hand_over(mut self) {
        self.is_handed_over = true;
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if !self.is_handed_over {
            self.engine.admission.leave(self.prefix);
        }
    }
}

/// The settings for sessions that nobody has vouched for. Bare Engine.IO knows no namespaces to join.
fn unauthenticated(config: &SharedConfig, application: &Application) -> SharedConfig {
    let bytes_max = config.unauthenticated.message_bytes_max;
    match application {
        Application::SocketIo(_) if bytes_max < config.limits.message_bytes_max => {
            let mut lower = Config::clone(config);
            lower.limits.message_bytes_max = bytes_max;
            Arc::new(lower)
        }
        _ => Arc::clone(config),
    }
}
