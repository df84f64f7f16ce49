//! Limits on the wire, each one below it, at it, and one above: what the client sees and which counter moves.
//!
//! The table of all limits, with the names of these tests, is `docs/limits.md`.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kentongan::{
    AckError, BodyRate, Config, JoinError, Rate, RefusalCode, Reply, ServeConfig, Server, Socket,
    TryData, Value,
};
use kentongan_protocol::websocket::Opcode;
use support::{
    TestServer, http,
    http::{Answer, Connection},
    serve, start, start_echo,
    websocket::{UPGRADE, WebSocket, masked},
    within,
};
use tokio::sync::mpsc;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

async fn open(server: &TestServer) -> WebSocket {
    let mut ws = WebSocket::connect(server.addr, WEBSOCKET).await;
    assert!(ws.text().await.starts_with('0'));
    ws
}

async fn join(server: &TestServer) -> WebSocket {
    let mut ws = open(server).await;
    ws.send_text("40").await;
    assert!(ws.text().await.starts_with("40{"));
    ws
}

async fn open_polling(server: &TestServer) -> String {
    let answer = http::get(server.addr, POLLING).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let sid = answer.text().split('"').nth(3).unwrap().to_owned();
    format!("{POLLING}&sid={sid}")
}

fn refused(server: &TestServer, code: RefusalCode) -> u64 {
    server.server.metrics().snapshot().refused(code)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// The sockets of the root namespace, as they connect.
fn sockets(server: &Server) -> mpsc::UnboundedReceiver<Socket> {
    let (sender, receiver) = mpsc::unbounded_channel();
    server.of("/").on_connect(move |socket: Socket| {
        let sender = sender.clone();
        async move { sender.send(socket).unwrap() }
    });
    receiver
}

// --- the head of a request ---

async fn raw_get(server: &TestServer, bytes: &[u8]) -> Answer {
    let mut connection = Connection::open(server.addr).await;
    connection.send(bytes).await;
    connection.answer().await
}

#[tokio::test]
async fn limit_of_request_lines() {
    let server = start(Config::default()).await;
    let limit = ServeConfig::default().request_line_bytes_max;
    assert_eq!(limit, 8 * 1024);
    for (bytes, status) in [(limit - 1, 200), (limit, 200), (limit + 1, 414)] {
        for path in [POLLING, "/elsewhere?"] {
            let fixed = format!("GET {path}&x= HTTP/1.1").len();
            let line = format!("GET {path}&x={} HTTP/1.1", "a".repeat(bytes - fixed));
            assert_eq!(line.len(), bytes);
            let answer = raw_get(&server, format!("{line}\r\nHost: x\r\n\r\n").as_bytes()).await;
            let status = if path == POLLING || status == 414 {
                status
            } else {
                404
            };
            assert_eq!(answer.status, status, "{bytes} at {path}");
            if status == 414 {
                assert_eq!(answer.header("connection"), Some("close"));
            }
        }
    }
    assert_eq!(refused(&server, RefusalCode::RequestHead), 2);
}

#[tokio::test]
async fn limit_of_header_bytes() {
    let server = start(Config::default()).await;
    let limit = ServeConfig::default().headers_bytes_max;
    assert_eq!(limit, 16 * 1024);
    for (bytes, status) in [(limit - 1, 200), (limit, 200), (limit + 1, 431)] {
        let fixed = "Host: x\r\nX-Long: \r\n".len();
        let headers = format!("Host: x\r\nX-Long: {}\r\n", "a".repeat(bytes - fixed));
        assert_eq!(headers.len(), bytes);
        let request = format!("GET {POLLING} HTTP/1.1\r\n{headers}\r\n");
        assert_eq!(
            raw_get(&server, request.as_bytes()).await.status,
            status,
            "{bytes}"
        );
        // In small writes: the answer does not depend on how the bytes arrive.
        let mut connection = Connection::open(server.addr).await;
        for part in request.as_bytes().chunks(1000) {
            connection.send(part).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(connection.answer().await.status, status, "{bytes} in parts");
    }
    assert_eq!(refused(&server, RefusalCode::RequestHead), 2);
}

#[tokio::test]
async fn limit_of_header_count() {
    let server = start(Config::default()).await;
    for (count, status) in [(99, 200), (100, 200), (101, 431)] {
        let many = "X-Many: 1\r\n".repeat(count - 1);
        let request = format!("GET {POLLING} HTTP/1.1\r\nHost: x\r\n{many}\r\n");
        assert_eq!(
            raw_get(&server, request.as_bytes()).await.status,
            status,
            "{count}"
        );
    }
    until("the counter", || {
        refused(&server, RefusalCode::RequestHead) == 1
    })
    .await;
}

#[tokio::test]
async fn limit_of_time_for_a_request_head() {
    let mut hurry = ServeConfig::default();
    hurry.head_timeout = Duration::from_millis(200);
    let server = Server::new(Config::default()).unwrap();
    let server = support::serve_with(server, hurry).await;
    let mut slow = Connection::open(server.addr).await;
    let mut silent = Connection::open(server.addr).await;
    slow.send(b"GET /socket.io/ HTTP/1.1\r\nHost:").await;
    assert_eq!(http::get(server.addr, POLLING).await.status, 200);
    for connection in [&mut slow, &mut silent] {
        let rest = connection.rest().await;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"));
    }
    until("the counter", || {
        refused(&server, RefusalCode::Timeout) >= 2
    })
    .await;
}

// --- handshakes and bodies ---

#[tokio::test]
async fn limit_of_time_for_a_handshake() {
    let server = start(config(|config| {
        config.open_timeout = Duration::from_millis(50);
        config.hooks.allow_request = Some(Arc::new(|parts| {
            let is_slow = parts
                .uri
                .query()
                .is_some_and(|query| query.contains("slow"));
            Box::pin(async move {
                if is_slow {
                    std::future::pending::<()>().await;
                }
                Ok(())
            })
        }));
    }))
    .await;
    assert_eq!(http::get(server.addr, POLLING).await.status, 200);
    for target in [POLLING, WEBSOCKET] {
        let target = format!("{target}&slow");
        let upgrade: &[_] = if target.starts_with(WEBSOCKET) {
            &UPGRADE
        } else {
            &[]
        };
        let answer = http::request(server.addr, "GET", &target, upgrade, b"").await;
        assert_eq!(answer.status, 503, "{target}");
    }
    assert_eq!(refused(&server, RefusalCode::Timeout), 2);
    assert_eq!(server.server.sessions_count(), 1);
}

#[tokio::test]
async fn limit_of_time_for_the_first_namespace() {
    let server = start(config(|config| {
        config.connect_timeout = Duration::from_millis(200);
    }))
    .await;
    let mut joined = join(&server).await;
    let mut idle = open(&server).await;
    let started = Instant::now();
    assert!(idle.close_code().await.is_some());
    assert!(started.elapsed() >= Duration::from_millis(150));
    assert_eq!(refused(&server, RefusalCode::Timeout), 1);
    joined.send_text("41").await;
    joined.send_text("40").await;
    assert!(joined.text().await.starts_with("40{"), "it has joined once");
}

#[tokio::test]
async fn limit_of_slow_bodies() {
    let server = start(config(|config| {
        config.body_rate = Some(BodyRate {
            bytes_per_second_min: 1024,
            grace: Duration::from_millis(300),
        });
    }))
    .await;
    // 2,048 bytes in pieces, well within 300 ms + 2 s.
    let target = open_polling(&server).await;
    let mut connection = Connection::open(server.addr).await;
    let begin = |bytes: usize| {
        let mut head = http::head("POST", &target, &[]);
        head.extend_from_slice(format!("Content-Length: {bytes}\r\n\r\n").as_bytes());
        head
    };
    connection.send(&begin(2048)).await;
    let body = format!("40{{\"a\":\"{}\"}}", "x".repeat(2038));
    assert_eq!(body.len(), 2048);
    for piece in body.as_bytes().chunks(512) {
        connection.send(piece).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(connection.answer().await.text(), "ok");
    // A byte every 50 ms is 20 per second.
    let mut connection = Connection::open(server.addr).await;
    connection.send(&begin(2048)).await;
    let started = Instant::now();
    let answer = within("the refusal", async {
        loop {
            tokio::select! {
                answer = connection.answer() => break answer,
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            connection.send(b"4").await;
        }
    })
    .await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (408, Some("close"))
    );
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(refused(&server, RefusalCode::BodyTooSlow), 1);
    assert_eq!(
        http::get(server.addr, &target).await.status,
        400,
        "a part was lost"
    );
}

// --- before the first namespace ---

#[tokio::test]
async fn limit_of_messages_before_a_namespace() {
    let limit = Config::default().unauthenticated.message_bytes_max;
    assert_eq!(limit, 16 * 1024);
    let server = start(Config::default()).await;
    let connect = |bytes: usize| {
        let fixed = r#"40{"a":""}"#.len();
        format!(r#"40{{"a":"{}"}}"#, "x".repeat(bytes - fixed))
    };
    for (bytes, accepted) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
        let mut ws = open(&server).await;
        ws.send_text(&connect(bytes)).await;
        if accepted {
            assert!(ws.text().await.starts_with("40{"), "{bytes}");
            ws.send_text(&format!(r#"42["x","{}"]"#, "x".repeat(2 * limit)))
                .await;
            ws.send_text("4x").await;
            // Only a session that took the event gets as far as the packet that is not allowed.
            assert_eq!(ws.close_code().await, Some(Some(1002)), "{bytes}");
        } else {
            assert_eq!(ws.close_code().await, Some(Some(1009)), "{bytes}");
        }
        let target = open_polling(&server).await;
        let answer = http::post(server.addr, &target, connect(bytes)).await;
        assert_eq!(answer.status, if accepted { 200 } else { 413 }, "{bytes}");
        if accepted {
            let _ = http::get(server.addr, &target).await;
            let event = format!(r#"42["x","{}"]"#, "x".repeat(2 * limit));
            assert_eq!(http::post(server.addr, &target, event).await.text(), "ok");
        }
    }
    assert_eq!(refused(&server, RefusalCode::WebSocket), 1);
    assert_eq!(refused(&server, RefusalCode::PayloadTooLarge), 1);
    assert_eq!(server.server.metrics().snapshot().events_in, 4);
}

/// Payloads that wait for slow middleware and answers that nobody fetches.
#[tokio::test]
async fn limit_of_bytes_held_before_a_namespace() {
    let limit = 1000;
    let server = Server::new(config(|config| {
        config.unauthenticated.held_bytes_max = limit;
    }))
    .unwrap();
    for name in ["/a", "/b", "/c"] {
        server.of(name).middleware(|| async {
            std::future::pending::<()>().await;
            Ok(())
        });
    }
    let server = serve(server).await;
    // `{"t":"…"}` is held as it came, in an array of arguments.
    let connect = |name: &str, bytes: usize| {
        format!(r#"40{name},{{"t":"{}"}}"#, "x".repeat(bytes - HELD_AROUND))
    };
    for (bytes, accepted) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
        let mut ws = open(&server).await;
        ws.send_text(&connect("/a", 400)).await;
        ws.send_text(&connect("/b", bytes - 400)).await;
        // The answer to an unknown namespace comes only in an open session; a small one is held like any other.
        ws.send_text("40/nope,").await;
        if accepted {
            assert!(ws.text().await.starts_with("44/nope,"), "{bytes}");
        } else {
            assert!(ws.close_code().await.is_some(), "{bytes}");
        }
    }
    assert_eq!(refused(&server, RefusalCode::UnauthenticatedBytes), 1);
    // Refusals pile up with a client that does not fetch them.
    let target = open_polling(&server).await;
    for _ in 0..100 {
        http::post(server.addr, &target, "40/nope,").await;
    }
    assert_eq!(refused(&server, RefusalCode::UnauthenticatedBytes), 2);
    let answers = refused(&server, RefusalCode::NamespaceUnknown);
    assert!((10..40).contains(&answers), "{answers} of about 50 bytes");
}

const HELD_AROUND: usize = r#"{"t":""}"#.len();

#[tokio::test]
async fn limit_of_unauthenticated_connections() {
    for (change, status) in [
        (
            (|config| config.unauthenticated.per_address_max = Some(2)) as fn(&mut Config),
            429,
        ),
        (|config| config.unauthenticated.total_max = Some(2), 503),
    ] {
        let server = start(config(change)).await;
        // Those who have joined do not count.
        let _joined = (
            join(&server).await,
            join(&server).await,
            join(&server).await,
        );
        let mut one = open(&server).await;
        let two = open_polling(&server).await;
        let refusals = |expected: u64| {
            let count = refused(&server, RefusalCode::UnauthenticatedTooMany);
            assert_eq!(count, expected, "{status}");
        };
        refusals(0);
        let answer = http::get(server.addr, POLLING).await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (status, Some("5"))
        );
        let answer = WebSocket::try_connect(server.addr, WEBSOCKET, &[])
            .await
            .err();
        assert_eq!(answer.map(|answer| answer.status), Some(status));
        refusals(2);
        // One joins: there is a place again, once.
        one.send_text("40").await;
        assert!(one.text().await.starts_with("40{"));
        let three = open(&server).await;
        assert_eq!(http::get(server.addr, POLLING).await.status, status);
        // One leaves.
        drop(three);
        until("the place of the one that left", || {
            server.server.sessions_count() == 5
        })
        .await;
        let _four = open_polling(&server).await;
        // What has joined and leaves does not free a place a second time.
        drop(one);
        until("the end of one", || server.server.sessions_count() == 5).await;
        assert_eq!(http::get(server.addr, POLLING).await.status, status);
        let _ = http::post(server.addr, &two, "1").await;
        until("the end of two", || server.server.sessions_count() == 4).await;
        let _five = open_polling(&server).await;
    }
}

// --- events per second ---

fn rated(change: impl FnOnce(&mut Config)) -> Server {
    let server = Server::new(config(change)).unwrap();
    for name in ["/", "/other"] {
        server.of(name).on(
            "n",
            |data: kentongan::Data<u32>| async move { Reply(data.0) },
        );
    }
    server
}

/// So slow that no token comes while the test runs.
fn burst(burst: u32) -> Option<Rate> {
    Some(Rate {
        per_second: 1,
        burst,
    })
}

const RATE_LIMITED: &str =
    r#"[{"ok":false,"error":{"code":"rate_limited","message":"too many events"}}]"#;

#[tokio::test]
async fn limit_of_events_per_socket() {
    let limit = 20;
    let server = serve(rated(|config| {
        config.rates.socket_events = burst(limit);
    }))
    .await;
    let mut ws = join(&server).await;
    let mut other = join(&server).await;
    let events: Vec<u8> = (0..=limit)
        .flat_map(|n| masked(Opcode::Text, format!(r#"42{n}["n",{n}]"#).as_bytes()))
        .collect();
    ws.send_raw(&events).await;
    let mut answers = Vec::new();
    for _ in 0..=limit {
        answers.push(ws.text().await);
    }
    // The refusal may overtake answers of handlers; those stay in order.
    let refusal = format!("43{limit}{RATE_LIMITED}");
    assert!(answers.contains(&refusal), "{answers:?}");
    answers.retain(|answer| *answer != refusal);
    let expected: Vec<String> = (0..limit).map(|n| format!("43{n}[{n}]")).collect();
    assert_eq!(answers, expected);
    assert_eq!(refused(&server, RefusalCode::RateLimited), 1);
    // An event without an ack is refused in silence, and the session lives on.
    ws.send_text(r#"42["n",1]"#).await;
    ws.send_text("40/other,").await;
    assert!(ws.text().await.starts_with("40/other,"));
    assert_eq!(refused(&server, RefusalCode::RateLimited), 2);
    // Other sockets have buckets of their own, on the same session as well.
    ws.send_text(r#"42/other,7["n",7]"#).await;
    assert_eq!(ws.text().await, "43/other,7[7]");
    other.send_text(r#"427["n",7]"#).await;
    assert_eq!(other.text().await, "437[7]");
    // Leaving and coming back fills no bucket.
    ws.send_text("41").await;
    ws.send_text("40").await;
    assert!(ws.text().await.starts_with("40{"));
    ws.send_text(r#"428["n",8]"#).await;
    assert_eq!(ws.text().await, format!("438{RATE_LIMITED}"));
    assert_eq!(server.server.metrics().snapshot().reads_paused, 0);
}

#[tokio::test]
async fn limit_of_events_per_address() {
    let limit = 20;
    let server = serve(rated(|config| {
        config.rates.address_events = burst(limit);
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    }))
    .await;
    let from = |address: &'static str| {
        let addr = server.addr;
        async move {
            let mut ws = WebSocket::try_connect(addr, WEBSOCKET, &[("X-Forwarded-For", address)])
                .await
                .ok()
                .unwrap();
            assert!(ws.text().await.starts_with('0'));
            ws.send_text("40").await;
            assert!(ws.text().await.starts_with("40{"));
            ws
        }
    };
    // Every event on a connection of its own, each from a forged address behind the same prefix.
    let forged = [
        "1.1.1.1, 203.0.113.7",
        "2.2.2.2, 203.0.113.8",
        "203.0.113.9",
    ];
    for n in 0..=limit {
        let mut ws = from(forged[n as usize % 3]).await;
        ws.send_text(&format!(r#"42{n}["n",{n}]"#)).await;
        let answer = ws.text().await;
        if n < limit {
            assert_eq!(answer, format!("43{n}[{n}]"));
        } else {
            assert_eq!(answer, format!("43{n}{RATE_LIMITED}"));
        }
    }
    assert_eq!(refused(&server, RefusalCode::RateLimited), 1);
    let mut elsewhere = from("203.0.114.7").await;
    elsewhere.send_text(r#"421["n",1]"#).await;
    assert_eq!(elsewhere.text().await, "431[1]");
}

/// Every event on a connection of its own: coming back does not fill the bucket. Who is somebody else, or nobody, is not
/// concerned.
#[tokio::test]
async fn limit_of_events_per_user() {
    let limit = 20;
    let rated = rated(|config| {
        config.rates.user_events = burst(limit);
    });
    rated
        .of("/")
        .middleware(|socket: Socket, auth: TryData<User>| async move {
            if let Ok(User { user }) = auth.0 {
                socket.set_identity(user);
            }
            Ok(())
        });
    let server = serve(rated).await;
    let ask = async |connect: &str, n: u32| {
        let mut ws = open(&server).await;
        ws.send_text(connect).await;
        assert!(ws.text().await.starts_with("40{"));
        ws.send_text(&format!(r#"42{n}["n",{n}]"#)).await;
        ws.text().await
    };
    for n in 0..=limit {
        let expected = if n < limit {
            format!("43{n}[{n}]")
        } else {
            format!("43{n}{RATE_LIMITED}")
        };
        assert_eq!(ask(r#"40{"user":"ann"}"#, n).await, expected);
    }
    assert_eq!(refused(&server, RefusalCode::RateLimited), 1);
    assert_eq!(ask(r#"40{"user":"bob"}"#, 1).await, "431[1]");
    for n in 0..=limit {
        assert_eq!(ask("40", n).await, format!("43{n}[{n}]"));
    }
}

#[derive(serde::Deserialize)]
struct User {
    user: String,
}

/// As many refusals as events, and it is not read for a second. Nothing is lost meanwhile: it waits in the kernel.
#[tokio::test]
async fn who_keeps_sending_above_the_rate_is_not_read_for_a_while() {
    let server = serve(rated(|config| {
        config.rates.socket_events = burst(10);
        // Silence that we cause is not the client's.
        config.ping_interval = Duration::from_millis(100);
        config.ping_timeout = Duration::from_millis(300);
    }))
    .await;
    let mut ws = join(&server).await;
    let mut healthy = join(&server).await;
    for n in 0..30 {
        ws.send_text(&format!(r#"42{n}["n",{n}]"#)).await;
        if n == 20 {
            until("the pause", || {
                server.server.metrics().snapshot().reads_paused == 1
            })
            .await;
        }
    }
    let events = || server.server.metrics().snapshot().events_in;
    assert_eq!(events(), 21, "nothing is read any more");
    healthy.send_text(r#"421["n",1]"#).await;
    let started = Instant::now();
    let mut answered = 0;
    while answered < 30 {
        let text = ws.text().await;
        if text == "2" {
            ws.send_text("3").await;
        } else {
            assert!(text.starts_with("43"), "{text}");
            answered += 1;
        }
    }
    assert!(
        started.elapsed() >= Duration::from_millis(700),
        "it was a second"
    );
    assert_eq!(healthy.text().await, "431[1]");
    assert_eq!(events(), 31, "all of it was read afterwards");
}

/// On polling the body waits for its answer. With pings far apart, only the end of the pause can wake the session.
#[tokio::test]
async fn who_keeps_posting_above_the_rate_waits_for_the_answer() {
    let server = serve(rated(|config| config.rates.socket_events = burst(10))).await;
    let target = open_polling(&server).await;
    http::post(server.addr, &target, "40").await;
    let _ = http::get(server.addr, &target).await;
    let events = vec![r#"42["n",1]"#; 21].join("\u{1e}");
    let started = Instant::now();
    assert_eq!(http::post(server.addr, &target, events).await.text(), "ok");
    assert!(
        started.elapsed() >= Duration::from_millis(700),
        "it was a second"
    );
}

// --- what one peer may send ---

#[tokio::test]
async fn limit_of_fragments() {
    let limit = Config::default().limits.fragments_max;
    let server = start_echo(Config::default()).await;
    for (count, accepted) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
        let mut frames = masked(Opcode::Text, b"4");
        frames[0] = 0x01;
        let mut next = masked(Opcode::Text, b"x");
        next[0] = 0x00;
        let mut last = next.clone();
        last[0] = 0x80;
        frames.extend(next.repeat(count - 2));
        frames.extend(last);
        let mut ws = WebSocket::connect(server.addr, WEBSOCKET).await;
        assert!(ws.text().await.starts_with('0'));
        ws.send_raw(&frames).await;
        if accepted {
            assert_eq!(ws.text().await.len(), count);
        } else {
            assert_eq!(ws.close_code().await, Some(Some(1009)), "{count}");
        }
    }
}

#[tokio::test]
async fn limit_of_packets_in_a_body() {
    let limit = 256;
    let server = start_echo(config(|config| config.limits.payload_packets_max = limit)).await;
    for (count, status) in [(limit - 1, 200), (limit, 200), (limit + 1, 400)] {
        let answer = http::get(server.addr, POLLING).await;
        let sid = answer.text().split('"').nth(3).unwrap().to_owned();
        let target = format!("{POLLING}&sid={sid}");
        let answer = http::post(server.addr, &target, vec!["4"; count].join("\u{1e}")).await;
        assert_eq!(answer.status, status, "{count}");
    }
}

#[tokio::test]
async fn limit_of_control_frames() {
    let limit = 100;
    let server = start_echo(Config::default()).await;
    for (count, accepted) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
        let mut ws = WebSocket::connect(server.addr, WEBSOCKET).await;
        assert!(ws.text().await.starts_with('0'));
        let mut bytes = masked(Opcode::Pong, b"").repeat(count);
        bytes.extend(masked(Opcode::Text, b"4x"));
        ws.send_raw(&bytes).await;
        if accepted {
            assert_eq!(ws.text().await, "4x", "{count}");
        } else {
            assert_eq!(ws.close_code().await, Some(Some(1008)), "{count}");
        }
    }
}

// --- what is held for one client ---

#[tokio::test]
async fn limit_of_rooms_per_socket() {
    let server = start(config(|config| {
        config.held.rooms_per_socket_max = 3;
        config.held.room_bytes_max = 8;
    }))
    .await;
    let mut sockets = sockets(&server.server);
    let _ws = join(&server).await;
    let socket = sockets.recv().await.unwrap();
    for (room, expected) in [
        ("a", Ok(())),
        ("1234567", Ok(())),
        ("123456789", Err(JoinError::NameTooLong)),
        ("12345678", Ok(())),
        ("d", Err(JoinError::TooManyRooms)),
        ("a", Ok(())),
    ] {
        assert_eq!(socket.join(room), expected, "{room}");
    }
    socket.leave("a");
    assert_eq!(socket.join("d"), Ok(()), "a place is free again");
}

/// What stopped the reading has ended in a turn that something else began: nothing would wake the session for the rest.
#[tokio::test]
async fn reading_goes_on_when_the_inbox_empties_in_a_turn_that_an_emit_began() {
    let server = start(config(|config| config.held.inbox_events_max = 1)).await;
    let gate = Arc::new(tokio::sync::Notify::new());
    let root = server.server.of("/");
    let opens = Arc::clone(&gate);
    root.on("wait", move || {
        let opens = Arc::clone(&opens);
        async move { opens.notified().await }
    });
    root.on(
        "n",
        |data: kentongan::Data<u32>| async move { Reply(data.0) },
    );
    let mut sockets = sockets(&server.server);
    let mut ws = join(&server).await;
    let socket = sockets.recv().await.unwrap();
    ws.send_text(r#"42["wait"]"#).await;
    for number in 1..=5 {
        ws.send_text(&format!(r#"42{number}["n",{number}]"#)).await;
    }
    until("a full inbox", || {
        server.server.metrics().snapshot().events_in == 2
    })
    .await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    // Both wake the session's task before it runs.
    socket.emit("mail", ()).unwrap();
    gate.notify_one();
    for _ in 0..6 {
        let text = ws.text().await;
        assert!(text.starts_with("43") || text == r#"42["mail"]"#, "{text}");
    }
}

#[tokio::test]
async fn limit_of_acks_per_socket() {
    let limit = 3;
    let server = start(config(|config| config.held.acks_per_socket_max = limit)).await;
    let mut sockets = sockets(&server.server);
    let mut ws = join(&server).await;
    let socket = sockets.recv().await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..limit {
        let socket = socket.clone();
        calls.push(tokio::spawn(async move {
            socket.emit_with_ack::<Value>("q", ()).await
        }));
        assert!(ws.text().await.starts_with("42"));
    }
    assert_eq!(server.server.of("/").acks_pending(), limit);
    let over = socket.emit_with_ack::<Value>("q", ()).await;
    assert_eq!(over, Err(AckError::TooManyPending));
    ws.send_text("430[1]").await;
    assert!(within("the answer", calls.remove(0)).await.unwrap().is_ok());
    let again = tokio::spawn(async move { socket.emit_with_ack::<Value>("q", ()).await });
    assert!(ws.text().await.starts_with("42"), "a place is free again");
    drop(ws);
    assert_eq!(
        within("the last call", again).await.unwrap(),
        Err(AckError::Disconnected)
    );
    assert_eq!(server.server.of("/").acks_pending(), 0);
}
