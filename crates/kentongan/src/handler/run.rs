//! Running the listeners of one event, one after the other.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use arc_swap::Guard;
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
    socket::{Ended, Socket},
};

/// What there is to run for an event; `None` when nobody listens.
pub(crate) fn event(
    socket: &Socket,
    id: Option<u64>,
    name: ByteString,
    args: Args,
) -> Option<BoxFuture<'static, ()>> {
    let shared = socket.0.namespace.behaviour.listeners();
    let own = own(socket);
    let only = match &own {
        None => shared.only(&name),
        Some(_) => None,
    };
    if let Some(only) = only {
        let context = Context::event(socket, id, name, args);
        return only.fires().then(|| started(only, &context));
    }
    if !shared.hears(&name) && own.as_ref().is_none_or(|own| !own.hears(&name)) {
        return None;
    }
    let context = Context::event(socket, id, name, args);
    let shared = Guard::into_inner(shared);
    Some(Box::pin(all_of(shared, own, context)))
}

/// Calls a handler. If the call itself panics, so does what it returns: all panics of handlers are met in one place.
fn started(listener: &Listener, context: &Context) -> BoxFuture<'static, ()> {
    catch_unwind(AssertUnwindSafe(|| (listener.handler)(context)))
        .unwrap_or_else(|panic| Box::pin(async { resume_unwind(panic) }))
}

/// Middleware and listeners, one after the other.
async fn all_of(shared: Arc<Listeners>, own: Option<Arc<Listeners>>, context: Context) {
    let layers = [Some(shared), own];
    for middleware in layers
        .iter()
        .flatten()
        .flat_map(|listeners| &listeners.event_middleware)
    {
        if let Err(refusal) = middleware(&context).await {
            return refused(&context, &refusal);
        }
    }
    for listeners in layers.iter().flatten() {
        all(&listeners.any, &context).await;
    }
    for listeners in layers.iter().flatten() {
        all(listeners.of(&context.name), &context).await;
    }
}

/// The connect handlers. Rights and rooms are settled by then.
pub(crate) fn connected(
    socket: &Socket,
    auth: Args,
    recovery: Recovery,
) -> Option<BoxFuture<'static, ()>> {
    let shared = socket.0.namespace.behaviour.listeners();
    if shared.connect.is_empty() {
        return None;
    }
    let context = Context::connect(socket, auth, Some(recovery));
    let shared = Guard::into_inner(shared);
    Some(Box::pin(async move {
        all(&shared.connect, &context).await;
    }))
}

/// The disconnect handlers.
pub(crate) fn disconnected(socket: &Socket, ended: Ended) -> Option<BoxFuture<'static, ()>> {
    let shared = socket.0.namespace.behaviour.listeners();
    let own = own(socket);
    if shared.disconnect.is_empty() && own.as_ref().is_none_or(|own| own.disconnect.is_empty()) {
        return None;
    }
    let context = Context::disconnect(socket, ended);
    let shared = Guard::into_inner(shared);
    Some(Box::pin(async move {
        for listeners in [Some(shared), own].iter().flatten() {
            all(&listeners.disconnect, &context).await;
        }
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
        .filter(|own| !own.is_empty())
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
    context.ack.give_refusal(refusal);
}
