//! Running the listeners of one event, one after the other.

use std::sync::Arc;

use bytestring::ByteString;
use futures_util::future::BoxFuture;
use kentongan_protocol::socket::args::Args;

use super::{
    extract::Context,
    listeners::{Listener, Listeners},
};
use crate::{
    error::Refusal,
    metrics::RefusalCode,
    recovery::Recovery,
    session::slots::Done,
    socket::{Ended, Socket},
};

/// What there is to run for an event; `None` when nobody listens.
pub(crate) fn event(
    socket: &Socket,
    id: Option<u64>,
    name: ByteString,
    args: Args,
) -> Option<BoxFuture<'static, Done>> {
    let shared = socket.0.namespace.behaviour.listeners();
    let own = own(socket);
    let is_heard =
        |listeners: &Listeners| !listeners.any.is_empty() || listeners.events.contains_key(&name);
    if !is_heard(&shared) && !own.as_deref().is_some_and(is_heard) {
        return None;
    }
    let context = Context::event(socket, id, name, args);
    Some(Box::pin(async move {
        let layers = [Some(shared), own];
        for middleware in layers
            .iter()
            .flatten()
            .flat_map(|listeners| &listeners.event_middleware)
        {
            if let Err(refusal) = middleware(&context).await {
                refused(&context, &refusal);
                return Done::Handled;
            }
        }
        for listeners in layers.iter().flatten() {
            all(&listeners.any, &context).await;
        }
        for listeners in layers.iter().flatten() {
            if let Some(list) = listeners.events.get(&context.name) {
                all(list, &context).await;
            }
        }
        Done::Handled
    }))
}

/// The connect handlers. Rights and rooms are settled by then.
pub(crate) fn connected(
    socket: &Socket,
    auth: Args,
    recovery: Recovery,
) -> Option<BoxFuture<'static, Done>> {
    let shared = socket.0.namespace.behaviour.listeners();
    if shared.connect.is_empty() {
        return None;
    }
    let context = Context::connect(socket, auth, Some(recovery));
    Some(Box::pin(async move {
        all(&shared.connect, &context).await;
        Done::Handled
    }))
}

/// The disconnect handlers.
pub(crate) fn disconnected(socket: &Socket, ended: Ended) -> Option<BoxFuture<'static, Done>> {
    let shared = socket.0.namespace.behaviour.listeners();
    let own = own(socket);
    if shared.disconnect.is_empty() && own.as_ref().is_none_or(|own| own.disconnect.is_empty()) {
        return None;
    }
    let context = Context::disconnect(socket, ended);
    Some(Box::pin(async move {
        for listeners in [Some(shared), own].iter().flatten() {
            all(&listeners.disconnect, &context).await;
        }
        Done::Handled
    }))
}

async fn all(listeners: &[Listener], context: &Context) {
    for listener in listeners.iter().filter(|listener| listener.fires()) {
        (listener.handler)(context).await;
    }
}

fn own(socket: &Socket) -> Option<Arc<Listeners>> {
    socket
        .0
        .extra_if_any()
        .map(|extra| Arc::clone(&extra.listeners.read()))
}

fn refused(context: &Context, refusal: &Refusal) {
    tracing::debug!(event = %context.name, message = refusal.message, "an event was refused");
    context
        .socket
        .0
        .session
        .engine
        .metrics
        .refused(RefusalCode::EventMiddleware);
    context.acknowledge_error(refusal);
}
