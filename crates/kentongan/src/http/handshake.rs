//! The handshake over polling, and what both handshakes say.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, header, request::Parts};
use kentongan_protocol::engine::payload;

use super::reply::{self, Body, Refusal};
use crate::{
    config::{Cookie, SameSite},
    handshake::Handshake,
    session::{
        engine::{Admitted, Engine},
        shared::Session,
    },
};

/// Opens a session and answers with its open packet.
pub(crate) fn polling(
    engine: &Arc<Engine>,
    mut parts: Parts,
    admitted: Admitted,
) -> Result<Response<Body>, Refusal> {
    let handshake = Handshake::new(&mut parts, &engine.config);
    let session = engine.open(handshake).ok_or(Refusal::Unavailable)?;
    admitted.hand_over();
    let upgrades: &[&str] = if engine.session.allow_upgrades {
        &["websocket"]
    } else {
        &[]
    };
    let mut response = reply::payload(Bytes::from(open_packet(&session, upgrades)));
    if let Some(value) = engine
        .config
        .cookie
        .as_ref()
        .and_then(|cookie| cookie_header(cookie, &session))
    {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    if let Some(change) = &engine.config.hooks.initial_headers {
        change(response.headers_mut());
    }
    Ok(response)
}

/// The open packet of a session.
pub(crate) fn open_packet(session: &Session, upgrades: &[&str]) -> String {
    let engine = &session.engine;
    let millis =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = &engine.config;
    let json = payload::open_json(
        &session.id.text(),
        upgrades,
        millis(config.ping_interval),
        millis(config.ping_timeout),
        config.limits.message_bytes_max,
    );
    format!("0{json}")
}

fn cookie_header(cookie: &Cookie, session: &Session) -> Option<HeaderValue> {
    let mut text = format!("{}={}; Path={}", cookie.name, session.id, cookie.path);
    if cookie.http_only {
        text.push_str("; HttpOnly");
    }
    if cookie.secure {
        text.push_str("; Secure");
    }
    text.push_str(match cookie.same_site {
        SameSite::Strict => "; SameSite=Strict",
        SameSite::Lax => "; SameSite=Lax",
        SameSite::None => "; SameSite=None",
    });
    HeaderValue::from_str(&text).ok()
}
