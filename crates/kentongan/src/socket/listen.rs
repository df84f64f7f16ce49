//! Listeners of one socket, next to those of its namespace. For events whose handling depends on the client; what is the
//! same for all belongs to the namespace, where it costs nothing per client.

use std::sync::{Arc, atomic::Ordering};

use bytestring::ByteString;
use kentongan_protocol::socket::args::Args;

use super::Socket;
use crate::handler::{
    Handler, IntoReply, Middleware,
    listeners::{ListenerId, Listeners},
};

impl Socket {
    /// Handles an event of this client; after the namespace's own listeners, in the order of registration.
    pub fn on<A, R: IntoReply>(
        &self,
        event: impl Into<ByteString>,
        handler: impl Handler<A, R>,
    ) -> ListenerId {
        self.change(|listeners| listeners.add(event.into(), handler))
    }

    /// Handles the next event of this name, once.
    pub fn once<A, R: IntoReply>(
        &self,
        event: impl Into<ByteString>,
        handler: impl Handler<A, R>,
    ) -> ListenerId {
        self.change(|listeners| listeners.add_once(event.into(), handler))
    }

    /// Handles every event of this client, before the listeners of its name.
    pub fn on_any<A, R: IntoReply>(&self, handler: impl Handler<A, R>) -> ListenerId {
        self.change(|listeners| listeners.add_any(handler))
    }

    /// Sees every event that is sent to this client, to it alone or by broadcast.
    pub fn on_any_outgoing(
        &self,
        listener: impl Fn(&str, &Args) + Send + Sync + 'static,
    ) -> ListenerId {
        self.0.namespace.is_watched.store(true, Ordering::Release);
        self.change(|listeners| listeners.add_outgoing(listener))
    }

    /// Runs when this client has left.
    pub fn on_disconnect<A, R: IntoReply>(&self, handler: impl Handler<A, R>) -> ListenerId {
        self.change(|listeners| listeners.add_disconnect(handler))
    }

    /// Decides about every event of this client before its listeners see it.
    pub fn use_event<A>(&self, middleware: impl Middleware<A>) {
        self.change(|listeners| listeners.add_event_middleware(middleware));
    }

    /// Removes a listener. `false`: it was not there.
    pub fn off(&self, listener: ListenerId) -> bool {
        self.change(|listeners| listeners.remove(listener))
    }

    fn change<R>(&self, change: impl FnOnce(&mut Listeners) -> R) -> R {
        change(Arc::make_mut(&mut self.0.extra().listeners.write()))
    }
}
