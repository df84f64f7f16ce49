//! A listener of our own: hyper, with deadlines and limits on request heads.

use std::{future::Future, io, sync::Arc, time::Duration};

use futures_util::future::Either;
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

use super::{
    reply::{self, Body},
    service::SocketIoService,
};
use crate::{handshake::PeerAddr, server::Server, session::engine::Engine};

/// Limits on HTTP connections of [`Server::serve`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServeConfig {
    /// How long a request head may take. 5 s.
    pub head_timeout: Duration,
    /// Headers of a request. 100 (CVE-2024-37890).
    pub headers_max: usize,
    /// Bytes of a request head. 16 KiB (CVE-2023-43669).
    pub head_bytes_max: usize,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(5),
            headers_max: 100,
            head_bytes_max: 16 * 1024,
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
    let own = SocketIoService::new(&engine);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (own, mut fallback) = (own.clone(), fallback.clone());
        let is_own = engine.takes(request.uri().path());
        async move {
            if is_own {
                request.extensions_mut().insert(PeerAddr(peer));
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
        .max_buf_size(config.head_bytes_max)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "http connection ended");
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
