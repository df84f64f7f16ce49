//! The tower service: routes a request, checks it in the documented order, and answers.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, request::Parts};
use http_body::Body as HttpBody;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    handshake, polling,
    query::Query,
    reply::{self, Body, Refusal},
    upgrade,
};
use crate::{admission::unauthenticated::Crowd, handshake::client, session::engine::Engine};

/// A [`tower_service::Service`] for Engine.IO requests. Cheap to clone.
#[derive(Clone)]
pub struct SocketIoService {
    engine: Arc<Engine>,
}

impl SocketIoService {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        Self {
            engine: Arc::clone(engine),
        }
    }
}

impl<B> Service<Request<B>> for SocketIoService
where
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move { Ok(answer(engine, request).await) })
    }
}

/// hyper's own trait, for servers without tower.
impl<B> hyper::service::Service<Request<B>> for SocketIoService
where
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move { Ok(answer(engine, request).await) })
    }
}

/// Answers one request.
async fn answer<B>(engine: Arc<Engine>, request: Request<B>) -> Response<Body>
where
    B: HttpBody + Send + 'static,
    B::Data: Send,
{
    let cors = &engine.config.cors;
    let headers = request.headers().clone();
    let mut response = if cors.is_preflight(request.method(), &headers) {
        let mut response = reply::empty(StatusCode::NO_CONTENT);
        cors.apply_preflight(&headers, response.headers_mut());
        response
    } else {
        let result = route(&engine, request).await;
        let mut response = result.unwrap_or_else(|refusal| {
            tracing::debug!(code = refusal.code().as_str(), "request refused");
            engine.metrics.refused(refusal.code());
            refusal.response()
        });
        cors.apply(&headers, response.headers_mut());
        response
    };
    if let Some(change) = &engine.config.hooks.headers {
        change(response.headers_mut());
    }
    response
}

async fn route<B>(engine: &Arc<Engine>, request: Request<B>) -> Result<Response<Body>, Refusal>
where
    B: HttpBody + Send + 'static,
    B::Data: Send,
{
    let (parts, body) = request.into_parts();
    let gzip_bytes_min = engine.config.http_compression_bytes_min;
    if let Some(bundles) = &engine.config.client_bundles
        && let Some(response) = bundles.answer(&parts, gzip_bytes_min)
    {
        return Ok(response);
    }
    let uri = parts.uri.clone();
    let query = Query::parse(uri.query().unwrap_or_default());
    let transports = engine.config.transports;
    let websocket = match query.transport.as_deref() {
        Some("polling") if transports.polling() => false,
        Some("websocket") if transports.websocket() => true,
        _ => return Err(Refusal::TransportUnknown),
    };
    if !engine.config.cors.allows(&parts.headers) {
        return Err(Refusal::Forbidden("Forbidden".to_owned()));
    }
    let is_upgrade = parts.headers.contains_key(http::header::UPGRADE);
    if is_upgrade && !websocket {
        return Err(Refusal::BadRequest);
    }
    if let Some(sid) = query.sid.as_deref() {
        let session = engine.find(sid).ok_or(Refusal::SessionUnknown)?;
        // What was negotiated at the handshake is not negotiated again (CVE-2026-102599).
        if query.eio.as_deref() != Some(PROTOCOL_REVISION) {
            return Err(Refusal::ProtocolVersion);
        }
        return match (websocket, is_upgrade) {
            (true, true) => upgrade::probe(&session, &query, parts).await,
            (true, false) => Err(Refusal::BadRequest),
            // No HEAD: it would take packets out of the session and drop them.
            (false, _) if parts.method == Method::GET => polling::get(&session, &parts).await,
            (false, _) if parts.method == Method::POST => {
                polling::post(&session, &parts, body).await
            }
            (false, _) => Err(Refusal::Method),
        };
    }
    if parts.method != Method::GET {
        return Err(Refusal::HandshakeMethod);
    }
    if websocket && !is_upgrade {
        return Err(Refusal::BadRequest);
    }
    engine.allow(&parts).await?;
    if query.eio.as_deref() != Some(PROTOCOL_REVISION) {
        return Err(Refusal::ProtocolVersion);
    }
    if engine.is_closing() || engine.is_full() {
        return Err(Refusal::Unavailable);
    }
    let address = client(&parts.headers, &parts.extensions, &engine.config);
    let admitted = engine.admit(address).map_err(|crowd| match crowd {
        Crowd::Address => Refusal::AddressUnauthenticated,
        Crowd::Total => Refusal::Unauthenticated,
    })?;
    if websocket {
        upgrade::open(engine, &query, parts, admitted)
    } else {
        handshake::polling(engine, parts, admitted)
    }
}

/// A [`tower_layer::Layer`] that takes what lies below the configured path.
#[derive(Clone)]
pub struct SocketIoLayer {
    engine: Arc<Engine>,
}

impl SocketIoLayer {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        Self {
            engine: Arc::clone(engine),
        }
    }
}

impl<S> Layer<S> for SocketIoLayer {
    type Service = SocketIoOr<S>;

    fn layer(&self, inner: S) -> SocketIoOr<S> {
        SocketIoOr {
            own: SocketIoService::new(&self.engine),
            inner,
        }
    }
}

/// A service that takes Engine.IO requests and passes on all others.
#[derive(Clone)]
pub struct SocketIoOr<S> {
    own: SocketIoService,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for SocketIoOr<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: From<Body> + 'static,
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.own.engine.takes(request.uri().path()) {
            let engine = Arc::clone(&self.own.engine);
            return Box::pin(async move { Ok(answer(engine, request).await.map(R::from)) });
        }
        Box::pin(self.inner.call(request))
    }
}

impl Engine {
    /// Asks the application's hook, which has no longer than a handshake may take.
    pub(crate) async fn allow(&self, parts: &Parts) -> Result<(), Refusal> {
        let Some(allow) = &self.config.hooks.allow_request else {
            return Ok(());
        };
        tokio::time::timeout(self.config.open_timeout, allow(parts))
            .await
            .map_err(|_| Refusal::Late)?
            .map_err(Refusal::Forbidden)
    }

    /// Whether a path is ours: the prefix, as Node does it.
    pub(crate) fn takes(&self, path: &str) -> bool {
        let config = &self.config;
        path.starts_with(&config.path)
            || (config.path_without_slash && path == config.path.trim_end_matches('/'))
    }
}

const PROTOCOL_REVISION: &str = "4";
