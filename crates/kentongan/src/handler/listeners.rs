//! The listeners of a namespace or a socket.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytestring::ByteString;
use kentongan_protocol::socket::args::Args;
use rustc_hash::FxHashMap;

use super::{Erased, ErasedMiddleware, Handler, IntoReply, Middleware, erase, erase_middleware};

/// Names a listener, to remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

/// Listeners in the order of their registration. Copied when changed, so that running handlers keep theirs.
#[derive(Clone, Default)]
pub(crate) struct Listeners {
    pub(crate) middleware: Vec<ErasedMiddleware>,
    pub(crate) connect: Vec<Listener>,
    pub(crate) disconnect: Vec<Listener>,
    pub(crate) event_middleware: Vec<ErasedMiddleware>,
    pub(crate) any: Vec<Listener>,
    /// Only the application adds to it, so it needs no hash that withstands clients.
    events: FxHashMap<ByteString, Vec<Listener>>,
    outgoing: Vec<(ListenerId, Outgoing)>,
}

type Outgoing = Arc<dyn Fn(&str, &Args) + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Listener {
    id: ListenerId,
    pub(crate) handler: Erased,
    /// Set once it may not run again.
    spent: Option<Arc<AtomicBool>>,
}

impl Listener {
    fn new(handler: Erased) -> Self {
        Self {
            id: ListenerId::next(),
            handler,
            spent: None,
        }
    }

    /// Whether it should run now.
    pub(crate) fn fires(&self) -> bool {
        self.spent
            .as_ref()
            .is_none_or(|spent| !spent.swap(true, Ordering::AcqRel))
    }
}

impl ListenerId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Listeners {
    pub(crate) fn add<A, R: IntoReply>(
        &mut self,
        event: ByteString,
        handler: impl Handler<A, R>,
    ) -> ListenerId {
        let listener = Listener::new(erase(handler));
        let id = listener.id;
        self.events.entry(event).or_default().push(listener);
        id
    }

    pub(crate) fn add_once<A, R: IntoReply>(
        &mut self,
        event: ByteString,
        handler: impl Handler<A, R>,
    ) -> ListenerId {
        let listener = Listener {
            spent: Some(Arc::default()),
            ..Listener::new(erase(handler))
        };
        let id = listener.id;
        let list = self.events.entry(event).or_default();
        list.retain(|each| {
            each.spent
                .as_ref()
                .is_none_or(|spent| !spent.load(Ordering::Acquire))
        });
        list.push(listener);
        id
    }

    pub(crate) fn add_any<A, R: IntoReply>(&mut self, handler: impl Handler<A, R>) -> ListenerId {
        push(&mut self.any, erase(handler))
    }

    pub(crate) fn add_connect<A, R: IntoReply>(
        &mut self,
        handler: impl Handler<A, R>,
    ) -> ListenerId {
        push(&mut self.connect, erase(handler))
    }

    pub(crate) fn add_disconnect<A, R: IntoReply>(
        &mut self,
        handler: impl Handler<A, R>,
    ) -> ListenerId {
        push(&mut self.disconnect, erase(handler))
    }

    pub(crate) fn add_middleware<A>(&mut self, middleware: impl Middleware<A>) {
        self.middleware.push(erase_middleware(middleware));
    }

    pub(crate) fn add_event_middleware<A>(&mut self, middleware: impl Middleware<A>) {
        self.event_middleware.push(erase_middleware(middleware));
    }

    pub(crate) fn add_outgoing(
        &mut self,
        listener: impl Fn(&str, &Args) + Send + Sync + 'static,
    ) -> ListenerId {
        let id = ListenerId::next();
        self.outgoing.push((id, Arc::new(listener)));
        id
    }

    pub(crate) fn remove(&mut self, id: ListenerId) -> bool {
        let before = self.len();
        for list in
            self.events
                .values_mut()
                .chain([&mut self.any, &mut self.connect, &mut self.disconnect])
        {
            list.retain(|listener| listener.id != id);
        }
        self.events.retain(|_, list| !list.is_empty());
        self.outgoing.retain(|(each, _)| *each != id);
        self.len() != before
    }

    /// The listener of an event, if it is the only thing to run.
    pub(crate) fn only(&self, event: &ByteString) -> Option<&Listener> {
        match self.events.get(event)?.as_slice() {
            [only] if self.any.is_empty() && self.event_middleware.is_empty() => Some(only),
            _ => None,
        }
    }

    /// Whether anything listens to an event.
    pub(crate) fn hears(&self, event: &ByteString) -> bool {
        !self.any.is_empty() || self.events.contains_key(event)
    }

    /// Those of an event.
    pub(crate) fn of(&self, event: &ByteString) -> &[Listener] {
        self.events.get(event).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn tell_outgoing(&self, event: &str, args: &Args) {
        for (_, listener) in &self.outgoing {
            listener(event, args);
        }
    }

    /// Whether there is nothing to run, whatever happens.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0 && self.event_middleware.is_empty() && self.middleware.is_empty()
    }

    fn len(&self) -> usize {
        self.events.values().map(Vec::len).sum::<usize>()
            + self.any.len()
            + self.connect.len()
            + self.disconnect.len()
            + self.outgoing.len()
    }
}

fn push(list: &mut Vec<Listener>, handler: Erased) -> ListenerId {
    let listener = Listener::new(handler);
    let id = listener.id;
    list.push(listener);
    id
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners")
            .field("events", &self.events.keys())
            .finish_non_exhaustive()
    }
}
