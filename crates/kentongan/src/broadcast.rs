//! Sending to many: whom, how, and what they answer.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytestring::ByteString;
use kentongan_protocol::{
    engine::session::Class,
    socket::{
        args::{Args, FromArgs, IntoArgs},
        encode,
        value::Value,
    },
};

use crate::{
    error::{AckError, EmitError, JoinError},
    id::Sid,
    metrics,
    namespace::{NamespaceInner, targets::Targets},
    socket::{Socket, outgoing},
};

/// Sockets of a namespace, and flags for what is sent to them. Nothing happens before `emit` or one of its kin.
#[derive(Debug, Clone)]
#[must_use = "a broadcast does nothing before it emits"]
pub struct Broadcast {
    namespace: Arc<NamespaceInner>,
    targets: Targets,
    class: Class,
    compress: bool,
    timeout: Duration,
}

/// What the recipients of a broadcast answered.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answers<T> {
    /// One entry per recipient that answered, left, or answered with something else than a `T`.
    pub given: Vec<(Sid, Result<T, AckError>)>,
    /// Those who were silent until the deadline.
    pub missing: Vec<Sid>,
}

/// A socket as `fetch_sockets` shows it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SocketInfo {
    /// Its public id.
    pub id: Sid,
    /// The rooms it is in, without that of its own id.
    pub rooms: Vec<ByteString>,
    /// What `Socket::set_data` was told.
    pub data: Value,
    /// The socket itself.
    pub socket: Socket,
}

impl<T> Answers<T> {
    /// The answers alone.
    pub fn into_values(self) -> Vec<T> {
        self.given
            .into_iter()
            .filter_map(|(_, answer)| answer.ok())
            .collect()
    }
}

impl Broadcast {
    pub(crate) fn new(namespace: Arc<NamespaceInner>) -> Self {
        let timeout = namespace.config.ack_timeout;
        Self {
            namespace,
            targets: Targets::default(),
            class: Class::Reliable,
            compress: true,
            timeout,
        }
    }

    pub(crate) fn but_not(mut self, socket: Sid) -> Self {
        self.targets.except_socket = Some(socket);
        self
    }

    /// Also those in `room`: a name, or a socket's id.
    pub fn to(mut self, room: impl Into<ByteString>) -> Self {
        self.targets.rooms.push(room.into());
        self
    }

    /// Not those in `room`.
    pub fn except(mut self, room: impl Into<ByteString>) -> Self {
        self.targets.except.push(room.into());
        self
    }

    /// Drop it for those whose transport is not writable now.
    pub fn volatile(mut self) -> Self {
        self.class = Class::Volatile;
        self
    }

    /// Whether it may be compressed.
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// How long to wait for answers.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the event. It is encoded once, whatever the number of recipients.
    ///
    /// # Errors
    /// [`EmitError`] when it cannot be sent to anyone. A recipient that is too slow is closed, recoverable, and counted.
    pub fn emit(self, event: &str, data: impl IntoArgs) -> Result<(), EmitError> {
        let args = self.prepare(event, data)?;
        self.namespace
            .publish(&self.targets, event, &args, self.class, self.compress);
        Ok(())
    }

    /// Sends the event and collects the answers until all are there or the time is up. No recipients, no waiting.
    ///
    /// # Errors
    /// [`EmitError`] when it cannot be sent to anyone.
    pub async fn emit_with_ack<T: FromArgs>(
        self,
        event: &str,
        data: impl IntoArgs,
    ) -> Result<Answers<T>, EmitError> {
        let args = self.prepare(event, data)?;
        let namespace = &self.namespace;
        let id = namespace.acks.next_id();
        let sockets = namespace.hub.sockets(&self.targets);
        let (entry, answers) = namespace.acks.expect_many(&sockets, id);
        let frame = encode::event(&namespace.name, event, &args, Some(id), None)
            .with_compress(self.compress);
        {
            let _turn = namespace.broadcasts.lock();
            for socket in &sockets {
                // A recipient that is gone is answered for by its end.
                let _ = crate::socket::sent(socket, socket.send(frame.clone(), self.class));
            }
        }
        let (given, missing) = answers.collect(self.timeout).await;
        drop(entry);
        metrics::add(&namespace.metrics.acks_timed_out, missing.len());
        let given = given
            .into_iter()
            .map(|(id, answer)| {
                (
                    id,
                    answer.and_then(|args| T::from_args(&args).map_err(AckError::Answer)),
                )
            })
            .collect();
        Ok(Answers { given, missing })
    }

    /// The sockets that are meant.
    #[must_use]
    pub fn sockets(&self) -> Vec<Socket> {
        self.namespace
            .hub
            .sockets(&self.targets)
            .into_iter()
            .map(Socket)
            .collect()
    }

    /// What there is to know of the sockets that are meant.
    #[must_use]
    pub fn fetch_sockets(&self) -> Vec<SocketInfo> {
        let info = |socket: Socket| SocketInfo {
            id: socket.id(),
            rooms: socket.rooms(),
            data: socket.data(),
            socket,
        };
        self.sockets().into_iter().map(info).collect()
    }

    /// Makes the sockets join `room`.
    ///
    /// # Errors
    /// The first [`JoinError`] of a limit; those who have just left are passed over.
    pub fn sockets_join(&self, room: impl Into<ByteString>) -> Result<(), JoinError> {
        let room = room.into();
        for socket in self.sockets() {
            match socket.join(room.clone()) {
                Ok(()) | Err(JoinError::Closed) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes the sockets leave `room`.
    pub fn sockets_leave(&self, room: &str) {
        for socket in self.sockets() {
            socket.leave(room);
        }
    }

    /// Sends the sockets out of the namespace.
    pub fn disconnect_sockets(&self) {
        for socket in self.sockets() {
            socket.disconnect();
        }
    }

    /// Closes the connections of the sockets.
    pub fn disconnect_sessions(&self) {
        for socket in self.sockets() {
            socket.disconnect_session();
        }
    }

    fn prepare(&self, event: &str, data: impl IntoArgs) -> Result<Args, EmitError> {
        let args = outgoing(event, data, &self.namespace.config)?;
        self.namespace
            .behaviour
            .listeners()
            .tell_outgoing(event, &args);
        if self.namespace.is_watched.load(Ordering::Acquire) {
            for socket in self.namespace.hub.sockets(&self.targets) {
                socket.tell_own_outgoing(event, &args);
            }
        }
        Ok(args)
    }
}
