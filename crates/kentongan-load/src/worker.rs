//! One thread with its connections: an epoll loop.
//!
//! Owns opening, reading and timeouts. What is sent, and what an arrival means, is the [`Driver`]'s business.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use mio::{Events, Poll, Token};

use crate::{
    clock,
    control::{Control, Phase},
    error::LoadError,
    link::{Ending, Link, Reach},
    target::Target,
};

/// A scenario's part in one worker.
pub(crate) trait Driver: Send + 'static {
    /// A connection is in the namespace; `reply` is what follows `40`.
    fn joined(&mut self, link: &mut Link, reply: &[u8], now_ns: u64);

    /// A packet that begins with `4` and is no CONNECT or DISCONNECT. Replayed events come before [`Self::joined`].
    fn packet(&mut self, link: &mut Link, packet: &[u8], now_ns: u64);

    /// Something came that no Socket.IO server sends here.
    fn unexpected(&mut self);

    /// A connection has ended without our cutting it.
    ///
    /// # Errors
    /// The run makes no sense any more.
    fn ended(&mut self, links: &mut Links, slot: usize, ending: Ending) -> Result<(), LoadError>;

    /// After each batch of events, and when the time has come that the last call returned: in nanoseconds of
    /// [`clock`], at most [`TURN_MAX`] is waited.
    fn turn(&mut self, links: &mut Links, phase: Phase, now_ns: u64) -> Option<u64>;
}

/// The connections of a worker.
pub(crate) struct Links {
    links: Vec<Link>,
    opening: VecDeque<usize>,
    handshaking: usize,
    handshakes_max: usize,
    /// Found dead while writing.
    broken: Vec<(usize, Ending)>,
    poll: Poll,
    reach: Arc<Reach>,
}

impl Links {
    fn new(
        indexes: impl Iterator<Item = usize>,
        handshakes_max: usize,
        target: Target,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let reach = Arc::new(Reach {
            target,
            registry: poll.registry().try_clone()?,
        });
        let links: Vec<Link> = indexes
            .enumerate()
            .map(|(slot, index)| Link::new(index, slot, Arc::clone(&reach)))
            .collect();
        Ok(Self {
            opening: (0..links.len()).collect(),
            links,
            handshaking: 0,
            handshakes_max,
            broken: Vec::new(),
            poll,
            reach,
        })
    }

    /// Opens the connection, again if need be, as soon as not too many others are opening.
    pub(crate) fn open(&mut self, slot: usize) {
        self.opening.push_back(slot);
    }

    /// Cuts the connection.
    pub(crate) fn close(&mut self, slot: usize) {
        if let Some(link) = self.links.get_mut(slot) {
            self.handshaking -= usize::from(link.is_handshaking());
            link.close();
        }
    }

    /// A connection of this worker.
    pub(crate) fn link(&mut self, slot: usize) -> Option<&mut Link> {
        self.links.get_mut(slot)
    }

    /// Number of connections, open or not.
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// The server.
    pub(crate) fn target(&self) -> &Target {
        &self.reach.target
    }

    /// Writes what was queued outside of [`Driver::joined`] and [`Driver::packet`].
    pub(crate) fn flush(&mut self, slot: usize) {
        if let Some(link) = self.links.get_mut(slot)
            && let Err(ending) = link.flush()
        {
            self.broken.push((slot, ending));
        }
    }

    fn open_some(&mut self) {
        while self.handshaking < self.handshakes_max
            && let Some(slot) = self.opening.pop_front()
            && let Some(link) = self.links.get_mut(slot)
        {
            match link.open() {
                Ok(()) => self.handshaking += 1,
                Err(ending) => self.broken.push((slot, ending)),
            }
        }
    }
}

/// Runs until the phase is [`Phase::Stop`]; returns the driver with what it has counted.
pub(crate) fn run<D: Driver>(
    indexes: impl Iterator<Item = usize>,
    handshakes_max: usize,
    target: Target,
    control: &Control,
    mut driver: D,
) -> Result<D, LoadError> {
    let mut links =
        Links::new(indexes, handshakes_max, target).map_err(LoadError::io("cannot poll"))?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let phase = control.phase();
        if phase == Phase::Stop {
            return Ok(driver);
        }
        links.open_some();
        let now_ns = clock::now_ns();
        let wake_ns = driver.turn(&mut links, phase, now_ns);
        for (slot, ending) in std::mem::take(&mut links.broken) {
            links.close(slot);
            driver.ended(&mut links, slot, ending)?;
        }
        let timeout = wake_ns.map_or(TURN_MAX, |wake_ns| {
            Duration::from_nanos(wake_ns.saturating_sub(clock::now_ns())).min(TURN_MAX)
        });
        match links.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(LoadError::io("cannot poll")(error));
            }
            _ => {}
        }
        for event in &events {
            let Token(token) = event.token();
            let slot = token / 2;
            let Some(link) = links.links.get_mut(slot) else {
                continue;
            };
            let was_handshaking = link.is_handshaking();
            let outcome = if token % 2 == 1 {
                link.post_ready(&mut buffer)
            } else {
                link.writable()
                    .and_then(|()| link.readable(&mut buffer, event.is_read_closed(), &mut driver))
            };
            if was_handshaking && !link.is_handshaking() {
                links.handshaking -= 1;
            }
            if let Err(ending) = outcome {
                links.close(slot);
                driver.ended(&mut links, slot, ending)?;
            }
        }
    }
}

/// How long a worker may be blind to a change of phase.
pub(crate) const TURN_MAX: Duration = Duration::from_millis(20);
/// One for all connections of a worker.
const BUFFER_BYTES: usize = 256 * 1024;
