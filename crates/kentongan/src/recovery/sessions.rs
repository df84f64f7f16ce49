//! Clients that may return: from their CONNECT on, so that a return is possible before the old connection has ended.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytestring::ByteString;
use kentongan_protocol::socket::value::Value;

use crate::{id::Sid, socket::SocketInner};

pub(crate) struct Sessions {
    by_pid: HashMap<Sid, Session>,
    /// Those who are away, in the order in which they left; entries of those who returned are skipped.
    away: VecDeque<(Instant, Sid)>,
    away_max: usize,
    away_time_max: Duration,
}

struct Session {
    socket: Sid,
    live: Weak<SocketInner>,
    /// What to continue with, and since when the client is away.
    kept: Option<(Kept, Instant)>,
}

/// What a client continues with.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) rooms: Vec<ByteString>,
    pub(crate) data: Value,
    pub(crate) identity: Option<String>,
}

impl Sessions {
    pub(crate) fn new(away_max: usize, away_time_max: Duration) -> Self {
        Self {
            by_pid: HashMap::new(),
            away: VecDeque::new(),
            away_max,
            away_time_max,
        }
    }

    pub(crate) fn socket_of(&mut self, pid: &Sid, now: Instant) -> Option<Sid> {
        self.expire(now);
        self.by_pid.get(pid).map(|session| session.socket)
    }

    pub(crate) fn live(&self, pid: &Sid) -> Option<Arc<SocketInner>> {
        self.by_pid.get(pid)?.live.upgrade()
    }

    pub(crate) fn kept(&mut self, pid: &Sid, now: Instant) -> Option<Kept> {
        self.expire(now);
        self.by_pid
            .get(pid)?
            .kept
            .as_ref()
            .map(|(kept, _)| kept.clone())
    }

    pub(crate) fn opened(&mut self, pid: Sid, socket: &Arc<SocketInner>, now: Instant) {
        self.expire(now);
        self.by_pid.insert(
            pid,
            Session {
                socket: socket.id,
                live: Arc::downgrade(socket),
                kept: None,
            },
        );
    }

    pub(crate) fn ended(&mut self, pid: &Sid, kept: Kept, now: Instant) {
        if let Some(session) = self.by_pid.get_mut(pid) {
            session.kept = Some((kept, now));
            self.away.push_back((now, *pid));
        }
        self.expire(now);
    }

    pub(crate) fn remove(&mut self, pid: &Sid) {
        self.by_pid.remove(pid);
    }

    fn expire(&mut self, now: Instant) {
        while let Some((since, pid)) = self.away.front().copied() {
            if self.away.len() <= self.away_max
                && now.saturating_duration_since(since) <= self.away_time_max
            {
                return;
            }
            self.away.pop_front();
            if self.by_pid.get(&pid).is_some_and(|session| {
                session
                    .kept
                    .as_ref()
                    .is_some_and(|(_, left)| *left == since)
            }) {
                self.by_pid.remove(&pid);
            }
        }
    }
}
