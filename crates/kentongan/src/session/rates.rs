//! How fast the sockets of one session may send events, and when the session is not read for a while.
//!
//! Exists only for sessions of a server with rates. It must not know packets or handlers: it is told of every event and
//! says whether it may pass.

use std::time::{Duration, Instant};

use bytestring::ByteString;
use smallvec::SmallVec;

use super::shared::Session;
use crate::{
    admission::{address::Prefix, bucket::Bucket},
    config::Rate,
};

pub(crate) struct EventRates {
    socket_rate: Option<Rate>,
    /// How many refusals in a row of time are borne: as many as the strictest rate allows events.
    patience_rate: Rate,
    prefix: Option<Prefix>,
    /// By namespace, so that leaving and coming back does not fill a bucket. Bounded by `namespaces_max`, oldest first.
    sockets: SmallVec<[(ByteString, Bucket); 1]>,
    patience: Bucket,
    paused_until: Option<Instant>,
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Refuse,
    /// Refuse it, and read no more until [`EventRates::handle_timeout`].
    RefuseAndPause,
}

impl EventRates {
    pub(crate) fn new(session: &Session, now: Instant) -> Option<Box<Self>> {
        let rates = &session.engine.config.rates;
        let patience_rate = rates
            .socket_events
            .or(rates.user_events)
            .or(rates.address_events)?;
        Some(Box::new(Self {
            socket_rate: rates.socket_events,
            patience_rate,
            prefix: session.handshake.address().map(Prefix::from),
            sockets: SmallVec::new(),
            patience: Bucket::full(now),
            paused_until: None,
        }))
    }

    /// An event came for the socket in `ns`, which has this identity.
    pub(crate) fn take(
        &mut self,
        session: &Session,
        now: Instant,
        ns: &ByteString,
        identity: Option<&str>,
    ) -> Verdict {
        let engine = &session.engine;
        let namespaces_max = engine.config.limits.namespaces_max.max(1);
        let passes = self.take_of_socket(now, ns, namespaces_max)
            && engine.admission.take_event_of_user(now, identity)
            && engine.admission.take_event(now, self.prefix);
        if passes {
            Verdict::Pass
        } else if self.patience.take(now, self.patience_rate) {
            Verdict::Refuse
        } else {
            // Several events of one read may find it paused already.
            let is_new = self.paused_until.is_none();
            self.paused_until = self.paused_until.or(Some(now + PAUSE));
            if is_new {
                Verdict::RefuseAndPause
            } else {
                Verdict::Refuse
            }
        }
    }

    fn take_of_socket(&mut self, now: Instant, ns: &ByteString, namespaces_max: usize) -> bool {
        let Some(rate) = self.socket_rate else {
            return true;
        };
        if let Some((_, bucket)) = self.sockets.iter_mut().find(|(each, _)| each == ns) {
            return bucket.take(now, rate);
        }
        if self.sockets.len() >= namespaces_max {
            self.sockets.remove(0);
        }
        let mut bucket = Bucket::full(now);
        let passes = bucket.take(now, rate);
        self.sockets.push((ns.clone(), bucket));
        passes
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// When [`Self::handle_timeout`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.paused_until
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.paused_until = self.paused_until.filter(|until| *until > now);
    }
}

/// How long a session is not read that keeps sending above its rate.
const PAUSE: Duration = Duration::from_secs(1);
