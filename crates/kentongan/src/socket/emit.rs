//! Sending to one client: events, events that want an answer, and the flags of a single emit.

use std::{sync::Arc, time::Duration};

use bytestring::ByteString;
use kentongan_protocol::{
    engine::session::{Class, Sent},
    socket::{
        args::{Args, FromArgs, IntoArgs},
        encode,
        packet::RESERVED_EVENTS,
    },
};

use super::{Socket, SocketInner};
use crate::{
    broadcast::Broadcast,
    error::{AckError, EmitError},
    metrics,
    namespace::targets::Targets,
};

/// A socket with flags for the next emit.
#[derive(Debug, Clone)]
#[must_use = "flags do nothing without an emit"]
pub struct SocketEmit<'a> {
    socket: &'a Socket,
    class: Class,
    compress: bool,
    timeout: Duration,
}

impl Socket {
    /// Sends an event to this client. A tuple is several arguments; anything else is one.
    ///
    /// # Errors
    /// [`EmitError`]; nothing was sent then.
    pub fn emit(&self, event: &str, data: impl IntoArgs) -> Result<(), EmitError> {
        self.flags().emit(event, data)
    }

    /// Sends an event and waits for the client's answer, for at most `Config::ack_timeout`.
    ///
    /// # Errors
    /// [`AckError`] when there is no answer, or none of type `T`.
    pub async fn emit_with_ack<T: FromArgs>(
        &self,
        event: &str,
        data: impl IntoArgs,
    ) -> Result<T, AckError> {
        self.flags().emit_with_ack(event, data).await
    }

    /// The next event is dropped when the client's transport is not writable now.
    pub fn volatile(&self) -> SocketEmit<'_> {
        self.flags().volatile()
    }

    /// Whether the next event may be compressed.
    pub fn compress(&self, compress: bool) -> SocketEmit<'_> {
        self.flags().compress(compress)
    }

    /// How long the next event waits for its answer.
    pub fn timeout(&self, timeout: Duration) -> SocketEmit<'_> {
        self.flags().timeout(timeout)
    }

    /// Everyone in `room` but this socket. Call it again to add rooms.
    pub fn to(&self, room: impl Into<ByteString>) -> Broadcast {
        self.broadcast().to(room)
    }

    /// Everyone in the namespace but this socket and those in `room`.
    pub fn except(&self, room: impl Into<ByteString>) -> Broadcast {
        self.broadcast().except(room)
    }

    /// Everyone in the namespace but this socket.
    pub fn broadcast(&self) -> Broadcast {
        Broadcast::new(Arc::clone(&self.0.namespace)).but_not(self.0.id)
    }

    fn flags(&self) -> SocketEmit<'_> {
        SocketEmit {
            socket: self,
            class: Class::Reliable,
            compress: true,
            timeout: self.0.session.engine.config.ack_timeout,
        }
    }
}

impl SocketEmit<'_> {
    /// The event is dropped when the client's transport is not writable now.
    pub fn volatile(mut self) -> Self {
        self.class = Class::Volatile;
        self
    }

    /// Whether the event may be compressed.
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// How long to wait for the answer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the event.
    ///
    /// # Errors
    /// [`EmitError`]; nothing was sent then. A volatile event that was dropped is not an error.
    pub fn emit(self, event: &str, data: impl IntoArgs) -> Result<(), EmitError> {
        let inner = &self.socket.0;
        let args = check(inner, event, data)?;
        inner.tell_outgoing(event, &args);
        inner
            .namespace
            .send_to_one(inner, event, &args, self.class, self.compress)
    }

    /// Sends the event and waits for the answer.
    ///
    /// # Errors
    /// [`AckError`] when there is no answer, or none of type `T`.
    pub async fn emit_with_ack<T: FromArgs>(
        self,
        event: &str,
        data: impl IntoArgs,
    ) -> Result<T, AckError> {
        let inner = &self.socket.0;
        let args = check(inner, event, data)?;
        inner.tell_outgoing(event, &args);
        let acks = &inner.namespace.acks;
        let id = acks.next_id();
        let (entry, answer) = acks.expect(inner, id)?;
        // No position here: the client's last argument is the ack function, which it does not take for one.
        let frame = encode::event(&inner.namespace.name, event, &args, Some(id), None)
            .with_compress(self.compress);
        sent(inner, inner.send(frame, self.class))?;
        let answer = tokio::time::timeout(self.timeout, answer).await;
        drop(entry);
        match answer {
            Ok(Ok(answer)) => T::from_args(&answer?).map_err(AckError::Answer),
            Ok(Err(_)) => Err(AckError::Disconnected),
            Err(_) => {
                metrics::add(&inner.session.engine.metrics.acks_timed_out, 1);
                Err(AckError::TimedOut)
            }
        }
    }
}

impl SocketInner {
    /// For the listeners that watch what goes out.
    pub(crate) fn tell_outgoing(&self, event: &str, args: &Args) {
        self.namespace
            .behaviour
            .listeners()
            .tell_outgoing(event, args);
        self.tell_own_outgoing(event, args);
    }

    /// For this socket's own listeners.
    pub(crate) fn tell_own_outgoing(&self, event: &str, args: &Args) {
        if let Some(extra) = self.extra_if_any() {
            let listeners = Arc::clone(&extra.listeners.read());
            listeners.tell_outgoing(event, args);
        }
    }

    /// What addresses exactly this socket.
    pub(crate) fn as_targets(&self) -> Targets {
        Targets::socket(self.id)
    }
}

fn check(inner: &SocketInner, event: &str, data: impl IntoArgs) -> Result<Args, EmitError> {
    if !inner.is_connected() {
        return Err(EmitError::Closed);
    }
    outgoing(event, data, &inner.session.engine.config)
}

/// Checks an event that is to be sent and turns its data into arguments.
pub(crate) fn outgoing(
    event: &str,
    data: impl IntoArgs,
    config: &crate::config::Config,
) -> Result<Args, EmitError> {
    if RESERVED_EVENTS.contains(&event) {
        return Err(EmitError::Reserved(event.to_owned()));
    }
    Ok(data.into_args(config.parser)?)
}

/// The result of queueing a frame for one socket.
pub(crate) fn sent(inner: &SocketInner, sent: Sent) -> Result<(), EmitError> {
    match sent {
        Sent::Queued => {
            metrics::add(&inner.session.engine.metrics.events_out, 1);
            Ok(())
        }
        Sent::Dropped => Ok(()),
        Sent::Overflow => Err(EmitError::SlowConsumer),
        Sent::Closed => Err(EmitError::Closed),
    }
}
