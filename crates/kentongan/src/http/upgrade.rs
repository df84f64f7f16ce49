//! WebSockets: as the first transport of a session, and as the probe of one that polls.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use kentongan_protocol::{
    engine::{
        packet::Packet,
        session::{ProbeId, ProbeStep},
    },
    websocket::handshake::{self as websocket_handshake, Handshake as WebSocketHandshake},
};

use super::{
    handshake::open_packet,
    polling,
    query::Query,
    reply::{self, Body, Refusal},
};
use crate::{
    handshake::Handshake,
    metrics::RefusalCode,
    session::{
        engine::{Admitted, Engine},
        shared::{Session, now},
        websocket::{WebSocket, reader::Received},
    },
};

/// Opens a session on a WebSocket.
pub(crate) fn open(
    engine: &Arc<Engine>,
    query: &Query<'_>,
    mut parts: Parts,
    admitted: Admitted,
) -> Result<Response<Body>, Refusal> {
    let (on_upgrade, mut response, deflate) = accept(engine, &mut parts)?;
    let base64 = query.base64;
    let handshake = Handshake::new(&mut parts, &engine.config);
    let engine = Arc::clone(engine);
    if let Some(change) = &engine.config.hooks.initial_headers {
        change(response.headers_mut());
    }
    tokio::spawn(async move {
        let Some(mut websocket) = established(on_upgrade, &engine, deflate, base64).await else {
            return;
        };
        // The open packet is the first frame; the task writes it in its first turn.
        let session = engine.prepare(handshake);
        websocket.writer.queue_text(&open_packet(&session, &[]));
        if engine.start(&session, Some(websocket)) {
            admitted.hand_over();
        } else {
            // Another handshake took the last place after the 101 was sent.
            engine.metrics.refused(RefusalCode::Unavailable);
        }
    });
    Ok(response)
}

/// Starts the upgrade of a session that polls.
pub(crate) async fn probe(
    session: &Arc<Session>,
    query: &Query<'_>,
    mut parts: Parts,
) -> Result<Response<Body>, Refusal> {
    let engine = &session.engine;
    engine.allow(&parts).await?;
    let (on_upgrade, response, deflate) = accept(engine, &mut parts)?;
    let probe = session.begin_probe().map_err(polling::refusal)?;
    let deadline = session
        .machine(|machine| machine.probe_deadline(probe))
        .unwrap_or_else(now);
    let (session, base64) = (Arc::clone(session), query.base64);
    tokio::spawn(async move {
        let open = OpenProbe {
            session: &session,
            probe,
        };
        let engine = &session.engine;
        let Some(websocket) = established(on_upgrade, engine, deflate, base64).await else {
            return;
        };
        if let Some(websocket) = run_probe(&open, websocket, deadline).await {
            session.upgraded(websocket);
        }
    });
    Ok(response)
}

/// A probe that is under way; dropped, the session goes on without it.
struct OpenProbe<'a> {
    session: &'a Session,
    probe: ProbeId,
}

impl Drop for OpenProbe<'_> {
    fn drop(&mut self) {
        self.session.end_probe(self.probe);
    }
}

