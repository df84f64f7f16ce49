//! Connection state recovery: a client that lost its connection continues where it was, or is told why not.
//!
//! Stock clients send back, in the CONNECT packet, the `pid` they were given and the last string argument of the last
//! event. That string is ours: a sealed position in the namespace's log. Invariant: publications of a namespace get
//! their offsets and reach the outboxes in one order, under one lock, so that a client that has an event has every
//! earlier one that was meant for it.

pub(crate) mod log;
pub(crate) mod position;
pub(crate) mod sessions;

use std::{fmt, sync::Arc, time::Duration};

use bytestring::ByteString;
use kentongan_protocol::{
    engine::session::Class,
    frame::Frame,
    socket::{args::Args, encode, value::Value},
};
use parking_lot::Mutex;
use serde::Deserialize;

use self::{
    log::{Log, Missed},
    position::{Position, Sealer},
    sessions::{Kept, Sessions},
};
use crate::{
    id::Sid,
    namespace::{NamespaceInner, hub::Changed, targets::Targets},
    reason::DisconnectReason,
    session::shared::{Command, now},
    socket::{Socket, SocketInner},
};

/// Settings of connection state recovery. In a cluster it works on the node that the client was connected to; on another
/// one the client is told [`Recovery::Unknown`].
#[derive(Clone)]
#[non_exhaustive]
pub struct RecoveryConfig {
    /// How long a client may be away. 2 minutes, as in Node.
    pub max_disconnection: Duration,
    /// Key that seals positions. Random by default, which is right for one process; 32 bytes of a secret otherwise.
    pub key: [u8; 32],
    /// Events that one namespace keeps. 100,000.
    pub log_events_max: usize,
    /// Bytes of events that one namespace keeps. 64 MiB.
    pub log_bytes_max: usize,
    /// Events that one client may be sent when it returns. 10,000.
    pub replay_events_max: usize,
    /// Bytes of events that one client may be sent when it returns. 512 KiB: it has to fit the outbox.
    pub replay_bytes_max: usize,
    /// Clients that are away and can return. 100,000 per namespace.
    pub sessions_max: usize,
}

/// Whether a client continues where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovery {
    /// A client that asks for nothing.
    New,
    /// Everything that it missed was sent, once and in order.
    Complete {
        /// Number of events.
        replayed: usize,
    },
    /// Events that it missed are no longer kept, or are more than may be replayed: it has to reload.
    Gap,
    /// The server has forgotten the session: away for too long, another process, or too many were away.
    Unknown,
    /// The position is from another life of the log.
    Reset,
    /// The position cannot be read.
    InvalidPosition,
    /// Middleware finds another identity than before.
    Denied,
}

impl Recovery {
    /// Whether nothing was missed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Complete { .. })
    }

    /// The stable name, which clients are told.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Complete { .. } => "complete",
            Self::Gap => "gap",
            Self::Unknown => "unknown",
            Self::Reset => "reset",
            Self::InvalidPosition => "invalid_position",
            Self::Denied => "denied",
        }
    }
}

/// Name of the event that follows every CONNECT, so that a client has a position before anything else happens.
pub const POSITION_EVENT: &str = "kentongan:position";

pub(crate) struct NamespaceRecovery {
    config: RecoveryConfig,
    sealer: Sealer,
    log: Mutex<Log>,
    sessions: Mutex<Sessions>,
}

/// What a returning client says of itself; true only as far as the table of sessions confirms it.
pub(crate) struct Claim {
    pid: Sid,
    pub(crate) socket: Sid,
    position: Position,
}

#[derive(Deserialize)]
struct RecoveryAuth {
    pid: Option<String>,
    offset: Option<String>,
}

type Joined = Vec<(ByteString, Changed)>;

impl NamespaceRecovery {
    pub(crate) fn new(config: &RecoveryConfig, namespace: &str) -> Self {
        Self {
            sealer: Sealer::new(&config.key, namespace),
            log: Mutex::new(Log::new(
                config.log_events_max,
                config.log_bytes_max,
                config.max_disconnection,
            )),
            sessions: Mutex::new(Sessions::new(config.sessions_max, config.max_disconnection)),
            config: config.clone(),
        }
    }

    /// Gives a publication its position and delivers it, in the order of the positions.
    pub(crate) fn publish<R>(
        &self,
        class: Class,
        targets: impl FnOnce() -> Targets,
        encode: impl FnOnce(&str) -> Frame,
        deliver: impl FnOnce(&Frame) -> R,
    ) -> R {
        let mut log = self.log.lock();
        if class == Class::Volatile {
            // Not kept, but it carries the position, since clients take its last string for one.
            let frame = encode(&log.sealed_head(&self.sealer));
            return deliver(&frame);
        }
        let position = log.advance(&self.sealer);
        let frame = encode(&position);
        log.append(frame.clone(), targets(), now());
        deliver(&frame)
    }

    /// Reads the claim of a returning client. `Err(New)`: it claims nothing.
    pub(crate) fn claim(&self, auth: &Args) -> Result<Claim, Recovery> {
        let Ok(RecoveryAuth {
            pid: Some(pid),
            offset,
        }) = auth.argument::<RecoveryAuth>(0)
        else {
            return Err(Recovery::New);
        };
        let pid: Sid = pid.parse().map_err(|_| Recovery::Unknown)?;
        let socket = self
            .sessions
            .lock()
            .socket_of(&pid, now())
            .ok_or(Recovery::Unknown)?;
        let position = offset
            .and_then(|offset| self.sealer.open(&offset))
            .ok_or(Recovery::InvalidPosition)?;
        Ok(Claim {
            pid,
            socket,
            position,
        })
    }

