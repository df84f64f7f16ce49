//! What the test suites of the protocols talk to: a Socket.IO server at `/socket.io/` that gives everything back, and a
//! bare Engine.IO server at `/engine.io/` that echoes every message.
//!
//! ```text
//! cargo run --release -p kentongan --example conformance -- --listen 127.0.0.1:3000
//! ```
//!
//! Flags: `--listen ADDRESS:PORT` (several times for several addresses), `--ping-interval MS` (300), `--ping-timeout MS`
//! (200), `--max-payload BYTES` (1000000), `--connect-timeout MS` (1000), `--recovery`.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    error::Error,
    future::Future,
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use kentongan::{
    Ack, Args, Config, Cors, Namespace, RawHandler, RawMessage, RawServer, RawSession,
    RecoveryConfig, ServeConfig, Server, Socket, SocketIoService,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tower_service::Service;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;

    let server = Server::new(options.config.clone())?;
    for name in ["/", "/custom"] {
        install(&server.of(name));
    }
    let mut config = options.config;
    config.path = "/engine.io/".to_owned();
    let raw = RawServer::new(config, Arc::new(Echo))?;
    let fallback = EngineIo {
        service: raw.service(),
    };

    let (stop, stopped) = watch::channel(false);
    let mut serving = JoinSet::new();
    for address in &options.listen {
        let listener = TcpListener::bind(address).await?;
        println!("listening on {}", listener.local_addr()?);
        let (server, fallback, mut stopped) = (server.clone(), fallback.clone(), stopped.clone());
        serving.spawn(async move {
            let stop = async { drop(stopped.wait_for(|stopped| *stopped).await) };
            server
                .serve(listener, ServeConfig::default(), fallback, stop)
                .await
        });
    }
    stop_signal().await;
    stop.send_replace(true);
    while let Some(ended) = serving.join_next().await {
        ended??;
    }
    let deadline = Duration::from_secs(2);
    tokio::join!(server.shutdown(deadline), raw.shutdown(deadline));
    Ok(())
}

fn install(namespace: &Namespace) {
    namespace.on_connect(|socket: Socket, auth: Args| async move {
        let sent = match auth.is_empty() {
            true => socket.emit("auth", BTreeMap::<String, ()>::new()),
            false => socket.emit("auth", auth),
        };
        report("auth", sent);
    });
    namespace.on("message", |socket: Socket, args: Args| async move {
        report("message-back", socket.emit("message-back", args));
    });
    namespace.on("message-with-ack", |args: Args, ack: Ack| async move {
        ack.send(args)
    });
}

/// A client that is gone needs no answer, but something that cannot be sent is worth a line.
fn report(event: &str, sent: Result<(), kentongan::EmitError>) {
    if let Err(error) = sent {
        eprintln!("{event}: {error}");
    }
}

/// Text comes back as text, binary as binary.
struct Echo;

impl RawHandler for Echo {
    fn message(&self, session: &RawSession, message: RawMessage) {
        session.send(&message);
    }
}

/// Routes what is not Socket.IO.
#[derive(Clone)]
struct EngineIo {
    service: SocketIoService,
}

impl Service<Request<Incoming>> for EngineIo {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if request.uri().path().starts_with("/engine.io/") {
            return Service::call(&mut self.service, request);
        }
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        Box::pin(std::future::ready(Ok(response)))
    }
}

struct Options {
    listen: Vec<String>,
    config: Config,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut config = Config::default();
        config.ping_interval = Duration::from_millis(300);
        config.ping_timeout = Duration::from_millis(200);
        config.connect_timeout = Duration::from_millis(1000);
        config.limits.message_bytes_max = 1_000_000;
        config.cors = Cors::any();
        let mut listen = Vec::new();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--listen" => listen.push(value()?),
                "--ping-interval" => {
                    config.ping_interval = Duration::from_millis(number(&word, &value()?)?)
                }
                "--ping-timeout" => {
                    config.ping_timeout = Duration::from_millis(number(&word, &value()?)?)
                }
                "--connect-timeout" => {
                    config.connect_timeout = Duration::from_millis(number(&word, &value()?)?)
                }
                "--max-payload" => config.limits.message_bytes_max = number(&word, &value()?)?,
                "--recovery" => config.recovery = Some(RecoveryConfig::default()),
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        if listen.is_empty() {
            listen.push("127.0.0.1:3000".to_owned());
        }
        // What comes in has to fit on its way back.
        config.held.outbox_bytes_max = config
            .held
            .outbox_bytes_max
            .max(2 * config.limits.message_bytes_max);
        Ok(Self { listen, config })
    }
}

fn number<T: FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{flag}: {text} is not a number that fits"))
}

/// Resolves at SIGINT or SIGTERM.
async fn stop_signal() {
    #[cfg(unix)]
    if let Ok(mut terminate) =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
    {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}