/// Speaks with a probing WebSocket until it wins (then it is returned), loses or runs out of time (then it is closed).
async fn run_probe(
    open: &OpenProbe<'_>,
    mut websocket: WebSocket,
    deadline: Instant,
) -> Option<WebSocket> {
    let config = open.session.config();
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    let speak = std::future::poll_fn(|cx| {
        while look.poll_tick(cx).is_ready() {
            // Another probe has won, or the session is over: nothing on this socket would tell.
            let probe = open.probe;
            if !open.session.machine(|machine| machine.is_probe_open(probe)) {
                return std::task::Poll::Ready(false);
            }
        }
        loop {
            let (mut step, mut answer) = (None, None);
            let read = websocket
                .reader
                .poll_read(cx, config, &mut answer, |received| {
                    let packet = match received {
                        Received::Text(text) => Packet::decode_text(text).ok(),
                        Received::Binary(_) => None,
                    };
                    let decided = packet.map_or(ProbeStep::Reject, |packet| {
                        open.session.probe_packet(open.probe, &packet)
                    });
                    step = Some(decided);
                    decided == ProbeStep::ReplyPong
                });
            if let Some(answer) = answer {
                websocket.writer.queue_answer(answer);
            }
            match step {
                Some(ProbeStep::Upgraded) => return std::task::Poll::Ready(true),
                Some(ProbeStep::Reject) => return std::task::Poll::Ready(false),
                Some(ProbeStep::ReplyPong) => websocket.writer.queue_text("3probe"),
                None => {}
            }
            if websocket
                .writer
                .poll_write(cx, config, |_, _, _| {})
                .is_ready_and(Result::is_err)
            {
                return std::task::Poll::Ready(false);
            }
            match read {
                std::task::Poll::Ready(Ok(_)) => {}
                std::task::Poll::Ready(Err(_)) => return std::task::Poll::Ready(false),
                std::task::Poll::Pending => return std::task::Poll::Pending,
            }
        }
    });
    let won = tokio::time::timeout_at(deadline.into(), speak).await;
    if won == Ok(true) {
        return Some(websocket);
    }
    // The session forgets the probe at the same moment, so `speak` may be the one to notice. Too slow is against the
    // rules of this server; having lost to another probe is not.
    let is_late = won.is_err() || deadline <= now();
    if is_late {
        open.session.engine.metrics.refused(RefusalCode::Timeout);
    }
    websocket.writer.close(is_late.then_some(POLICY_VIOLATION));
    let farewell = std::future::poll_fn(|cx| {
        let _ = websocket.writer.poll_write(cx, config, |_, _, _| {});
        let _ = websocket.writer.poll_shutdown(cx);
        websocket.reader.poll_discard(cx)
    });
    // A peer that does not answer the close frame is cut off.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, farewell).await;
    None
}

trait ReadyAnd<T> {
    fn is_ready_and(&self, predicate: impl FnOnce(&T) -> bool) -> bool;
}

impl<T> ReadyAnd<T> for std::task::Poll<T> {
    fn is_ready_and(&self, predicate: impl FnOnce(&T) -> bool) -> bool {
        matches!(self, std::task::Poll::Ready(value) if predicate(value))
    }
}

/// Checks the WebSocket handshake (RFC 6455, section 4.2) and prepares the 101.
fn accept(
    engine: &Engine,
    parts: &mut Parts,
) -> Result<(OnUpgrade, Response<Body>, bool), Refusal> {
    if parts.method != http::Method::GET {
        return Err(Refusal::HandshakeMethod);
    }
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let WebSocketHandshake {
        accept,
        protocol,
        deflate,
    } = websocket_handshake::validate(headers, engine.config.deflate.is_some()).map_err(
        |error| {
            tracing::debug!(code = error.code(), "websocket handshake refused");
            Refusal::BadRequest
        },
    )?;
    // Shared compressed frames need the full window; a client that wants a smaller one gets plain frames.
    let deflate = deflate.filter(|params| params.server_max_window_bits == FULL_WINDOW_BITS);
    let on_upgrade = parts
        .extensions
        .remove::<OnUpgrade>()
        .ok_or(Refusal::BadRequest)?;
    let mut response = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    let out = response.headers_mut();
    out.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    out.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    insert(out, header::SEC_WEBSOCKET_ACCEPT, &accept);
    if let Some(protocol) = protocol {
        insert(out, header::SEC_WEBSOCKET_PROTOCOL, &protocol);
    }
    if let Some(params) = &deflate {
        insert(out, header::SEC_WEBSOCKET_EXTENSIONS, &params.to_string());
    }
    Ok((on_upgrade, response, deflate.is_some()))
}

fn insert(headers: &mut http::HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

async fn established(
    on_upgrade: OnUpgrade,
    engine: &Engine,
    deflate: bool,
    base64: bool,
) -> Option<WebSocket> {
    let upgraded = tokio::time::timeout(engine.config.open_timeout, on_upgrade)
        .await
        .ok()?
        .ok()?;
    Some(WebSocket::new(upgraded, deflate, base64))
}

/// How long a losing probe may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a probe looks whether it may still win.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
const FULL_WINDOW_BITS: u8 = 15;
/// RFC 6455, section 7.4.1.
const POLICY_VIOLATION: u16 = 1008;
