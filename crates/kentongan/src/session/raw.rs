//! The bare Engine.IO server: messages without Socket.IO on top.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use kentongan_protocol::{
    engine::session::{Class, CloseReason, Flush, Sent},
    frame::Frame,
};

use super::shared::Session;
use crate::{handshake::Handshake, id::Sid, reason::DisconnectReason};

/// One Engine.IO message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawMessage {
    /// A text message.
    Text(ByteString),
    /// A binary message.
    Binary(Bytes),
}

/// What a bare Engine.IO server does. Calls for one session come in order and must not block.
pub trait RawHandler: Send + Sync + 'static {
    /// A session opened.
    fn opened(&self, session: &RawSession) {
        let _ = session;
    }

    /// A message came.
    fn message(&self, session: &RawSession, message: RawMessage);

    /// The session ended.
    fn closed(&self, session: &RawSession, reason: DisconnectReason) {
        let _ = (session, reason);
    }
}

/// An Engine.IO session without Socket.IO.
#[derive(Clone)]
pub struct RawSession(pub(crate) Arc<Session>);

impl RawSession {
    /// The session id. It is a bearer secret: do not show it to other clients.
    #[must_use]
    pub fn id(&self) -> Sid {
        self.0.id
    }

    /// The request that opened the session.
    #[must_use]
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// Queues a message. `false` when the session is closed, or has just been closed as a slow consumer.
    pub fn send(&self, message: &RawMessage) -> bool {
        let frame = match message {
            RawMessage::Text(text) => Frame::message(text, &[]),
            RawMessage::Binary(data) => Frame::binary(data),
        };
        matches!(self.0.send(frame, Class::Reliable), Sent::Queued)
    }

    /// Closes the session after what is still to be sent.
    pub fn close(&self) {
        self.0.close(CloseReason::ForcedClose, Flush::Yes);
    }
}
