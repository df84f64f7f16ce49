//! How a client comes into a namespace: find it, ask the middleware, then let the client in, in one step.
//!
//! Invariant: a client that is refused, or whose session ends meanwhile, leaves nothing behind; and recovery comes after
//! the middleware, so that nobody gets missed messages who would not be let in today.

use std::sync::Arc;

use bytestring::ByteString;
use kentongan_protocol::{
    engine::session::Class,
    socket::{args::Args, encode},
};

use super::{
    NamespaceInner,
    registry::{Arriving, Namespaces},
};
use crate::{
    error::Refusal,
    handler::extract::Context,
    id::Sid,
    metrics::{self, RefusalCode},
    recovery::{Claim, Recovery},
    session::{shared::Session, slots::Arrival},
    socket::Socket,
};

/// A client that middleware let in.
pub(crate) struct Prepared {
    arrival: Settled,
    auth: Args,
    /// Keeps the namespace until the client is in.
    arriving: Arriving,
}

/// Under which id a client comes in, and what it continues with.
struct Settled {
    socket: Socket,
    recovered: Option<Returning>,
    recovery: Recovery,
}

/// What a client that comes back continues from.
struct Returning {
    claim: Claim,
    rooms: Vec<ByteString>,
}

/// Finds the namespace and asks its middleware.
pub(crate) async fn prepare(
    session: Arc<Session>,
    namespaces: Arc<Namespaces>,
    name: ByteString,
    auth: Option<Args>,
) -> Arrival {
    let parser = session.engine.config.parser;
    let auth = auth.unwrap_or_else(|| Args::empty(parser));
    let decided = tokio::time::timeout(
        session.engine.config.middleware_timeout,
        decide(&session, &namespaces, &name, &auth),
    )
    .await;
    let refusal = match decided {
        Ok(Ok(prepared)) => return Arrival::Prepared(Box::new(prepared)),
        Ok(Err(refusal)) => refusal,
        Err(_) => {
            session.engine.metrics.refused(RefusalCode::Timeout);
            Refusal::new("Timed out")
        }
    };
    let message = refusal.message.clone();
    let data = refusal.connect_error_data();
    let frame = encode::connect_error(parser, &name, &message, data.as_ref());
    let _ = session.send(frame, Class::Reliable);
    Arrival::Refused
}

async fn decide(
    session: &Arc<Session>,
    namespaces: &Namespaces,
    name: &ByteString,
    auth: &Args,
) -> Result<Prepared, Refusal> {
    let Some(arriving) = namespaces.resolve(name, auth).await else {
        session
            .engine
            .metrics
            .refused(RefusalCode::NamespaceUnknown);
        return Err(Refusal::new("Invalid namespace"));
    };
    let namespace = Arc::clone(arriving.namespace());
    let claim = namespace
        .recovery
        .as_ref()
        .map(|recovery| recovery.claim(auth));
    let id = match &claim {
        Some(Ok(claim)) => claim.socket,
        _ => Sid::random(),
    };
    let socket = Socket::new(id, Arc::clone(&namespace), Arc::clone(session));
    let listeners = namespace.behaviour.listeners();
    let context = Context::connect(&socket, auth.clone(), None);
    for middleware in &listeners.middleware {
        if let Err(refusal) = middleware(&context).await {
            session.engine.metrics.refused(RefusalCode::Middleware);
            drop(arriving);
            namespaces.clean_up(&namespace);
            return Err(refusal);
        }
    }
    Ok(Prepared {
        arrival: settle(socket, &namespace, claim),
        auth: auth.clone(),
        arriving,
    })
}

/// Decides what a client that comes back continues with; one that may not continues as a new client.
fn settle(
    socket: Socket,
    namespace: &Arc<NamespaceInner>,
    claim: Option<Result<Claim, Recovery>>,
) -> Settled {
    let failed = |recovery| {
        // The id belongs to the session that is not continued.
        let fresh = Socket::new(
            Sid::random(),
            Arc::clone(namespace),
            Arc::clone(&socket.0.session),
        );
        fresh.adopt(&socket);
        Settled {
            socket: fresh,
            recovered: None,
            recovery,
        }
    };
    match claim {
        None | Some(Err(Recovery::New)) => Settled {
            socket,
            recovered: None,
            recovery: Recovery::New,
        },
        Some(Err(recovery)) => Settled {
            socket,
            recovered: None,
            recovery,
        },
        Some(Ok(claim)) => {
            let Some(recovery) = &namespace.recovery else {
                return failed(Recovery::New);
            };
            match recovery.take_over(&claim, &socket) {
                Err(reason) => failed(reason),
                Ok((rooms, data)) => {
                    socket.set_data(data);
                    let rooms = match namespace.behaviour.recover() {
                        Some(decide) => decide(&socket, rooms),
                        None => rooms,
                    };
                    Settled {
                        socket,
                        recovered: Some(Returning { claim, rooms }),
                        recovery: Recovery::New,
                    }
                }
            }
        }
    }
}

/// Lets the client in. `None`: its session has ended meanwhile.
pub(crate) fn activate(prepared: Prepared) -> Option<(Socket, Args, Recovery)> {
    let Prepared {
        arrival,
        auth,
        arriving,
    } = prepared;
    let Settled {
        mut socket,
        recovered,
        mut recovery,
    } = arrival;
    let namespace = Arc::clone(&socket.0.namespace);
    let metrics = Arc::clone(&namespace.metrics);
    let rooms = socket.0.take_early_rooms();
    let joined = match &namespace.recovery {
        None => {
            // First, so that no broadcast can come before it.
            let frame = encode::connect(
                namespace.config.parser,
                &namespace.name,
                &socket.id().text(),
                None,
            );
            let _ = socket.0.send(frame, Class::Reliable);
            namespace.hub.add(&socket.0, &rooms)?
        }
        Some(log) => {
            let mut outcome = None;
            if let Some(Returning {
                claim,
                rooms: mut kept,
            }) = recovered
            {
                // Apart from `rooms`: a client that cannot continue begins without the rooms of its past.
                kept.retain(|room| !rooms.contains(room));
                let all = [rooms.as_slice(), &kept].concat();
                match log.resume(&namespace, &socket, &claim, &all) {
                    Ok(resumed) => outcome = Some(resumed),
                    Err(reason) => {
                        recovery = reason;
                        let fresh = Socket::new(
                            Sid::random(),
                            Arc::clone(&namespace),
                            Arc::clone(&socket.0.session),
                        );
                        fresh.adopt(&socket);
                        socket = fresh;
                    }
                }
            }
            match outcome {
                Some((joined, replayed)) => {
                    recovery = Recovery::Complete { replayed };
                    joined?
                }
                None => log.begin(&namespace, &socket, &rooms, &recovery)?,
            }
        }
    };
    for (room, changed) in &joined {
        namespace.tell_joined(socket.id(), room, *changed);
    }
    match &recovery {
        Recovery::New => {}
        Recovery::Complete { .. } => metrics::add(&metrics.recovered, 1),
        _ => metrics::add(&metrics.not_recovered, 1),
    }
    metrics::add(&metrics.sockets_connected, 1);
    metrics::add(&metrics.sockets_open, 1);
    drop(arriving);
    Some((socket, auth, recovery))
}
