//! The server that is measured: echo and broadcasts, nothing else, on the loopback interface.
//!
//! ```text
//! cargo run --release -p kentongan --example lab -- PORT [--workers N] [--recovery] [--msgpack] [--deflate] [--tls]
//! ```
//!
//! `echo(payload)` emits `echo(payload)`, and acknowledges with it if asked; `join(room)` joins and acknowledges;
//! `bcast(room, payload)` emits `msg(payload)` to the room, sender included; `bcastn(room, payload, n)` does so n times.
//! `--deflate` compresses messages of every size for clients that offer it; `--tls` serves TLS, with a certificate that is made at the start and that nobody trusts.
//! Without `--workers` there are as many worker threads as CPUs that the process may use.

use std::{error::Error, net::Ipv4Addr, sync::Arc, time::Duration};

use kentongan::{
    Ack, Args, Config, Data, Deflate, Namespace, NotFound, Parser, RecoveryConfig, Refusal, Reply,
    ServeConfig, Server, Socket, Tls, Value,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};
use tokio::net::TcpListener;

/// What a server that is tuned for speed would choose too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = options.workers {
        runtime.worker_threads(workers);
    }
    runtime.enable_all().build()?.block_on(serve(options))
}

async fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let server = Server::new(options.config)?;
    install(&server.of("/"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    let mut serve = ServeConfig::default();
    if options.tls {
        serve.tls = Some(self_signed()?);
    }
    println!("listening on {}", listener.local_addr()?);
    server
        .serve(listener, serve, NotFound, stop_signal())
        .await?;
    server.shutdown(Duration::from_secs(2)).await;
    Ok(())
}

/// TLS with a certificate of its own making.
fn self_signed() -> Result<Tls, Box<dyn Error>> {
    let names = vec!["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
    let signed = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)?;
    Ok(Tls::from_config(config))
}

fn install(namespace: &Namespace) {
    namespace.on(
        "echo",
        |socket: Socket, payload: Args, ack: Ack| async move {
            // A client that cannot be sent to is gone, or is being closed as too slow.
            let _ = socket.emit("echo", &payload);
            ack.send(payload);
        },
    );
    namespace.on(
        "join",
        |socket: Socket, Data(room): Data<String>| async move {
            socket
                .join(room.as_str())
                .map_err(|error| Refusal::new(error.to_string()))?;
            Ok::<_, Refusal>(Reply(room))
        },
    );
    namespace.on(
        "bcast",
        |socket: Socket, Data((room, payload)): Data<(String, Value)>| async move {
            let _ = socket.namespace().to(room).emit("msg", payload);
        },
    );
    namespace.on(
        "bcastn",
        |socket: Socket, Data((room, payload, n)): Data<(String, Value, u32)>, args: Args| async move {
            let room = socket.namespace().to(room);
            let per_turn = (BYTES_PER_TURN / args.bytes_len()).clamp(1, MESSAGES_PER_TURN);
            for sent in 1..=n as usize {
                let _ = room.clone().emit("msg", &payload);
                if sent % per_turn == 0 {
                    // The sender is in the room too: its own connection has to be written to.
                    tokio::task::yield_now().await;
                }
            }
        },
    );
}

// A turn must not fill the outboxes.
const MESSAGES_PER_TURN: usize = 1024;
const BYTES_PER_TURN: usize = 256 * 1024;

struct Options {
    port: u16,
    workers: Option<usize>,
    tls: bool,
    config: Config,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        const USAGE: &str =
            "usage: lab PORT [--workers N] [--recovery] [--msgpack] [--deflate] [--tls]";
        let (mut port, mut workers, mut tls, mut config) = (None, None, false, Config::default());
        while let Some(word) = words.next() {
            match word.as_str() {
                "--workers" => {
                    workers = Some(
                        words
                            .next()
                            .and_then(|n| n.parse().ok())
                            .filter(|n| *n > 0)
                            .ok_or(USAGE)?,
                    )
                }
                "--recovery" => config.recovery = Some(RecoveryConfig::default()),
                "--deflate" => config.deflate = Some(Deflate { bytes_min: 0 }),
                "--tls" => tls = true,
                "--msgpack" => config.parser = Parser::Msgpack,
                _ if port.is_none() => port = Some(word.parse().map_err(|_| USAGE)?),
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(Self {
            port: port.ok_or(USAGE)?,
            workers,
            tls,
            config,
        })
    }
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
