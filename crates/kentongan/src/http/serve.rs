//! A listener of our own: hyper, with deadlines and limits on request heads.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::Either;
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tower_service::Service;

use super::{
    reply::{self, Body, Refusal},
    service::SocketIoService,
};
use crate::{
    handshake::{OverTls, PeerAddr},
    metrics::RefusalCode,
    server::Server,
    session::engine::Engine,
};

/// Limits on HTTP connections of [`Server::serve`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServeConfig {
    /// How long a request head may take. 5 s.
    pub head_timeout: Duration,
    /// Headers of a request. 100 (CVE-2024-37890); beyond it the answer is 431.
    pub headers_max: usize,
    /// Bytes of a request line without its line end. 8 KiB; beyond it the answer is 414.
    pub request_line_bytes_max: usize,
    /// Bytes of all headers, each as `name: value` with its line end. 16 KiB (CVE-2023-43669); beyond it the answer is 431.
    pub headers_bytes_max: usize,
    /// Ends TLS on this listener; `None` serves plain HTTP. None.
    #[cfg(feature = "tls")]
    pub tls: Option<super::tls::Tls>,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(5),
            headers_max: 100,
            request_line_bytes_max: 8 * 1024,
            headers_bytes_max: 16 * 1024,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Server {
    /// Serves on `listener` until `stop` resolves; what is not below `Config::path` goes to `fallback`. Afterwards nothing
    /// is accepted any more; call [`Server::shutdown`] for the sessions.
    ///
    /// # Errors
    /// None at present: a failed accept is retried, since most of its causes pass.
    pub async fn serve<F>(
        &self,
        listener: TcpListener,
        config: ServeConfig,
        fallback: F,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()>
    where
        F: Service<Request<Incoming>, Response = Response<Body>> + Clone + Send + Sync + 'static,
        F::Future: Send,
        F::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let engine = Arc::clone(self.engine());
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = match futures_util::future::select(
                std::pin::pin!(listener.accept()),
                stop.as_mut(),
            )
            .await
            {
                Either::Left((accepted, _)) => accepted,
                Either::Right(_) => return Ok(()),
            };
            match accepted {
                Ok((stream, _)) => drop(tokio::spawn(connection(
                    Arc::clone(&engine),
                    stream,
                    config.clone(),
                    fallback.clone(),
                ))),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    // Out of descriptors, most likely: without a pause this would spin.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn connection<F>(engine: Arc<Engine>, stream: TcpStream, config: ServeConfig, fallback: F)
where
    F: Service<Request<Incoming>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    F::Future: Send,
    F::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Ok(peer) = stream.peer_addr() else { return };
    // Small frames must not wait for each other's acknowledgements.
    let _ = stream.set_nodelay(true);
    #[cfg(feature = "tls")]
    if let Some(tls) = &config.tls {
        match tls.accept(stream).await {
            Ok(stream) => http(engine, stream, peer, Some(OverTls), config, fallback).await,
            Err(refused) if refused.is_fault() => engine.metrics.refused(RefusalCode::TlsHandshake),
            Err(_) => {}
        }
        return;
    }
    http(engine, stream, peer, None, config, fallback).await;
}

/// Speaks HTTP on `stream`, whatever is below it.
async fn http<S, F>(
    engine: Arc<Engine>,
    stream: S,
    peer: SocketAddr,
    over_tls: Option<OverTls>,
    config: ServeConfig,
    fallback: F,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Service<Request<Incoming>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    F::Future: Send,
    F::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let own = SocketIoService::new(&engine);
    let metrics = Arc::clone(&engine.metrics);
    let limits = config.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (own, mut fallback) = (own.clone(), fallback.clone());
        let is_own = engine.takes(request.uri().path());
        let refused = limits.check(&request).err();
        if let Some(refusal) = &refused {
            engine.metrics.refused(refusal.code());
        }
        async move {
            if let Some(refusal) = refused {
                return Ok(refusal.response());
            }
            if is_own {
                request.extensions_mut().insert(PeerAddr(peer));
                over_tls.map(|over_tls| request.extensions_mut().insert(over_tls));
                return match hyper::service::Service::call(&own, request).await {
                    Ok(response) => Ok(response),
                    Err(never) => match never {},
                };
            }
            fallback.call(request).await
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_headers(config.headers_max)
        .max_buf_size(config.head_bytes_max())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "http connection ended");
        if error.is_parse_too_large() {
            metrics.refused(RefusalCode::RequestHead);
        } else if error.is_timeout() {
            metrics.refused(RefusalCode::Timeout);
        } else if error.is_parse() {
            metrics.refused(RefusalCode::BadRequest);
        }
    }
}

impl ServeConfig {
    /// What hyper may hold of a head: a coarse bound, since it reads in blocks. The exact ones are in [`Self::check`].
    fn head_bytes_max(&self) -> usize {
        self.request_line_bytes_max
            .saturating_add(self.headers_bytes_max)
            .saturating_add(LINE_ENDS)
            .max(HYPER_BUFFER_MIN)
    }

    fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let uri = request.uri();
        let origin = uri
            .scheme_str()
            .map_or(0, |scheme| scheme.len() + "://".len())
            + uri.authority().map_or(0, |host| host.as_str().len());
        let target = origin + uri.path_and_query().map_or(0, |path| path.as_str().len());
        let line = request.method().as_str().len() + target + "  HTTP/1.1".len();
        if line > self.request_line_bytes_max {
            return Err(Refusal::RequestLine);
        }
        let headers: usize = request
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
            .sum();
        if headers > self.headers_bytes_max {
            return Err(Refusal::Headers);
        }
        Ok(())
    }
}

/// The fallback for a server that serves nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct NotFound;

impl Service<Request<Incoming>> for NotFound {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Response<Body>, std::convert::Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Incoming>) -> Self::Future {
        std::future::ready(Ok(reply::empty(StatusCode::NOT_FOUND)))
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Of the request line, and of the empty line.
const LINE_ENDS: usize = 4;
/// hyper panics below it.
const HYPER_BUFFER_MIN: usize = 8192;
