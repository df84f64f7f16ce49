//! Every scenario against a real server in this process, small; and servers that break their word, which must be found.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use clap::Parser as _;
use kentongan::{
    Ack, Args, Config, Data, Namespace, NotFound, Reply, ServeConfig, Server, Socket, Value,
};
use kentongan_load::{Faults, LoadError, Options, Report};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};

/// What the server does to the broadcast with this number, counted from 0.
#[derive(Clone, Copy)]
enum Mischief {
    None,
    Drop(u64),
    Double(u64),
    /// Sends it after the next one.
    Swap(u64),
}

struct TestServer {
    addr: SocketAddr,
    _stop: oneshot::Sender<()>,
    _runtime: Runtime,
}

impl TestServer {
    fn start(mischief: Mischief) -> Self {
        let runtime = Runtime::new().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let server = Server::new(Config::default()).unwrap();
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

    fn load(&self, arguments: &str) -> Report {
        kentongan_load::run(&options(self.addr, arguments)).unwrap()
    }
}

fn options(addr: SocketAddr, arguments: &str) -> Options {
    let url = format!("http://{addr}");
    let quick = ["--warm-up", "0.1", "--duration", "0.4", "--url", &url];
    let words = ["kentongan-load"].into_iter();
    Options::parse_from(words.chain(arguments.split_whitespace()).chain(quick))
}

fn install(namespace: &Namespace, mischief: Mischief) {
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

fn check(arguments: &str) -> Report {
    let report = TestServer::start(Mischief::None).load(arguments);
    assert_eq!(report.faults, Faults::default(), "{arguments}");
    assert!(report.operations > 0, "{arguments}");
    report
}

#[test]
fn idle() {
    let me = std::process::id();
    let report = check(&format!("idle --connections 20 --rooms 2 --pid {me}"));
    assert_eq!(report.operations, 20);
    let json = report.json();
    assert!(json["server"]["anonymous_after"].as_u64() > Some(0));
    assert_eq!(json["rooms"], 2);
}

#[test]
fn connect() {
    let report = check("connect --connections 5");
    assert!(!report.latency_ns.is_empty());
}

#[test]
fn echo_and_ack() {
    check("echo --connections 7 --in-flight 3");
    check("ack --connections 7 --in-flight 3 --workers 2 --namespace /other");
    check("echo --connections 1 --size 70000");
}

#[test]
fn fanout() {
    let report = check("fanout --connections 10 --rate 100 --workers 2");
    let json = report.json();
    assert!(json["latency_us"]["p50"].as_f64() > Some(0.0));
    assert!(json["operations"].as_u64() <= json["messages_sent"].as_u64().map(|sent| sent * 10));
}

#[test]
fn burst() {
    let report = check("burst --connections 10 --messages 20 --workers 2");
    assert_eq!(report.operations, 10 * 20 * 5);
}

#[test]
fn broken_promises_are_found() {
    let none = Faults::default();
    for (mischief, expected) in [
        (Mischief::Drop(3), Faults { lost: 4, ..none }),
        (Mischief::Double(3), Faults { doubled: 4, ..none }),
        (
            Mischief::Swap(3),
            Faults {
                out_of_order: 4,
                ..none
            },
        ),
    ] {
        let report = TestServer::start(mischief).load("fanout --connections 4 --rate 100");
        assert_eq!(report.faults, expected);
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    // Bound but not listening: nobody else can take the port.
    let socket = socket_without_listener();
    let addr = socket.local_addr().unwrap();
    let error = kentongan_load::run(&options(addr, "echo")).unwrap_err();
    assert_eq!(error.code(), "connect");
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

fn socket_without_listener() -> std::net::UdpSocket {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap()
}

#[test]
fn a_server_that_refuses_is_quoted() {
    let server = TestServer::start(Mischief::None);
    let refused = |arguments| kentongan_load::run(&options(server.addr, arguments)).unwrap_err();
    let error = refused("echo --path /nothing/");
    assert!(
        matches!(&error, LoadError::Refused(why) if why.contains("404")),
        "{error}"
    );
    let error = refused("echo --namespace /unknown");
    assert!(
        matches!(&error, LoadError::Refused(why) if why.contains("Invalid namespace")),
        "{error}"
    );
}

#[test]
fn usage_errors() {
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    for arguments in ["echo --size 39", "echo --namespace x", "echo --path x"] {
        let error = kentongan_load::run(&options(addr, arguments)).unwrap_err();
        assert_eq!(error.code(), "usage", "{arguments}");
    }
    let mut bad_url = options(addr, "echo");
    bad_url.url = "127.0.0.1:3000".into();
    assert_eq!(kentongan_load::run(&bad_url).unwrap_err().code(), "usage");
    assert!(Options::try_parse_from(["kentongan-load", "echo", "--connections", "0"]).is_err());
    assert!(Options::try_parse_from(["kentongan-load", "nothing"]).is_err());
}
