//! TLS as a client sees it, with rustls on the other side: handshakes, what passes through, and how it ends.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::time::Duration;

use kentongan::{Config, DisconnectReason, Reply, Socket, Tls, TlsError};
use support::{
    http::{Connection, head},
    tls::{Client, Identity, Received, echo, refused, start, until},
    within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn both_transports_pass_and_handlers_know_that_it_is_tls() {
    let identity = Identity::new();
    let server = start(Config::default(), identity.tls(), |server| {
        echo(server);
        server.of("/").on("secure", |socket: Socket| async move {
            Reply(socket.handshake().is_secure())
        });
    })
    .await;
    let mut client = identity.join(server.addr).await;
    client.send(r#"42["echo","a"]"#).await;
    assert_eq!(client.text().await, r#"42["echo","a"]"#);
    client.send(r#"427["secure"]"#).await;
    assert_eq!(client.text().await, "437[true]");

    let mut polling = identity.connect(server.addr).await;
    let mut request = head("GET", POLLING, &[("Connection", "close")]);
    request.extend_from_slice(b"\r\n");
    polling.write_all(&request).await.unwrap();
    let mut answer = String::new();
    within("an answer", polling.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\n\r\n0{\"sid\":"), "{answer}");
    assert_eq!(refused(&server), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broadcasts_reach_every_client_in_order() {
    const CLIENTS: usize = 40;
    const MESSAGES: usize = 100;
    let identity = Identity::new();
    let server = start(Config::default(), identity.tls(), echo).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(identity.join(server.addr).await);
    }
    let padding = "x".repeat(3_000);
    for number in 0..MESSAGES {
        let all = server.server.of("/");
        all.emit("msg", (number, padding.as_str())).unwrap();
        if number % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for client in &mut clients {
        for number in 0..MESSAGES {
            let text = client.text().await;
            assert_eq!(text, format!("42[\"msg\",{number},\"{padding}\"]"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_gets_the_rest_when_it_reads_again() {
    // More than the kernel and rustls hold between them.
    const MESSAGES: usize = 200;
    let padding = "x".repeat(64 * 1024);
    let mut config = Config::default();
    config.held.outbox_bytes_max = 64 << 20;
    let identity = Identity::new();
    let server = start(config, identity.tls(), echo).await;
    let mut slow = identity.join(server.addr).await;
    let mut quick = identity.join(server.addr).await;
    for round in 0..2 {
        for number in 0..MESSAGES {
            let all = server.server.of("/");
            all.emit("msg", (number, padding.as_str())).unwrap();
            // Others go on meanwhile.
            assert!(
                quick
                    .text()
                    .await
                    .starts_with(&format!("42[\"msg\",{number},"))
            );
        }
        let written = server.server.metrics().snapshot().bytes_out;
        let all = 2 * (round + 1) * MESSAGES * padding.len();
        assert!(
            written < all as u64,
            "nothing waited: {written} B of {all} B"
        );
        for number in 0..MESSAGES {
            let text = slow.text().await;
            assert!(
                text.starts_with(&format!("42[\"msg\",{number},")),
                "{round} {number}"
            );
            assert!(text.ends_with("x\"]"));
        }
    }
    // What the client says meanwhile is heard as well.
    slow.send(r#"42["echo",1]"#).await;
    assert_eq!(slow.text().await, r#"42["echo",1]"#);
}

#[tokio::test]
async fn the_server_ends_websocket_and_tls_in_order() {
    let identity = Identity::new();
    let server = start(Config::default(), identity.tls(), echo).await;
    let mut client = identity.join(server.addr).await;
    let stopping = server.server.clone();
    let stopped = tokio::spawn(async move { stopping.shutdown(Duration::from_secs(5)).await });
    loop {
        match client.recv().await {
            Received::Text(_) => {}
            received => {
                assert_eq!(received, Received::Close(Some(1001)));
                break;
            }
        }
    }
    assert_eq!(client.recv().await, Received::End);
    client.stream.shutdown().await.unwrap();
    within("the shutdown", stopped).await.unwrap();
    assert_eq!(server.server.sessions_count(), 0);
}

#[tokio::test]
async fn a_client_that_is_just_gone_is_a_transport_close() {
    let identity = Identity::new();
    let (told, mut reasons) = mpsc::unbounded_channel();
    let server = start(Config::default(), identity.tls(), |server| {
        server
            .of("/")
            .on_disconnect(move |reason: DisconnectReason| {
                let told = told.clone();
                async move {
                    let _ = told.send(reason);
                }
            });
    })
    .await;
    let client = identity.join(server.addr).await;
    // TCP ends, TLS does not say so.
    drop(client);
    let reason = within("the end of the session", reasons.recv()).await;
    assert_eq!(reason, Some(DisconnectReason::TransportClose));
}

#[tokio::test]
async fn only_http_1_1_is_negotiated() {
    let identity = Identity::new();
    let server = start(Config::default(), identity.tls(), echo).await;
    let error = identity
        .try_connect(server.addr, &["h2"])
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
    until("the refusal is counted", || refused(&server) == 1).await;
    let stream = identity.try_connect(server.addr, &["h2", "http/1.1"]).await;
    let stream = stream.unwrap();
    assert_eq!(
        stream.get_ref().1.alpn_protocol(),
        Some(b"http/1.1".as_slice())
    );
    let stream = identity.try_connect(server.addr, &[]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    let _ = Client::open(stream).await;
}

#[tokio::test]
async fn plain_http_is_ended_in_order() {
    let identity = Identity::new();
    let server = start(Config::default(), identity.tls(), echo).await;
    let mut plain = Connection::open(server.addr).await;
    plain.request("GET", POLLING, &[], b"").await;
    let mut answer = Vec::new();
    let end = within("the end", plain.stream.read_to_end(&mut answer)).await;
    assert!(end.is_ok(), "an end, and no reset: {end:?}");
    // An alert of TLS (RFC 8446, section 6), which no HTTP client takes for an answer.
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
    until("the refusal is counted", || refused(&server) == 1).await;
    // Who only looks whether the port is open is not counted.
    drop(Connection::open(server.addr).await);
    let _ = identity.join(server.addr).await;
    assert_eq!(refused(&server), 1);
}

#[tokio::test]
async fn a_certificate_is_replaced_while_clients_are_connected() {
    let (old, new) = (Identity::new(), Identity::new());
    let tls = old.tls();
    let server = start(Config::default(), tls.clone(), echo).await;
    let mut before = old.join(server.addr).await;

    // A bad one changes nothing.
    let error = tls.replace_pem(new.chain.as_bytes(), old.key.as_bytes());
    assert_eq!(error.unwrap_err().code(), "tls_certificate");
    let _ = old.join(server.addr).await;

    tls.replace_pem(new.chain.as_bytes(), new.key.as_bytes())
        .unwrap();
    let mut after = new.join(server.addr).await;
    assert!(old.try_connect(server.addr, &[]).await.is_err());
    for client in [&mut before, &mut after] {
        client.send(r#"42["echo",1]"#).await;
        assert_eq!(client.text().await, r#"42["echo",1]"#);
    }
}

#[test]
fn what_is_no_certificate_is_refused_with_its_reason() {
    let identity = Identity::new();
    let check = |chain: &str, key: &str, code| {
        let error: TlsError = Tls::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    };
    check(&identity.chain, "no key", "tls_pem");
    check(
        "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n",
        &identity.key,
        "tls_pem",
    );
    check("", &identity.key, "tls_certificate");
    check(&identity.chain, &Identity::new().key, "tls_certificate");
    let shown = format!("{:?}", identity.tls());
    assert!(
        shown.contains("handshake_timeout") && !shown.contains("key"),
        "{shown}"
    );
}
