//! Sockets as `fetch_sockets` shows them, on whatever node they are.

use std::sync::Arc;

use bytestring::ByteString;
use kentongan_protocol::socket::{
    args::{FromArgs, IntoArgs},
    value::Value,
};

use super::{MissingNode, message::NodeId};
use crate::{
    broadcast::{Broadcast, Reach},
    error::{AckError, EmitError, JoinError},
    id::Sid,
    namespace::NamespaceInner,
    socket::Socket,
};

/// What `fetch_sockets` found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchedSockets {
    /// The sockets, those of this node first.
    pub sockets: Vec<SocketInfo>,
    /// Nodes whose sockets are not, or not all, among them.
    pub missing: Vec<MissingNode>,
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
    pub socket: AnySocket,
}

/// A socket on this node or another one. What is asked of a remote one goes by the adapter: there is no telling whether
/// it is there still, and joining, leaving and disconnecting happen a little later.
#[derive(Debug, Clone)]
pub enum AnySocket {
    /// On this node.
    Local(Socket),
    /// On another node.
    Remote(RemoteSocket),
}

/// A socket on another node.
#[derive(Debug, Clone)]
pub struct RemoteSocket {
    namespace: Arc<NamespaceInner>,
    node: NodeId,
    id: Sid,
}

impl IntoIterator for FetchedSockets {
    type Item = SocketInfo;
    type IntoIter = std::vec::IntoIter<SocketInfo>;

    fn into_iter(self) -> Self::IntoIter {
        self.sockets.into_iter()
    }
}

impl SocketInfo {
    pub(crate) fn local(socket: Socket) -> Self {
        Self {
            id: socket.id(),
            rooms: socket.rooms(),
            data: socket.data(),
            socket: AnySocket::Local(socket),
        }
    }
}

impl AnySocket {
    /// The public id.
    #[must_use]
    pub fn id(&self) -> Sid {
        match self {
            Self::Local(socket) => socket.id(),
            Self::Remote(socket) => socket.id(),
        }
    }

    /// The socket, if it is on this node.
    #[must_use]
    pub fn local(&self) -> Option<&Socket> {
        match self {
            Self::Local(socket) => Some(socket),
            Self::Remote(_) => None,
        }
    }

    /// The other node that it is on.
    #[must_use]
    pub fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Local(_) => None,
            Self::Remote(socket) => Some(socket.node()),
        }
    }

    /// Sends it an event.
    ///
    /// # Errors
    /// [`EmitError`]; for a remote socket only when the event cannot be sent to anyone.
    pub fn emit(&self, event: &str, data: impl IntoArgs) -> Result<(), EmitError> {
        match self {
            Self::Local(socket) => socket.emit(event, data),
            Self::Remote(socket) => socket.emit(event, data),
        }
    }

    /// Sends it an event and waits for the answer, for at most `Config::ack_timeout`.
    ///
    /// # Errors
    /// [`AckError`] when there is no answer, or none of type `T`.
    pub async fn emit_with_ack<T: FromArgs>(
        &self,
        event: &str,
        data: impl IntoArgs,
    ) -> Result<T, AckError> {
        match self {
            Self::Local(socket) => socket.emit_with_ack(event, data).await,
            Self::Remote(socket) => socket.emit_with_ack(event, data).await,
        }
    }

    /// Makes it join a room.
    ///
    /// # Errors
    /// [`JoinError`]; for a remote socket only when the name is too long.
    pub fn join(&self, room: impl Into<ByteString>) -> Result<(), JoinError> {
        match self {
            Self::Local(socket) => socket.join(room),
            Self::Remote(socket) => socket.join(room),
        }
    }

    /// Makes it leave a room.
    pub fn leave(&self, room: &str) {
        match self {
            Self::Local(socket) => socket.leave(room),
            Self::Remote(socket) => socket.leave(room),
        }
    }

    /// Sends it out of the namespace.
    pub fn disconnect(&self) {
        match self {
            Self::Local(socket) => socket.disconnect(),
            Self::Remote(socket) => socket.disconnect(),
        }
    }

    /// Sends it out of all its namespaces and closes its connection.
    pub fn disconnect_session(&self) {
        match self {
            Self::Local(socket) => socket.disconnect_session(),
            Self::Remote(socket) => socket.disconnect_session(),
        }
    }
}

impl RemoteSocket {
    pub(crate) fn new(namespace: &Arc<NamespaceInner>, node: NodeId, id: Sid) -> Self {
        Self {
            namespace: Arc::clone(namespace),
            node,
            id,
        }
    }

    /// The public id.
    #[must_use]
    pub fn id(&self) -> Sid {
        self.id
    }

    /// The node that it is on.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// Sends it an event. Whether its node is reached is not known here: see `adapter_failures`.
    ///
    /// # Errors
    /// [`EmitError`] when the event cannot be sent to anyone.
    pub fn emit(&self, event: &str, data: impl IntoArgs) -> Result<(), EmitError> {
        self.broadcast().emit(event, data)
    }

    /// Sends it an event and waits for the answer, for at most `Config::ack_timeout`.
    ///
    /// # Errors
    /// [`AckError`] when there is no answer, or none of type `T`.
    pub async fn emit_with_ack<T: FromArgs>(
        &self,
        event: &str,
        data: impl IntoArgs,
    ) -> Result<T, AckError> {
        let mut answers = self.broadcast().emit_with_ack(event, data).await?;
        if let Some((_, answer)) = answers.given.pop() {
            return answer;
        }
        match (answers.missing_nodes.pop(), answers.missing.is_empty()) {
            (Some(missing), _) => Err(AckError::Node(missing.why)),
            (None, false) => Err(AckError::TimedOut),
            // The node asked nobody: the socket is not there any more.
            (None, true) => Err(AckError::Disconnected),
        }
    }

    /// Makes it join a room, a little later.
    ///
    /// # Errors
    /// [`JoinError::NameTooLong`].
    pub fn join(&self, room: impl Into<ByteString>) -> Result<(), JoinError> {
        self.broadcast().sockets_join(room)
    }

    /// Makes it leave a room, a little later.
    pub fn leave(&self, room: &str) {
        self.broadcast().sockets_leave(room);
    }

    /// Sends it out of the namespace, a little later.
    pub fn disconnect(&self) {
        self.broadcast().disconnect_sockets();
    }

    /// Sends it out of all its namespaces and closes its connection, a little later.
    pub fn disconnect_session(&self) {
        self.broadcast().disconnect_sessions();
    }

    fn broadcast(&self) -> Broadcast {
        Broadcast::new(Arc::clone(&self.namespace))
            .reach(Reach::Node(self.node.clone()))
            .to(ByteString::from(&*self.id.text()))
    }
}
