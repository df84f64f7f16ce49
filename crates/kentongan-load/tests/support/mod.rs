//! A server with the handlers that the scenarios need, which may break its word.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use clap::Parser as _;
use kentongan::{
    Ack, Args, Config, Data, Namespace, NotFound, Reply, ServeConfig, Server, Socket, Value,
};
use kentongan_load::{Options, Report};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};

/// What the server does to the broadcast with this number, counted from 0.
#[derive(Clone, Copy)]
pub(crate) enum Mischief {
    None,
    Drop(u64),
    Double(u64),
    /// Sends it after the next one.
    Swap(u64),
}

pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    _stop: oneshot::Sender<()>,
    _runtime: Runtime,
}

impl TestServer {
    pub(crate) fn start(mischief: Mischief) -> Self {
        Self::with(Config::default(), mischief)
    }

    pub(crate) fn with(config: Config, mischief: Mischief) -> Self {
        let runtime = Runtime::new().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let server = Server::new(config).unwrap();
            install(&server.of("/"), mischief);
            install(&server.of("/other"), mischief);
            let stopped = async move {
                let _ = stopped.await;
            };
            server
                .serve(listener, ServeConfig::default(), NotFound, stopped)
                .await
                .unwrap();
        });
        Self {
            addr,
            _stop: stop,
            _runtime: runtime,
        }
    }

    pub(crate) fn load(&self, arguments: &str) -> Report {
        kentongan_load::run(&options(self.addr, arguments)).unwrap()
    }
}

pub(crate) fn options(addr: SocketAddr, arguments: &str) -> Options {
    let url = format!("http://{addr}");
    let words = ["kentongan-load", "--url", &url, "--warm-up", "0.1"].into_iter();
    let mut options = Options::parse_from(words.chain(arguments.split_whitespace()));
    options.duration = options.duration.or(Some(Duration::from_millis(400)));
    options
}

pub(crate) fn install(namespace: &Namespace, mischief: Mischief) {
    namespace.on(
        "echo",
        |socket: Socket, payload: Args, ack: Ack| async move {
            let _ = socket.emit("echo", &payload);
            ack.send(payload);
        },
    );
    namespace.on(
        "join",
        |socket: Socket, Data(room): Data<String>| async move {
            socket.join(room.as_str()).unwrap();
            Reply(room)
        },
    );
    let count: &'static AtomicU64 = Box::leak(Box::default());
    let held: &'static std::sync::Mutex<Option<Value>> = Box::leak(Box::default());
    namespace.on(
        "bcast",
        move |socket: Socket, Data((room, payload)): Data<(String, Value)>| async move {
            let send = |payload: &Value| {
                let _ = socket.namespace().to(room.clone()).emit("msg", payload);
            };
            let number = count.fetch_add(1, Relaxed);
            match mischief {
                Mischief::Drop(at) if at == number => {}
                Mischief::Swap(at) if at == number => *held.lock().unwrap() = Some(payload),
                Mischief::Double(at) if at == number => {
                    send(&payload);
                    send(&payload);
                }
                _ => {
                    send(&payload);
                    if let Some(held) = held.lock().unwrap().take() {
                        send(&held);
                    }
                }
            }
        },
    );
    namespace.on(
        "bcastn",
        |socket: Socket, Data((room, payload, n)): Data<(String, Value, u32)>| async move {
            for _ in 0..n {
                let _ = socket.namespace().to(room.clone()).emit("msg", &payload);
            }
        },
    );
}
