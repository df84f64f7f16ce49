//! Every scenario against a real server in this process, small; and servers that break their word, which must be found.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::{net::SocketAddr, sync::Arc};

use clap::Parser as _;
use kentongan::{Config, Deflate, RecoveryConfig};
use kentongan_load::{Faults, LoadError, Options, Report};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

use support::{Mischief, TestServer, options};

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
    assert_eq!(report.operations, 10 * 20 * 15);
}

#[test]
fn polling() {
    check("echo --connections 5 --in-flight 3 --transport polling");
    check("ack --connections 5 --in-flight 3 --transport polling");
    check("fanout --connections 10 --rate 100 --transport polling");
    check("idle --connections 5 --transport polling");
    check("connect --connections 5 --transport polling");
}

#[test]
fn jitter_with_recovery_loses_nothing() {
    let mut config = Config::default();
    config.recovery = Some(RecoveryConfig::default());
    let report = TestServer::with(config, Mischief::None).load(JITTER);
    assert_eq!(report.faults, Faults::default());
    let json = report.json();
    assert!(json["recovered"].as_u64() > Some(5), "{json}");
    assert_eq!(json["not_recovered"], 0);
    assert_eq!(json["delivered"], json["expected"]);
    assert!(json["replay_us"]["max"].as_f64() > Some(0.0));
}

#[test]
fn jitter_without_recovery_loses_messages_and_nothing_else() {
    let report = TestServer::start(Mischief::None).load(JITTER);
    let none = Faults::default();
    let lost = report.faults.lost;
    assert!(lost > 0);
    assert_eq!(report.faults, Faults { lost, ..none });
    let json = report.json();
    assert_eq!(json["recovered"], 0);
    assert!(json["not_recovered"].as_u64() > Some(5), "{json}");
    assert_eq!(json["missing_recovered"], 0, "{json}");
    assert_eq!(json["missing_not_recovered"], lost);
}

const JITTER: &str =
    "jitter --connections 10 --rate 100 --cut-after 0.4 --away 0.1 --duration 1.5 --workers 2";

#[test]
fn tls() {
    let server = TestServer::start(Mischief::None);
    let (_proxy, port) = tls_in_front_of(server.addr);
    let url = format!("https://localhost:{port}");
    let secure = |arguments: &str| {
        let mut options = options(server.addr, arguments);
        options.url.clone_from(&url);
        kentongan_load::run(&options)
    };
    for transport in ["websocket", "polling"] {
        let arguments =
            format!("echo --connections 5 --in-flight 3 --insecure --transport {transport}");
        let report = secure(&arguments).unwrap();
        assert_eq!(report.faults, Faults::default(), "{transport}");
        assert!(report.operations > 0);
    }
    let error = secure("echo").unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn compressed_messages_are_read_and_missing_compression_is_refused() {
    let mut config = Config::default();
    config.deflate = Some(Deflate { bytes_min: 0 });
    let server = TestServer::with(config, Mischief::None);
    let report = server.load("fanout --connections 4 --rate 100 --size 400 --deflate");
    assert_eq!(report.faults, Faults::default());
    assert!(report.operations > 0);

    let plain = TestServer::start(Mischief::None);
    let options = options(plain.addr, "fanout --connections 4 --deflate");
    let error = kentongan_load::run(&options).unwrap_err();
    assert!(error.to_string().contains("does not compress"), "{error}");
}

/// Ends TLS on a free port of the loopback interface, with a certificate that nobody trusts.
fn tls_in_front_of(addr: SocketAddr) -> (tokio::runtime::Runtime, u16) {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("localhost:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        while let Ok((outer, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut outer) = acceptor.accept(outer).await {
                    let mut inner = TcpStream::connect(addr).await.unwrap();
                    // Either side may cut: that is what the scenarios are about.
                    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                }
            });
        }
    });
    (runtime, port)
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