    /// Ends the older connection of a returning client and gives its rooms and data, if it is the same client.
    pub(crate) fn take_over(
        &self,
        claim: &Claim,
        socket: &Socket,
    ) -> Result<(Vec<ByteString>, Value), Recovery> {
        let older = self.sessions.lock().live(&claim.pid);
        if let Some(older) = older {
            // The client is back before its old connection was noticed to be dead.
            let older = Socket(older);
            // Who has only learned the pid must not throw its owner out.
            if older.identity() != socket.identity() {
                return Err(Recovery::Denied);
            }
            // Also when it is leaving by itself just now: afterwards it is surely kept.
            if older.end(DisconnectReason::Superseded) {
                older.0.session.command(Command::SocketEnded(older.id()));
                older.0.session.close(
                    kentongan_protocol::engine::session::CloseReason::TransportClose,
                    kentongan_protocol::engine::session::Flush::No,
                );
            }
        }
        let kept: Kept = self
            .sessions
            .lock()
            .kept(&claim.pid, now())
            .ok_or(Recovery::Unknown)?;
        if kept.identity != socket.identity() {
            return Err(Recovery::Denied);
        }
        Ok((kept.rooms, kept.data))
    }

    /// Lets a returning client in: what it missed, then CONNECT, and from then on everything live, with no hole between.
    pub(crate) fn resume(
        &self,
        namespace: &NamespaceInner,
        socket: &Socket,
        claim: &Claim,
        rooms: &[ByteString],
    ) -> Result<(Option<Joined>, usize), Recovery> {
        let mut log = self.log.lock();
        let missed = match log.missed(
            &claim.position,
            socket.id(),
            rooms,
            self.config.replay_events_max,
            self.config.replay_bytes_max,
        ) {
            Missed::Events(events) => events,
            Missed::Gap => return Err(Recovery::Gap),
            Missed::Reset => return Err(Recovery::Reset),
        };
        let Some(joined) = namespace.hub.add(&socket.0, rooms) else {
            return Ok((None, 0));
        };
        let _ = socket.0.extra().pid.set(claim.pid);
        self.sessions.lock().opened(claim.pid, &socket.0, now());
        let replayed = missed.len();
        for frame in missed {
            let _ = socket.0.send(frame, Class::Reliable);
        }
        self.greet(
            &mut log,
            namespace,
            socket,
            claim.pid,
            &Recovery::Complete { replayed },
        );
        Ok((Some(joined), replayed))
    }

    /// Lets a new client in. `None`: it has ended already.
    pub(crate) fn begin(
        &self,
        namespace: &NamespaceInner,
        socket: &Socket,
        rooms: &[ByteString],
        recovery: &Recovery,
    ) -> Option<Joined> {
        let mut log = self.log.lock();
        let joined = namespace.hub.add(&socket.0, rooms)?;
        let pid = Sid::random();
        let _ = socket.0.extra().pid.set(pid);
        self.sessions.lock().opened(pid, &socket.0, now());
        self.greet(&mut log, namespace, socket, pid, recovery);
        Some(joined)
    }

    fn greet(
        &self,
        log: &mut Log,
        namespace: &NamespaceInner,
        socket: &Socket,
        pid: Sid,
        recovery: &Recovery,
    ) {
        let parser = namespace.config.parser;
        let _ = socket.0.send(
            encode::connect(
                parser,
                &namespace.name,
                &socket.id().text(),
                Some(&pid.text()),
            ),
            Class::Reliable,
        );
        let told = [Value::Object(vec![(
            "recovery".to_owned(),
            Value::from(recovery.code()),
        )])];
        if let Ok(args) = Args::from_values(parser, &told) {
            let position = log.sealed_head(&self.sealer);
            let _ = socket.0.send(
                encode::event(
                    &namespace.name,
                    POSITION_EVENT,
                    &args,
                    None,
                    Some(&position),
                ),
                Class::Reliable,
            );
        }
    }

    /// A socket has left.
    pub(crate) fn ended(
        &self,
        socket: &Arc<SocketInner>,
        rooms: &[ByteString],
        reason: DisconnectReason,
    ) {
        let Some(extra) = socket.extra_if_any() else {
            return;
        };
        let Some(pid) = extra.pid.get() else { return };
        let mut sessions = self.sessions.lock();
        if reason.is_recoverable() {
            let socket = Socket(Arc::clone(socket));
            sessions.ended(
                pid,
                Kept {
                    rooms: rooms.to_vec(),
                    data: socket.data(),
                    identity: socket.identity(),
                },
                now(),
            );
        } else {
            sessions.remove(pid);
        }
    }
}

impl Default for RecoveryConfig {
    fn default() -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the operating system has randomness once it has booted");
        Self {
            max_disconnection: Duration::from_secs(120),
            key,
            log_events_max: 100_000,
            log_bytes_max: 64 << 20,
            replay_events_max: 10_000,
            replay_bytes_max: 512 << 10,
            sessions_max: 100_000,
        }
    }
}

impl fmt::Debug for RecoveryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveryConfig")
            .field("max_disconnection", &self.max_disconnection)
            .field("key", &"(hidden)")
            .finish_non_exhaustive()
    }
}
