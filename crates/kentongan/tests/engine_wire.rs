//! Engine.IO as clients see it: every case is a few bytes over loopback TCP and the answer that the protocol wants.
//!
//! Tables name their cases in the failure message. Tests of the heartbeat run with short intervals and check lower
//! bounds only, so that a busy machine cannot fail them.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use kentongan::{Config, Cookie, Cors, Deflate, DisconnectReason, SameSite, Transports};
use kentongan_protocol::websocket::{Opcode, deflate};
use support::{
    RawEvent, binary,
    http::{self, Answer, Connection},
    start, start_echo, text,
    websocket::{Received, UPGRADE, WebSocket, masked},
};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

const TRANSPORT_UNKNOWN: &str = r#"{"code":0,"message":"Transport unknown"}"#;
const SID_UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;
const BAD_METHOD: &str = r#"{"code":2,"message":"Bad handshake method"}"#;
const BAD_REQUEST: &str = r#"{"code":3,"message":"Bad request"}"#;
const BAD_PROTOCOL: &str = r#"{"code":5,"message":"Unsupported protocol version"}"#;

type Headers<'a> = &'a [(&'a str, &'a str)];

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// Short heartbeats: the whole life of a silent session takes 300 ms.
fn lively() -> Config {
    config(|config| {
        config.ping_interval = Duration::from_millis(200);
        config.ping_timeout = Duration::from_millis(100);
    })
}

fn sid_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let open: serde_json::Value = serde_json::from_str(&answer.text()[1..]).unwrap();
    open["sid"].as_str().unwrap().to_owned()
}

/// A session that polls, by the target of its requests.
async fn open_polling(addr: SocketAddr) -> String {
    let sid = sid_of(&http::get(addr, POLLING).await);
    format!("{POLLING}&sid={sid}")
}

fn as_websocket(polling: &str) -> String {
    polling.replace("transport=polling", "transport=websocket")
}

async fn open_websocket(addr: SocketAddr) -> WebSocket {
    let mut websocket = WebSocket::connect(addr, WEBSOCKET).await;
    assert!(websocket.text().await.starts_with("0{"));
    websocket
}

/// A WebSocket that has probed a polling session.
async fn probe(addr: SocketAddr, polling: &str) -> WebSocket {
    let mut websocket = WebSocket::connect(addr, &as_websocket(polling)).await;
    websocket.send_text("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    websocket
}

/// Polls until `count` packets came that are not noops.
async fn polled(addr: SocketAddr, target: &str, count: usize) -> Vec<String> {
    let mut packets = Vec::new();
    while packets.len() < count {
        let answer = http::get(addr, target).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.text().split('\x1e').map(str::to_owned);
        packets.extend(body.filter(|packet| packet != "6"));
    }
    packets
}

/// The session polls and takes messages.
async fn assert_alive(case: &str, addr: SocketAddr, polling: &str) {
    let answer = http::post(addr, polling, "4alive?").await;
    assert_eq!((answer.status, answer.text()), (200, "ok"), "{case}");
    assert_eq!(polled(addr, polling, 1).await, ["4alive?"], "{case}");
}

/// The sid of the session is not known any more.
async fn assert_gone(case: &str, addr: SocketAddr, polling: &str) {
    let answer = http::get(addr, polling).await;
    assert_eq!((answer.status, answer.text()), (400, SID_UNKNOWN), "{case}");
}

// --- handshake ---

#[tokio::test]
async fn handshake_has_exactly_the_documented_keys_and_headers() {
    let server = start(Config::default()).await;
    let answer = http::get(server.addr, POLLING).await;
    let sid = sid_of(&answer);
    assert_eq!(sid.len(), 20);
    assert!(
        sid.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "{sid}"
    );
    assert_eq!(
        answer.text(),
        format!(
            r#"0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
        )
    );
    let length = answer.body.len().to_string();
    for (name, expected) in [
        ("content-type", Some("text/plain; charset=UTF-8")),
        ("content-length", Some(length.as_str())),
        ("cache-control", Some("no-store")),
        ("set-cookie", None),
        ("access-control-allow-origin", None),
    ] {
        assert_eq!(answer.header(name), expected, "{name}");
    }
    assert_eq!(server.server.sessions_count(), 1);
}

#[tokio::test]
async fn handshake_on_websocket_offers_no_upgrade() {
    let server = start(Config::default()).await;
    let mut websocket = WebSocket::connect(server.addr, WEBSOCKET).await;
    assert_eq!(
        websocket.answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    let open: serde_json::Value =
        serde_json::from_str(websocket.text().await.strip_prefix('0').unwrap()).unwrap();
    assert_eq!(open["upgrades"], serde_json::json!([]));
    assert_eq!(open.as_object().unwrap().len(), 5);
}

#[tokio::test]
async fn handshake_follows_the_configuration() {
    for (case, config, target, expected) in [
        (
            "heartbeat and limit",
            config(|config| {
                config.ping_interval = Duration::from_millis(300);
                config.ping_timeout = Duration::from_millis(200);
                config.limits.message_bytes_max = 1234;
            }),
            POLLING,
            r#""upgrades":["websocket"],"pingInterval":300,"pingTimeout":200,"maxPayload":1234}"#,
        ),
        (
            "no upgrades",
            config(|config| config.allow_upgrades = false),
            POLLING,
            r#""upgrades":[],"#,
        ),
        (
            "polling only",
            config(|config| config.transports = Transports::PollingOnly),
            POLLING,
            r#""upgrades":[],"#,
        ),
        (
            "polling only, websocket",
            config(|config| config.transports = Transports::PollingOnly),
            WEBSOCKET,
            TRANSPORT_UNKNOWN,
        ),
        (
            "websocket only, polling",
            config(|config| config.transports = Transports::WebSocketOnly),
            POLLING,
            TRANSPORT_UNKNOWN,
        ),
        (
            "JSONP is not offered",
            Config::default(),
            "/socket.io/?EIO=4&transport=polling&j=0",
            r#"0{"sid":""#,
        ),
        (
            "cache buster and other parameters",
            Config::default(),
            "/socket.io/?EIO=4&transport=polling&t=abc123&token=%F0%9F%98%80&x",
            r#"0{"sid":""#,
        ),
        (
            "path is a prefix",
            Config::default(),
            "/socket.io/a/b/?EIO=4&transport=polling",
            r#"0{"sid":""#,
        ),
        (
            "path without slash",
            config(|config| config.path_without_slash = true),
            "/socket.io?EIO=4&transport=polling",
            r#"0{"sid":""#,
        ),
    ] {
        let server = start(config).await;
        let answer = http::get(server.addr, target).await;
        assert!(answer.text().contains(expected), "{case}: {answer:?}");
    }
}

#[tokio::test]
async fn other_paths_go_to_the_fallback() {
    let server = start(Config::default()).await;
    for path in [
        "/",
        "/socket.io?EIO=4&transport=polling",
        "/socket.iox/?EIO=4&transport=polling",
        "//socket.io/?EIO=4&transport=polling",
        "/%73ocket.io/?EIO=4&transport=polling",
        "/engine.io/?EIO=4&transport=polling",
    ] {
        let answer = http::get(server.addr, path).await;
        assert_eq!((answer.status, answer.text()), (404, ""), "{path}");
    }
}

// --- refusals ---

#[tokio::test]
async fn error_table() {
    let server = start(Config::default()).await;
    for (case, method, target, expected) in [
        (
            "transport missing",
            "GET",
            "/socket.io/?EIO=4",
            TRANSPORT_UNKNOWN,
        ),
        ("no query", "GET", "/socket.io/", TRANSPORT_UNKNOWN),
        (
            "transport empty",
            "GET",
            "/socket.io/?EIO=4&transport=",
            TRANSPORT_UNKNOWN,
        ),
        (
            "webtransport",
            "GET",
            "/socket.io/?EIO=4&transport=webtransport",
            TRANSPORT_UNKNOWN,
        ),
        (
            "transport before sid",
            "GET",
            "/socket.io/?EIO=4&transport=x&sid=y",
            TRANSPORT_UNKNOWN,
        ),
        (
            "sid unknown",
            "GET",
            "/socket.io/?EIO=4&transport=polling&sid=x",
            SID_UNKNOWN,
        ),
        (
            "sid before method",
            "PUT",
            "/socket.io/?EIO=4&transport=polling&sid=x",
            SID_UNKNOWN,
        ),
        ("POST handshake", "POST", POLLING, BAD_METHOD),
        ("PUT handshake", "PUT", POLLING, BAD_METHOD),
        ("DELETE handshake", "DELETE", POLLING, BAD_METHOD),
        ("OPTIONS, CORS off", "OPTIONS", POLLING, BAD_METHOD),
        ("invented method", "BREW", POLLING, BAD_METHOD),
        (
            "method before EIO",
            "POST",
            "/socket.io/?EIO=9&transport=polling",
            BAD_METHOD,
        ),
        ("websocket without Upgrade", "GET", WEBSOCKET, BAD_REQUEST),
        (
            "EIO missing",
            "GET",
            "/socket.io/?transport=polling",
            BAD_PROTOCOL,
        ),
    ] {
        let answer = http::request(server.addr, method, target, &[], b"").await;
        assert_eq!((answer.status, answer.text()), (400, expected), "{case}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{case}"
        );
    }
    assert_eq!(server.server.sessions_count(), 0, "nothing was opened");
}

#[tokio::test]
async fn upgrade_refusal_table() {
    let server = start(Config::default()).await;
    let unknown = format!("{WEBSOCKET}&sid=x");
    let no_key = [UPGRADE[0], UPGRADE[1], UPGRADE[3]];
    let old = [
        UPGRADE[0],
        UPGRADE[1],
        UPGRADE[2],
        ("Sec-WebSocket-Version", "8"),
    ];
    let other = [("Upgrade", "h2c"), UPGRADE[1], UPGRADE[2], UPGRADE[3]];
    let short_key = [
        UPGRADE[0],
        UPGRADE[1],
        ("Sec-WebSocket-Key", "x"),
        UPGRADE[3],
    ];
    let cases: [(&str, &str, &str, Headers<'_>, &str); 9] = [
        ("sid unknown", "GET", &unknown, &UPGRADE, SID_UNKNOWN),
        ("transport polling", "GET", POLLING, &UPGRADE, BAD_REQUEST),
        (
            "EIO 3",
            "GET",
            "/socket.io/?EIO=3&transport=websocket",
            &UPGRADE,
            BAD_PROTOCOL,
        ),
        (
            "transport missing",
            "GET",
            "/socket.io/?EIO=4",
            &UPGRADE,
            TRANSPORT_UNKNOWN,
        ),
        ("POST", "POST", WEBSOCKET, &UPGRADE, BAD_METHOD),
        ("no key", "GET", WEBSOCKET, &no_key, BAD_REQUEST),
        ("version 8", "GET", WEBSOCKET, &old, BAD_REQUEST),
        ("another protocol", "GET", WEBSOCKET, &other, BAD_REQUEST),
        ("short key", "GET", WEBSOCKET, &short_key, BAD_REQUEST),
    ];
    for (case, method, target, headers, expected) in cases {
        let answer = http::request(server.addr, method, target, headers, b"").await;
        assert_eq!((answer.status, answer.text()), (400, expected), "{case}");
    }
    assert_eq!(server.server.sessions_count(), 0, "nothing was opened");
}

#[tokio::test]
async fn allow_request_refuses_both_transports_with_its_own_words() {
    let server = start(config(|config| {
        config.hooks.allow_request = Some(Arc::new(|parts| {
            let has_token = parts.headers.contains_key("x-token");
            async move { has_token.then_some(()).ok_or("no \"token\"".to_owned()) }.boxed()
        }));
    }))
    .await;
    let expected = r#"{"code":4,"message":"no \"token\""}"#;
    let polling = http::get(server.addr, POLLING).await;
    assert_eq!((polling.status, polling.text()), (403, expected));
    let Err(websocket) = WebSocket::try_connect(server.addr, WEBSOCKET, &[]).await else {
        panic!("upgraded");
    };
    assert_eq!((websocket.status, websocket.text()), (403, expected));
    let token = [("X-Token", "1")];
    assert_eq!(
        http::request(server.addr, "GET", POLLING, &token, b"")
            .await
            .status,
        200
    );
    assert!(
        WebSocket::try_connect(server.addr, WEBSOCKET, &token)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn cve_2023_31125_transport_names() {
    let server = start(Config::default()).await;
    for name in [
        "__proto__",
        "constructor",
        "toString",
        "hasOwnProperty",
        "prototype",
        "valueOf",
        "POLLING",
        "polling%00",
        "polling,websocket",
        "%5B%5D",
        "..%2Fpolling",
        "%F0%9F%98%80",
    ] {
        let target = format!("/socket.io/?EIO=4&transport={name}");
        let answer = http::get(server.addr, &target).await;
        assert_eq!(
            (answer.status, answer.text()),
            (400, TRANSPORT_UNKNOWN),
            "{name}"
        );
        let answer = http::request(server.addr, "GET", &target, &UPGRADE, b"").await;
        assert_eq!(
            (answer.status, answer.text()),
            (400, TRANSPORT_UNKNOWN),
            "{name}, upgrade"
        );
    }
    assert_eq!(http::get(server.addr, POLLING).await.status, 200, "alive");
}

#[tokio::test]
async fn cve_2026_59724_sid_names() {
    let server = start(Config::default()).await;
    // As long as a request line lets it be.
    let long = "A".repeat(8 * 1024 - 100);
    for sid in [
        "__proto__",
        "constructor",
        "toString",
        "hasOwnProperty",
        "isPrototypeOf",
        "valueOf",
        "null",
        "undefined",
        "NaN",
        "0",
        "-1",
        "true",
        "%00",
        "%FF%FE",
        "%F0%9F%98%80",
        "..%2F..%2Fetc%2Fpasswd",
        "%0d%0aX-Injected:%201",
        "%27%20OR%201=1",
        "AAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAA%3D",
        &long,
    ] {
        let target = format!("{POLLING}&sid={sid}");
        let shown = &sid[..sid.len().min(30)];
        let upgrade = as_websocket(&target);
        for (entry, answer) in [
            ("GET", http::get(server.addr, &target).await),
            ("POST", http::post(server.addr, &target, "4x").await),
            (
                "upgrade",
                http::request(server.addr, "GET", &upgrade, &UPGRADE, b"").await,
            ),
        ] {
            assert_eq!(
                (answer.status, answer.text()),
                (400, SID_UNKNOWN),
                "{shown}: {entry}"
            );
            assert_eq!(answer.header("x-injected"), None, "{shown}: {entry}");
        }
    }
}

#[tokio::test]
async fn protocol_revision_at_the_handshake() {
    let server = start(Config::default()).await;
    for (query, accepted) in [
        ("EIO=4", true),
        ("EIO=3&EIO=4", true),
        ("EIO=4&EIO=3", false),
        ("", false),
        ("EIO=", false),
        ("EIO=2", false),
        ("EIO=3", false),
        ("EIO=99", false),
        ("EIO=04", false),
        ("EIO=4.0", false),
        ("EIO=+4", false),
        ("eio=4", false),
        ("EIO=__proto__", false),
    ] {
        let expected = if accepted { 200 } else { 400 };
        let target = format!("/socket.io/?{query}&transport=polling");
        let answer = http::get(server.addr, &target).await;
        assert_eq!(answer.status, expected, "{query:?} polling");
        assert_eq!(
            answer.text() == BAD_PROTOCOL,
            !accepted,
            "{query:?} polling"
        );
        let upgraded = WebSocket::try_connect(server.addr, &as_websocket(&target), &[]).await;
        assert_eq!(upgraded.is_ok(), accepted, "{query:?} websocket");
    }
}

#[tokio::test]
async fn cve_2026_102599_protocol_switch() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    for eio in [
        "",
        "EIO=",
        "EIO=2",
        "EIO=3",
        "EIO=5",
        "EIO=99",
        "EIO=4&EIO=3",
    ] {
        let target = polling.replace("EIO=4", eio);
        let upgrade = as_websocket(&target);
        for (entry, answer) in [
            ("GET", http::get(server.addr, &target).await),
            ("POST", http::post(server.addr, &target, "4x").await),
            (
                "upgrade",
                http::request(server.addr, "GET", &upgrade, &UPGRADE, b"").await,
            ),
        ] {
            assert_eq!(
                (answer.status, answer.text()),
                (400, BAD_PROTOCOL),
                "{eio:?} {entry}"
            );
        }
        assert_alive(eio, server.addr, &polling).await;
    }
}

#[tokio::test]
async fn methods_on_an_open_session() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    for method in [
        "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "PROPFIND", "BREW",
    ] {
        let answer = http::request(server.addr, method, &polling, &[], b"").await;
        assert_eq!((answer.status, answer.text()), (405, ""), "{method}");
        assert_alive(method, server.addr, &polling).await;
    }
}

#[tokio::test]
async fn a_full_server_answers_503() {
    let server = start(config(|config| config.held.sessions_max = 1)).await;
    let _open = open_polling(server.addr).await;
    let answer = http::get(server.addr, POLLING).await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("5"))
    );
    let upgraded = WebSocket::try_connect(server.addr, WEBSOCKET, &[]).await;
    assert_eq!(upgraded.err().map(|answer| answer.status), Some(503));
    assert_eq!(server.server.sessions_count(), 1);
}

// --- cookies and origins ---

#[tokio::test]
async fn cookie_is_set_by_the_polling_handshake_only() {
    let plain = Cookie::default();
    let full = Cookie {
        name: "sticky".into(),
        path: "/chat".into(),
        secure: true,
        same_site: SameSite::None,
        ..Cookie::default()
    };
    let bare = Cookie {
        http_only: false,
        same_site: SameSite::Strict,
        ..Cookie::default()
    };
    for (cookie, name, expected) in [
        (plain, "io", "; Path=/; HttpOnly; SameSite=Lax"),
        (
            full,
            "sticky",
            "; Path=/chat; HttpOnly; Secure; SameSite=None",
        ),
        (bare, "io", "; Path=/; SameSite=Strict"),
    ] {
        let server = start_echo(config(|config| config.cookie = Some(cookie))).await;
        let answer = http::get(server.addr, POLLING).await;
        let sid = sid_of(&answer);
        let expected = format!("{name}={sid}{expected}");
        assert_eq!(answer.header("set-cookie"), Some(expected.as_str()));
        let post = http::post(server.addr, &format!("{POLLING}&sid={sid}"), "4x").await;
        assert_eq!(post.header("set-cookie"), None, "{name}: later answer");
        let error = http::get(server.addr, "/socket.io/?EIO=4").await;
        assert_eq!(error.header("set-cookie"), None, "{name}: error");
        let websocket = WebSocket::connect(server.addr, WEBSOCKET).await;
        assert_eq!(
            websocket.answer.header("set-cookie"),
            None,
            "{name}: websocket"
        );
    }
}

#[tokio::test]
async fn a_cookie_does_not_stand_in_for_the_sid() {
    let server = start_echo(config(|config| config.cookie = Some(Cookie::default()))).await;
    let sid = sid_of(&http::get(server.addr, POLLING).await);
    let cookie = format!("io={sid}");
    let headers = [("Cookie", cookie.as_str())];
    let answer = http::request(server.addr, "GET", POLLING, &headers, b"").await;
    assert_ne!(sid_of(&answer), sid);
}

#[tokio::test]
async fn cors_headers_are_on_every_answer() {
    let origin = ("Origin", "https://app.example");
    let mut listed = Cors::list(["https://app.example"]);
    listed.credentials = true;
    listed.exposed_headers = Some("X-One".into());
    for (case, cors, expected, vary, credentials) in [
        ("any", Cors::any(), "*", "", None),
        (
            "listed",
            listed,
            "https://app.example",
            "Origin",
            Some("true"),
        ),
    ] {
        let server = start_echo(config(|config| config.cors = cors)).await;
        let open = http::request(server.addr, "GET", POLLING, &[origin], b"").await;
        let polling = format!("{POLLING}&sid={}", sid_of(&open));
        let websocket = WebSocket::try_connect(server.addr, WEBSOCKET, &[origin])
            .await
            .ok()
            .unwrap();
        for (answer_name, answer) in [
            ("handshake", open),
            (
                "POST",
                http::request(server.addr, "POST", &polling, &[origin], b"4x").await,
            ),
            (
                "GET",
                http::request(server.addr, "GET", &polling, &[origin], b"").await,
            ),
            (
                "error",
                http::request(server.addr, "GET", "/socket.io/?EIO=4", &[origin], b"").await,
            ),
            ("101", websocket.answer),
        ] {
            assert_eq!(
                answer.header("access-control-allow-origin"),
                Some(expected),
                "{case}: {answer_name}"
            );
            assert_eq!(answer.joined("vary"), vary, "{case}: {answer_name}");
            assert_eq!(
                answer.header("access-control-allow-credentials"),
                credentials,
                "{case}: {answer_name}"
            );
        }
    }
}

#[tokio::test]
async fn preflight() {
    let server = start(config(|config| {
        config.cors = Cors::list(["https://app.example"]);
        config.cors.max_age = Some(Duration::from_secs(600));
    }))
    .await;
    for (origin, allowed) in [
        ("https://app.example", Some("https://app.example")),
        ("https://app.example.evil", None),
        ("null", None),
    ] {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "X-Token"),
        ];
        let answer = http::request(server.addr, "OPTIONS", POLLING, &headers, b"").await;
        assert_eq!((answer.status, answer.text()), (204, ""), "{origin}");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            allowed,
            "{origin}"
        );
        for (name, expected) in [
            (
                "access-control-allow-methods",
                "GET,HEAD,PUT,PATCH,POST,DELETE",
            ),
            ("access-control-allow-headers", "X-Token"),
            ("access-control-max-age", "600"),
        ] {
            assert_eq!(answer.header(name), Some(expected), "{origin}: {name}");
        }
        assert!(
            answer
                .joined("vary")
                .contains("Access-Control-Request-Headers")
        );
    }
    assert_eq!(server.server.sessions_count(), 0);
}

#[tokio::test]
async fn cve_2026_44211_origins_on_every_entry() {
    let server = start_echo(config(|config| {
        config.cors = Cors::list(["https://good.example"])
    }))
    .await;
    let polling = open_polling(server.addr).await;
    for (origin, allowed) in [
        ("https://good.example", true),
        ("https://good.example.evil", false),
        ("https://evil-good.example", false),
        ("http://good.example", false),
        ("https://good.example:8443", false),
        ("https://good.example/", false),
        ("https://good.example@evil.example", false),
        ("https://good.example\u{e9}", false),
        ("null", false),
        ("*", false),
        ("", false),
    ] {
        let header = [("Origin", origin)];
        let refused = if allowed { None } else { Some(403) };
        let open = http::request(server.addr, "GET", POLLING, &header, b"").await;
        assert_eq!(open.status, refused.unwrap_or(200), "{origin:?} handshake");
        let post = http::request(server.addr, "POST", &polling, &header, b"4alive?").await;
        assert_eq!(post.status, refused.unwrap_or(200), "{origin:?} POST");
        if allowed {
            assert_eq!(polled(server.addr, &polling, 1).await, ["4alive?"]);
        }
        for (entry, target) in [("websocket", WEBSOCKET), ("probe", &as_websocket(&polling))] {
            let upgraded = WebSocket::try_connect(server.addr, target, &header).await;
            assert_eq!(
                upgraded.err().map(|answer| answer.status),
                refused,
                "{origin:?} {entry}"
            );
        }
        assert_alive(origin, server.addr, &polling).await;
    }
}

#[tokio::test]
async fn cve_2020_28481_the_default_is_same_origin() {
    let server = start(Config::default()).await;
    for (host, origin, allowed) in [
        ("a.example", "https://a.example", true),
        ("a.example:8080", "http://a.example:8080", true),
        ("a.example", "https://b.example", false),
        ("a.example", "https://a.example.evil", false),
        ("a.example", "null", false),
    ] {
        let headers = [("Host", host), ("Origin", origin)];
        let answer = http::request(server.addr, "GET", POLLING, &headers, b"").await;
        assert_eq!(answer.status == 200, allowed, "{origin} at {host}, polling");
        let upgraded = WebSocket::try_connect(server.addr, WEBSOCKET, &headers).await;
        assert_eq!(upgraded.is_ok(), allowed, "{origin} at {host}, websocket");
    }
}

// --- polling ---

#[tokio::test]
async fn payloads_that_are_taken() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let many = vec!["4x"; 256].join("\x1e");
    for (case, body, expected) in [
        ("one packet", "4hello", vec!["4hello"]),
        ("several packets", "4a\x1e4b\x1e4c", vec!["4a", "4b", "4c"]),
        ("no data", "4", vec!["4"]),
        ("text beyond ASCII", "4€😀", vec!["4€😀"]),
        ("binary", "bAQIDBA==", vec!["bAQIDBA=="]),
        ("binary without padding", "bAQIDBA", vec!["bAQIDBA=="]),
        ("binary, url-safe", "b-_8", vec!["b+/8="]),
        ("empty binary", "b", vec!["b"]),
        ("mixed", "4a\x1ebAQ==\x1e4b", vec!["4a", "bAQ==", "4b"]),
        ("pong nobody waits for", "3\x1e3\x1e4a", vec!["4a"]),
        ("packets out of place", "0{}\x1e5\x1e6\x1e4a", vec!["4a"]),
        ("as many packets as allowed", &many, vec!["4x"; 256]),
    ] {
        let answer = http::post(server.addr, &polling, body).await;
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{case}");
        assert_eq!(answer.header("content-type"), Some("text/html"), "{case}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
        assert_eq!(
            polled(server.addr, &polling, expected.len()).await,
            expected,
            "{case}"
        );
    }
}

#[tokio::test]
async fn payloads_that_end_the_session() {
    let mut config = Config::default();
    config.limits.payload_packets_max = 256;
    let mut server = start_echo(config).await;
    let too_many = vec!["4"; 257].join("\x1e");
    let cases: [(&str, &[u8]); 13] = [
        ("empty body", b""),
        ("lone separator", b"\x1e"),
        ("separators", b"\x1e\x1e\x1e"),
        ("trailing separator", b"4a\x1e"),
        ("leading separator", b"\x1e4a"),
        ("unknown type", b"7"),
        ("no type", b"abc"),
        ("space before the type", b" 4a"),
        ("bad base64", b"b*"),
        ("half base64", b"bA"),
        ("not UTF-8", b"4\xff"),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x33\xa9\0\0"),
        ("cve_2026_32689: too many packets", too_many.as_bytes()),
    ];
    for (case, body) in cases {
        let polling = open_polling(server.addr).await;
        let answer = http::post(server.addr, &polling, body).await;
        assert_eq!((answer.status, answer.text()), (400, ""), "{case}");
        assert_gone(case, server.addr, &polling).await;
        assert_eq!(
            server.closed().await,
            DisconnectReason::ParseError,
            "{case}"
        );
    }
}

#[tokio::test]
async fn packets_before_the_bad_one_count() {
    let mut server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    assert_eq!(server.event().await, RawEvent::Opened);
    http::post(server.addr, &polling, "4a\x1ebAQ==\x1ex\x1e4b").await;
    assert_eq!(server.event().await, RawEvent::Message(text("a")));
    assert_eq!(server.event().await, RawEvent::Message(binary(&[1])));
    assert_eq!(
        server.event().await,
        RawEvent::Closed(DisconnectReason::ParseError)
    );
}

#[tokio::test]
async fn cve_2020_36048_cve_2026_32689_a_megabyte_of_separators() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let answer = http::post(server.addr, &polling, vec![0x1e; 1_000_000]).await;
    assert_eq!(answer.status, 400);
    assert_gone("separators", server.addr, &polling).await;
}

#[tokio::test]
async fn max_payload_on_polling() {
    for limit in [100_usize, 1_000_000] {
        let server = start_echo(config(|config| config.limits.message_bytes_max = limit)).await;
        let polling = open_polling(server.addr).await;
        for (bytes, status, body) in [
            (limit - 1, 200, "ok"),
            (limit, 200, "ok"),
            (limit + 1, 413, ""),
        ] {
            let packet = format!("4{}", "x".repeat(bytes - 1));
            let answer = http::post(server.addr, &polling, &packet).await;
            assert_eq!(
                (answer.status, answer.text()),
                (status, body),
                "{bytes} of {limit}"
            );
            if status == 200 {
                assert!(
                    polled(server.addr, &polling, 1).await == [packet],
                    "{bytes} of {limit}"
                );
            }
            assert_alive("within or over the limit", server.addr, &polling).await;
        }
    }
}

#[tokio::test]
async fn max_payload_of_a_body_without_a_length() {
    let server = start_echo(config(|config| config.limits.message_bytes_max = 100)).await;
    let polling = open_polling(server.addr).await;
    for (bytes, status) in [(100, 200), (101, 413)] {
        let mut connection = Connection::open(server.addr).await;
        let mut request = http::head("POST", &polling, &[("Transfer-Encoding", "chunked")]);
        request.extend_from_slice(b"\r\n");
        request
            .extend_from_slice(format!("{bytes:x}\r\n4{}\r\n", "x".repeat(bytes - 1)).as_bytes());
        request.extend_from_slice(b"0\r\n\r\n");
        connection.send(&request).await;
        assert_eq!(connection.answer().await.status, status, "{bytes}");
        if status == 200 {
            assert_eq!(polled(server.addr, &polling, 1).await.len(), 1);
        }
        assert_alive("chunked", server.addr, &polling).await;
    }
}

#[tokio::test]
async fn cve_2026_59725_octet_stream_is_refused() {
    let mut server = start_echo(Config::default()).await;
    for body in [&b""[..], b"4hello", b"\x00\x04\xff4hello"] {
        let polling = open_polling(server.addr).await;
        let headers = [("Content-Type", "application/octet-stream")];
        let answer = http::request(server.addr, "POST", &polling, &headers, body).await;
        assert_eq!((answer.status, answer.text()), (400, ""), "{body:?}");
        assert_gone("octet-stream", server.addr, &polling).await;
        assert_eq!(
            server.closed().await,
            DisconnectReason::TransportError,
            "{body:?}"
        );
    }
}

#[tokio::test]
async fn content_types_that_clients_send() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    for content_type in [
        "text/plain;charset=UTF-8",
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
    ] {
        let headers = [("Content-Type", content_type)];
        let headers = if content_type.is_empty() {
            &headers[..0]
        } else {
            &headers[..]
        };
        let answer = http::request(server.addr, "POST", &polling, headers, b"4x").await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, "ok"),
            "{content_type:?}"
        );
        assert_eq!(
            polled(server.addr, &polling, 1).await,
            ["4x"],
            "{content_type:?}"
        );
    }
}

#[tokio::test]
async fn overlapping_gets_close_the_session() {
    let mut server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    // Which of the two comes first is for the server to say.
    let (one, two) = tokio::join!(
        http::get(server.addr, &polling),
        http::get(server.addr, &polling)
    );
    let mut answers = [(one.status, one.text()), (two.status, two.text())];
    answers.sort_unstable();
    assert_eq!(answers, [(200, "1"), (400, "")]);
    assert_gone("overlap", server.addr, &polling).await;
    assert_eq!(server.closed().await, DisconnectReason::TransportError);
}

/// A POST of ten bytes whose body the server waits for.
async fn begin_post(addr: SocketAddr, polling: &str) -> Connection {
    let mut connection = Connection::open(addr).await;
    let mut request = http::head(
        "POST",
        polling,
        &[("Expect", "100-continue"), ("Content-Length", "10")],
    );
    request.extend_from_slice(b"\r\n");
    connection.send(&request).await;
    assert_eq!(connection.answer().await.status, 100);
    connection
}

#[tokio::test]
async fn overlapping_posts_close_the_session() {
    let mut server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let _first = begin_post(server.addr, &polling).await;
    let second = http::post(server.addr, &polling, "4x").await;
    assert_eq!((second.status, second.text()), (400, ""));
    assert_gone("overlap", server.addr, &polling).await;
    assert_eq!(server.closed().await, DisconnectReason::TransportError);
}

#[tokio::test]
async fn a_post_that_breaks_off_closes_the_session() {
    let mut server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let mut post = begin_post(server.addr, &polling).await;
    post.send(b"4half").await;
    drop(post);
    assert_eq!(server.closed().await, DisconnectReason::TransportError);
    assert_gone("half a body", server.addr, &polling).await;
}

#[tokio::test]
async fn a_get_that_is_aborted_closes_the_session() {
    let mut server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let mut get = Connection::open(server.addr).await;
    get.request("GET", &polling, &[], b"").await;
    drop(get);
    assert_eq!(server.closed().await, DisconnectReason::TransportError);
    assert_gone("aborted", server.addr, &polling).await;
}

#[tokio::test]
async fn a_parked_get_is_answered_by_what_the_server_sends() {
    let mut server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let session = server.session().await;
    let mut get = Connection::open(server.addr).await;
    get.request("GET", &polling, &[], b"").await;
    assert!(session.send(&text("late news")));
    let answer = get.answer().await;
    assert_eq!(answer.text(), "4late news");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=UTF-8")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn big_answers_are_compressed_for_those_who_take_it() {
    let mut server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let session = server.session().await;
    for (accepted, bytes, expected) in [
        ("gzip, deflate", 2000, Some("gzip")),
        ("deflate", 2000, Some("deflate")),
        ("gzip", 10, None),
        ("identity", 2000, None),
    ] {
        assert!(session.send(&text(&"x".repeat(bytes))));
        let headers = [("Accept-Encoding", accepted)];
        let answer = http::request(server.addr, "GET", &polling, &headers, b"").await;
        assert_eq!(
            answer.header("content-encoding"),
            expected,
            "{accepted}, {bytes}"
        );
        assert_eq!(
            answer.body.len() < bytes / 2,
            expected.is_some(),
            "{accepted}, {bytes}"
        );
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = start_echo(Config::default()).await;
    let mut connection = Connection::open(server.addr).await;
    connection.request("GET", POLLING, &[], b"").await;
    let polling = format!("{POLLING}&sid={}", sid_of(&connection.answer().await));
    for _ in 0..3 {
        // Pipelined: the second request is there before the first is answered.
        connection.request("POST", &polling, &[], b"4x").await;
        connection.request("GET", &polling, &[], b"").await;
        assert_eq!(connection.answer().await.text(), "ok");
        assert_eq!(connection.answer().await.text(), "4x");
    }
    connection.request("PUT", &polling, &[], b"4x").await;
    assert_eq!(connection.answer().await.status, 405);
    connection.request("POST", &polling, &[], b"1").await;
    assert_eq!(
        connection.answer().await.text(),
        "ok",
        "not harmed by a refusal"
    );
}

#[tokio::test]
async fn request_heads_are_bounded() {
    let server = start(Config::default()).await;
    let long = "x".repeat(17 * 1024);
    let answer = http::request(server.addr, "GET", POLLING, &[("X-Long", &long)], b"").await;
    assert_eq!(answer.status, 431, "cve_2023_43669: one long header");
    let many = [("X-Many", "1"); 101];
    let answer = http::request(server.addr, "GET", POLLING, &many, b"").await;
    assert_eq!(answer.status, 431, "cve_2024_37890: many headers");
    assert_eq!(http::get(server.addr, POLLING).await.status, 200);

    let mut hurry = kentongan::ServeConfig::default();
    hurry.head_timeout = Duration::from_millis(100);
    let server =
        support::serve_with(kentongan::Server::new(Config::default()).unwrap(), hurry).await;
    for head in ["", "GET /socket.io/ HTTP/1.1\r\nHost:"] {
        let mut connection = Connection::open(server.addr).await;
        connection.send(head.as_bytes()).await;
        let rest = String::from_utf8(connection.rest().await).unwrap();
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 408"),
            "{head:?}: {rest}"
        );
    }
}

#[tokio::test]
async fn hooks_change_the_headers_of_answers() {
    let server = start_echo(config(|config| {
        let mark = |name: &'static str| -> kentongan::ChangeHeaders {
            Arc::new(move |headers| {
                let value = axum::http::HeaderValue::from_static("1");
                headers.insert(name, value);
            })
        };
        config.hooks.initial_headers = Some(mark("x-initial"));
        config.hooks.headers = Some(mark("x-every"));
    }))
    .await;
    let open = http::get(server.addr, POLLING).await;
    let polling = format!("{POLLING}&sid={}", sid_of(&open));
    let probing = WebSocket::connect(server.addr, &as_websocket(&polling)).await;
    let websocket = WebSocket::connect(server.addr, WEBSOCKET).await;
    for (case, answer, initial) in [
        ("handshake", open, true),
        ("101", websocket.answer, true),
        ("101 of an upgrade", probing.answer, false),
        ("POST", http::post(server.addr, &polling, "4x").await, false),
        ("error", http::get(server.addr, "/socket.io/").await, false),
    ] {
        assert_eq!(answer.header("x-initial").is_some(), initial, "{case}");
        assert_eq!(answer.header("x-every"), Some("1"), "{case}");
    }
}

// --- closing ---

#[tokio::test]
async fn a_parked_get_hears_of_the_close() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let mut get = Connection::open(server.addr).await;
    get.request("GET", &polling, &[], b"").await;
    assert_eq!(http::post(server.addr, &polling, "1").await.text(), "ok");
    assert_eq!(get.answer().await.text(), "6");
    assert_gone("closed", server.addr, &polling).await;
}

#[tokio::test]
async fn close_by_the_client_on_polling() {
    let mut server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let answer = http::post(server.addr, &polling, "4last\x1e1\x1e4ignored").await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert_gone("closed", server.addr, &polling).await;
    assert_eq!(server.event().await, RawEvent::Opened);
    assert_eq!(server.event().await, RawEvent::Message(text("last")));
    assert_eq!(
        server.event().await,
        RawEvent::Closed(DisconnectReason::TransportClose)
    );
}

#[tokio::test]
async fn close_by_the_server_on_polling() {
    let mut server = start_echo(Config::default()).await;
    for (case, message) in [
        ("nothing buffered", None),
        ("a message buffered", Some("bye")),
    ] {
        let polling = open_polling(server.addr).await;
        let session = server.session().await;
        if let Some(message) = message {
            assert!(session.send(&text(message)), "{case}");
        }
        session.close();
        assert!(!session.send(&text("too late")), "{case}");
        if let Some(message) = message {
            let body = http::get(server.addr, &polling).await;
            assert_eq!(body.text(), format!("4{message}"), "{case}: first alone");
        }
        let body = http::get(server.addr, &polling).await;
        assert_eq!(body.text(), "6\x1e1", "{case}");
        assert_gone(case, server.addr, &polling).await;
    }
}

#[tokio::test]
async fn close_by_the_client_on_websocket() {
    let mut server = start_echo(Config::default()).await;
    for (case, code, expected) in [
        ("close packet", None, None),
        ("close frame 1000", Some(1000), Some(1000)),
        ("close frame 1001", Some(1001), Some(1001)),
        ("close frame 4000", Some(4000), Some(4000)),
    ] {
        let mut websocket = open_websocket(server.addr).await;
        match code {
            None => websocket.send_text("1").await,
            code => websocket.send_close(code).await,
        }
        assert_eq!(websocket.close_code().await, Some(expected), "{case}");
        assert_eq!(
            server.closed().await,
            DisconnectReason::TransportClose,
            "{case}"
        );
    }
    let websocket = open_websocket(server.addr).await;
    drop(websocket);
    assert_eq!(
        server.closed().await,
        DisconnectReason::TransportClose,
        "end of stream"
    );
}

#[tokio::test]
async fn close_by_the_server_on_websocket() {
    let mut server = start_echo(Config::default()).await;
    let mut websocket = open_websocket(server.addr).await;
    let session = server.session().await;
    assert!(session.send(&text("bye")));
    session.close();
    assert_eq!(websocket.text().await, "4bye");
    assert_eq!(websocket.close_code().await, Some(None));
}

#[tokio::test]
async fn a_close_that_nobody_fetches_is_given_up() {
    let mut server = start_echo(config(|config| {
        config.close_timeout = Duration::from_millis(100)
    }))
    .await;
    let polling = open_polling(server.addr).await;
    let session = server.session().await;
    assert!(session.send(&text("bye")));
    session.close();
    assert_eq!(server.closed().await, DisconnectReason::ForcedClose);
    assert_gone("given up", server.addr, &polling).await;
}

#[tokio::test]
async fn slow_consumers_are_closed() {
    let mut server = start_echo(config(|config| {
        config.limits.message_bytes_max = 1000;
        config.held.outbox_bytes_max = 1000;
        config.held.outbox_age_max = Duration::from_millis(100);
    }))
    .await;
    let polling = open_polling(server.addr).await;
    let session = server.session().await;
    let message = text(&"x".repeat(400));
    assert!(
        session.send(&message) && session.send(&message),
        "within the bound"
    );
    assert!(!session.send(&message), "over it");
    assert_eq!(
        server.closed().await,
        DisconnectReason::SlowConsumer,
        "too much"
    );
    assert_gone("too much", server.addr, &polling).await;

    let polling = open_polling(server.addr).await;
    assert!(server.session().await.send(&message));
    assert_eq!(
        server.closed().await,
        DisconnectReason::SlowConsumer,
        "for too long"
    );
    assert_gone("for too long", server.addr, &polling).await;
}

#[tokio::test]
async fn shutdown_ends_both_transports() {
    let server = start_echo(Config::default()).await;
    let mut websocket = open_websocket(server.addr).await;
    let polling = open_polling(server.addr).await;
    let mut get = Connection::open(server.addr).await;
    get.request("GET", &polling, &[], b"").await;
    let (answer, code, ()) = tokio::join!(
        get.answer(),
        websocket.close_code(),
        server.server.shutdown(Duration::from_secs(5))
    );
    assert!(["1", "6\x1e1"].contains(&answer.text()), "{answer:?}");
    assert_eq!(code, Some(Some(1001)));
    assert_eq!(http::get(server.addr, POLLING).await.status, 503);
}

// --- websocket ---

#[tokio::test]
async fn websocket_messages_come_back() {
    let server = start_echo(Config::default()).await;
    let mut websocket = open_websocket(server.addr).await;
    for (case, opcode, sent, expected) in [
        (
            "text",
            Opcode::Text,
            "4hello",
            Received::Text("4hello".into()),
        ),
        ("no data", Opcode::Text, "4", Received::Text("4".into())),
        (
            "binary",
            Opcode::Binary,
            "\x01\x02",
            Received::Binary(vec![1, 2]),
        ),
        ("empty binary", Opcode::Binary, "", Received::Binary(vec![])),
        (
            "base64 text frame",
            Opcode::Text,
            "bAQIDBA==",
            Received::Binary(vec![1, 2, 3, 4]),
        ),
        (
            "base64 without padding",
            Opcode::Text,
            "bAQ",
            Received::Binary(vec![1]),
        ),
        (
            "ping frame",
            Opcode::Ping,
            "beat",
            Received::Pong(b"beat".to_vec()),
        ),
    ] {
        websocket.send_frame(opcode, sent.as_bytes()).await;
        assert_eq!(websocket.recv().await, expected, "{case}");
    }
    for ignored in ["0{}", "3", "3probe", "5", "6"] {
        websocket.send_text(ignored).await;
    }
    websocket.send_frame(Opcode::Pong, b"unasked").await;
    websocket.send_text("4still here").await;
    assert_eq!(websocket.text().await, "4still here");
}

#[tokio::test]
async fn websocket_messages_in_pieces() {
    let server = start_echo(Config::default()).await;
    let mut websocket = open_websocket(server.addr).await;
    let mut begin = masked(Opcode::Text, b"4hel");
    begin[0] = 0x01;
    let mut end = masked(Opcode::Text, b"lo");
    end[0] = 0x80;
    let bytes = [begin, masked(Opcode::Ping, b"between"), end].concat();
    websocket.send_raw(&bytes).await;
    assert_eq!(websocket.recv().await, Received::Pong(b"between".to_vec()));
    assert_eq!(websocket.text().await, "4hello", "fragments");
    for byte in &bytes {
        websocket.send_raw(std::slice::from_ref(byte)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(websocket.recv().await, Received::Pong(b"between".to_vec()));
    assert_eq!(websocket.text().await, "4hello", "one byte at a time");
    let many: Vec<u8> = (0..500)
        .flat_map(|n| masked(Opcode::Text, format!("4{n}").as_bytes()))
        .collect();
    websocket.send_raw(&many).await;
    for n in 0..500 {
        assert_eq!(websocket.text().await, format!("4{n}"), "in order");
    }
}

#[tokio::test]
async fn b64_makes_the_server_send_base64_text() {
    let server = start_echo(Config::default()).await;
    let target = format!("{WEBSOCKET}&b64=1");
    let mut websocket = WebSocket::connect(server.addr, &target).await;
    assert!(websocket.text().await.starts_with("0{"));
    websocket.send_binary(&[1, 2, 3, 4]).await;
    assert_eq!(websocket.text().await, "bAQIDBA==");
    websocket.send_text("4text").await;
    assert_eq!(websocket.text().await, "4text");
}

#[tokio::test]
async fn max_payload_on_websocket() {
    for limit in [100_usize, 1_000_000] {
        let server = start_echo(config(|config| config.limits.message_bytes_max = limit)).await;
        for (bytes, accepted) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
            for opcode in [Opcode::Text, Opcode::Binary] {
                let mut websocket = open_websocket(server.addr).await;
                let payload = vec![b'4'; bytes];
                websocket.send_frame(opcode, &payload).await;
                if accepted {
                    let echo = match websocket.recv().await {
                        Received::Text(text) => text.into_bytes(),
                        Received::Binary(data) => data,
                        other => panic!("{bytes} of {limit}: {other:?}"),
                    };
                    assert!(echo == payload, "{bytes} of {limit}");
                } else {
                    assert_eq!(
                        websocket.close_code().await,
                        Some(Some(1009)),
                        "{bytes} of {limit}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn websocket_violations() {
    let mut server = start_echo(Config::default()).await;
    let first_byte = |byte: u8, mut frame: Vec<u8>| {
        frame[0] = byte;
        frame
    };
    let pings = masked(Opcode::Ping, b"").repeat(101);
    let pongs = masked(Opcode::Pong, b"").repeat(101);
    let fragments = {
        let mut bytes = first_byte(0x01, masked(Opcode::Text, b"4"));
        bytes.extend(first_byte(0x00, masked(Opcode::Text, b"x")).repeat(1024));
        bytes
    };
    for (case, bytes, code, reason) in [
        (
            "empty text",
            masked(Opcode::Text, b""),
            1002,
            DisconnectReason::ParseError,
        ),
        (
            "unknown packet type",
            masked(Opcode::Text, b"9"),
            1002,
            DisconnectReason::ParseError,
        ),
        (
            "bad base64",
            masked(Opcode::Text, b"b*"),
            1002,
            DisconnectReason::ParseError,
        ),
        (
            "not masked",
            b"\x81\x024x".to_vec(),
            1002,
            DisconnectReason::TransportError,
        ),
        (
            "not UTF-8",
            masked(Opcode::Text, b"4\xff"),
            1007,
            DisconnectReason::TransportError,
        ),
        (
            "reserved bit",
            first_byte(0xa1, masked(Opcode::Text, b"4x")),
            1002,
            DisconnectReason::TransportError,
        ),
        (
            "compressed, not negotiated",
            first_byte(0xc1, masked(Opcode::Text, b"4x")),
            1002,
            DisconnectReason::TransportError,
        ),
        (
            "reserved opcode",
            first_byte(0x83, masked(Opcode::Text, b"4x")),
            1002,
            DisconnectReason::TransportError,
        ),
        (
            "reserved control opcode",
            first_byte(0x8b, masked(Opcode::Ping, b"")),
            1002,
            DisconnectReason::TransportError,
        ),
        (
            "fragmented ping",
            first_byte(0x09, masked(Opcode::Ping, b"")),
            1002,
            DisconnectReason::TransportError,
        ),
        (
            "ping of 126 bytes",
            masked(Opcode::Ping, &[0; 126]),
            1002,
            DisconnectReason::TransportError,
        ),
        (
            "continuation of nothing",
            first_byte(0x80, masked(Opcode::Text, b"4x")),
            1002,
            DisconnectReason::TransportError,
        ),
        (
            "close of one byte",
            masked(Opcode::Close, b"\x03"),
            1002,
            DisconnectReason::TransportError,
        ),
        (
            "close with 1005",
            masked(Opcode::Close, b"\x03\xed"),
            1002,
            DisconnectReason::TransportError,
        ),
        (
            "length of 2^32",
            b"\x81\xff\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec(),
            1009,
            DisconnectReason::TransportError,
        ),
        (
            "more fragments than allowed",
            fragments,
            1009,
            DisconnectReason::TransportError,
        ),
        ("ping flood", pings, 1008, DisconnectReason::TransportError),
        ("pong flood", pongs, 1008, DisconnectReason::TransportError),
        (
            "an HTTP request",
            b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            1002,
            DisconnectReason::TransportError,
        ),
    ] {
        let mut websocket = open_websocket(server.addr).await;
        websocket.send_raw(&bytes).await;
        assert_eq!(websocket.close_code().await, Some(Some(code)), "{case}");
        assert_eq!(server.closed().await, reason, "{case}");
    }
}

#[tokio::test]
async fn bytes_behind_the_upgrade_are_frames() {
    let server = start(Config::default()).await;
    let echo = start_echo(Config::default()).await;
    let behind = masked(Opcode::Text, b"4early");
    let mut websocket = WebSocket::connect_pipelined(echo.addr, WEBSOCKET, &[], &behind)
        .await
        .ok()
        .unwrap();
    assert!(websocket.text().await.starts_with("0{"));
    assert_eq!(websocket.text().await, "4early");

    let request = b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut websocket = WebSocket::connect_pipelined(server.addr, WEBSOCKET, &[], request)
        .await
        .ok()
        .unwrap();
    assert!(websocket.text().await.starts_with("0{"));
    assert_eq!(
        websocket.close_code().await,
        Some(Some(1002)),
        "not read as HTTP"
    );
}

#[tokio::test]
async fn deflate_is_negotiated_when_both_want_it() {
    let offer = [(
        "Sec-WebSocket-Extensions",
        "permessage-deflate; client_max_window_bits",
    )];
    for (case, deflate, headers, negotiated) in [
        ("on", Some(Deflate::default()), &offer[..], true),
        ("on, not offered", Some(Deflate::default()), &[][..], false),
        ("off", None, &offer[..], false),
    ] {
        let server = start_echo(config(|config| config.deflate = deflate)).await;
        let mut websocket = WebSocket::try_connect(server.addr, WEBSOCKET, headers)
            .await
            .ok()
            .unwrap();
        let extensions = websocket.answer.joined("sec-websocket-extensions");
        assert_eq!(
            extensions.contains("permessage-deflate"),
            negotiated,
            "{case}: {extensions}"
        );
        assert!(websocket.text().await.starts_with("0{"), "{case}");
        for (bytes, compressed) in [(10, false), (5000, negotiated)] {
            let message = format!("4{}", "x".repeat(bytes));
            websocket.send_text(&message).await;
            assert!(
                websocket.connection.unread.is_empty() && websocket.connection.fill().await,
                "{case}"
            );
            let first = websocket.connection.unread[0];
            assert_eq!(
                first,
                if compressed { 0xc1 } else { 0x81 },
                "{case}: {bytes}"
            );
            assert!(websocket.text().await == message, "{case}: {bytes}");
        }
    }
}

#[tokio::test]
async fn compressed_messages_are_bounded_by_what_they_become() {
    let offer = [("Sec-WebSocket-Extensions", "permessage-deflate")];
    let server = start_echo(config(|config| {
        config.deflate = Some(Deflate::default());
        config.limits.message_bytes_max = 10_000;
    }))
    .await;
    for (bytes, accepted) in [
        (9_999, true),
        (10_000, true),
        (10_001, false),
        (10_000_000, false),
    ] {
        let mut websocket = WebSocket::try_connect(server.addr, WEBSOCKET, &offer)
            .await
            .ok()
            .unwrap();
        assert!(websocket.text().await.starts_with("0{"));
        let message = "4".repeat(bytes);
        let mut frame = masked(Opcode::Text, &deflate::compress(message.as_bytes(), 15));
        frame[0] |= 0x40;
        websocket.send_raw(&frame).await;
        if accepted {
            assert!(websocket.text().await == message, "{bytes}");
        } else {
            assert_eq!(websocket.close_code().await, Some(Some(1009)), "{bytes}");
        }
    }
}

// --- upgrade ---

#[tokio::test]
async fn a_post_in_flight_during_the_upgrade_is_not_lost() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let mut post = begin_post(server.addr, &polling).await;
    let mut websocket = probe(server.addr, &polling).await;
    websocket.send_text("5").await;
    websocket.send_text("4first").await;
    assert_eq!(websocket.text().await, "4first");
    post.send(b"4123456789").await;
    assert_eq!(post.answer().await.text(), "ok");
    assert_eq!(websocket.text().await, "4123456789");
}

#[tokio::test]
async fn upgrade_keeps_the_order_of_packets() {
    let mut server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let session = server.session().await;
    let mut websocket = probe(server.addr, &polling).await;
    assert_eq!(http::post(server.addr, &polling, "4a").await.text(), "ok");
    assert_eq!(
        polled(server.addr, &polling, 1).await,
        ["4a"],
        "polling still carries"
    );
    for message in ["b", "c", "d"] {
        assert!(session.send(&text(message)));
    }
    websocket.send_text("5").await;
    websocket.send_text("4e").await;
    for expected in ["4b", "4c", "4d", "4e"] {
        assert_eq!(websocket.text().await, expected);
    }
    for (entry, answer) in [
        ("GET", http::get(server.addr, &polling).await),
        ("POST", http::post(server.addr, &polling, "4x").await),
        (
            "another websocket",
            http::request(server.addr, "GET", &as_websocket(&polling), &UPGRADE, b"").await,
        ),
    ] {
        assert_eq!(
            (answer.status, answer.text()),
            (400, BAD_REQUEST),
            "{entry} after the upgrade"
        );
    }
    websocket.send_text("4f").await;
    assert_eq!(websocket.text().await, "4f", "unharmed");
}

#[tokio::test]
async fn an_upgrade_of_a_closing_session_flushes_first() {
    let mut server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let session = server.session().await;
    let mut websocket = probe(server.addr, &polling).await;
    assert!(session.send(&text("bye")));
    session.close();
    websocket.send_text("5").await;
    assert_eq!(websocket.text().await, "4bye");
    assert_eq!(websocket.close_code().await, Some(None));
    assert_eq!(server.closed().await, DisconnectReason::ForcedClose);
}

#[tokio::test]
async fn upgrade_without_a_probe_is_accepted() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let mut websocket = WebSocket::connect(server.addr, &as_websocket(&polling)).await;
    websocket.send_text("5").await;
    websocket.send_text("4x").await;
    assert_eq!(websocket.text().await, "4x");
}

#[tokio::test]
async fn gets_during_the_probe_are_answered_with_noops() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let mut parked = Connection::open(server.addr).await;
    parked.request("GET", &polling, &[], b"").await;
    let mut websocket = probe(server.addr, &polling).await;
    assert_eq!(parked.answer().await.text(), "6", "the parked one");
    for _ in 0..3 {
        assert_eq!(
            http::get(server.addr, &polling).await.text(),
            "6",
            "a later one"
        );
    }
    websocket.send_text("5").await;
    websocket.send_text("4x").await;
    assert_eq!(websocket.text().await, "4x");
}

#[tokio::test]
async fn a_bad_probe_leaves_polling_alone() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let text = |packet: &str| masked(Opcode::Text, packet.as_bytes());
    for (case, bytes) in [
        ("message first", text("4hello")),
        ("ping without probe", text("2")),
        ("another ping", text("2probe2")),
        ("pong", text("3probe")),
        ("close", text("1")),
        ("noop", text("6")),
        ("open", text("0")),
        ("unknown type", text("x")),
        ("empty", text("")),
        ("binary", masked(Opcode::Binary, b"2probe")),
        (
            "message after the probe",
            [text("2probe"), text("4x")].concat(),
        ),
        ("not masked", b"\x81\x062probe".to_vec()),
        ("close frame", masked(Opcode::Close, b"\x03\xe8")),
    ] {
        let mut websocket = WebSocket::connect(server.addr, &as_websocket(&polling)).await;
        websocket.send_raw(&bytes).await;
        assert!(
            websocket.close_code().await.is_some(),
            "{case}: a close frame"
        );
        assert_alive(case, server.addr, &polling).await;
    }
}

#[tokio::test]
async fn a_killed_probe_leaves_polling_alone() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let silent = WebSocket::connect(server.addr, &as_websocket(&polling)).await;
    drop(silent);
    assert_alive("before the probe", server.addr, &polling).await;
    let probed = probe(server.addr, &polling).await;
    drop(probed);
    assert_alive("after the probe", server.addr, &polling).await;
    let mut websocket = probe(server.addr, &polling).await;
    websocket.send_text("5").await;
    websocket.send_text("4x").await;
    assert_eq!(websocket.text().await, "4x", "a later one wins");
}

#[tokio::test]
async fn a_silent_probe_runs_out_of_time() {
    let server = start_echo(config(|config| {
        config.upgrade_timeout = Duration::from_millis(100)
    }))
    .await;
    let polling = open_polling(server.addr).await;
    // 1008: slow is against the rules; 1001 would say that the server goes away, and it does not.
    let mut silent = WebSocket::connect(server.addr, &as_websocket(&polling)).await;
    assert_eq!(silent.close_code().await, Some(Some(1008)), "silent");
    let mut probed = probe(server.addr, &polling).await;
    assert_eq!(probed.close_code().await, Some(Some(1008)), "probed");
    assert_alive("timed out", server.addr, &polling).await;
}

#[tokio::test]
async fn a_probe_that_cannot_win_any_more_is_closed() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let mut loser = probe(server.addr, &polling).await;
    let mut winner = probe(server.addr, &polling).await;
    winner.send_text("5").await;
    assert_eq!(loser.close_code().await, Some(None), "another one won");

    let polling = open_polling(server.addr).await;
    let mut websocket = probe(server.addr, &polling).await;
    http::post(server.addr, &polling, "1").await;
    assert_eq!(websocket.close_code().await, Some(None), "session closed");
}

#[tokio::test]
async fn of_two_probes_one_wins() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let mut loser = probe(server.addr, &polling).await;
    let mut winner = probe(server.addr, &polling).await;
    winner.send_text("5").await;
    winner.send_text("4x").await;
    assert_eq!(winner.text().await, "4x");
    loser.send_text("5").await;
    assert_eq!(loser.close_code().await, Some(None));
    winner.send_text("4y").await;
    assert_eq!(winner.text().await, "4y");
}

#[tokio::test]
async fn probes_are_bounded() {
    let server = start_echo(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(probe(server.addr, &polling).await);
    }
    let Err(answer) = WebSocket::try_connect(server.addr, &as_websocket(&polling), &[]).await
    else {
        panic!("a fourth probe");
    };
    assert_eq!((answer.status, answer.text()), (400, BAD_REQUEST));
    let mut winner = open.pop().unwrap();
    winner.send_text("5").await;
    winner.send_text("4x").await;
    assert_eq!(winner.text().await, "4x");
}

#[tokio::test]
async fn upgrades_can_be_forbidden() {
    let server = start_echo(config(|config| config.allow_upgrades = false)).await;
    let polling = open_polling(server.addr).await;
    let answer = http::request(server.addr, "GET", &as_websocket(&polling), &UPGRADE, b"").await;
    assert_eq!((answer.status, answer.text()), (400, BAD_REQUEST));
    assert_alive("no upgrade", server.addr, &polling).await;
}

// --- heartbeat ---

#[tokio::test]
async fn a_ping_comes_after_the_interval_and_not_before() {
    let server = start_echo(patient()).await;
    let before = Instant::now();
    let mut websocket = open_websocket(server.addr).await;
    assert_eq!(websocket.text().await, "2");
    assert!(before.elapsed() >= Duration::from_millis(100), "websocket");
    let before = Instant::now();
    let polling = open_polling(server.addr).await;
    assert_eq!(http::get(server.addr, &polling).await.text(), "2");
    assert!(before.elapsed() >= Duration::from_millis(100), "polling");
}

/// Intervals long enough for a busy machine to answer in time.
fn patient() -> Config {
    config(|config| {
        config.ping_interval = Duration::from_millis(100);
        config.ping_timeout = Duration::from_secs(3);
    })
}

#[tokio::test]
async fn pongs_keep_a_session_open() {
    let server = start_echo(patient()).await;
    let mut websocket = open_websocket(server.addr).await;
    for beat in 0..3 {
        assert_eq!(websocket.text().await, "2", "beat {beat}");
        websocket.send_text("3").await;
        // Repeated, and thus late.
        websocket.send_text("3").await;
    }
    let polling = open_polling(server.addr).await;
    for beat in 0..3 {
        assert_eq!(polled(server.addr, &polling, 1).await, ["2"], "beat {beat}");
        let answer = http::post(server.addr, &polling, "3\x1e3").await;
        assert_eq!(answer.text(), "ok", "beat {beat}");
    }
}

#[tokio::test]
async fn heartbeats_go_on_after_the_upgrade() {
    let server = start_echo(patient()).await;
    let polling = open_polling(server.addr).await;
    let mut websocket = probe(server.addr, &polling).await;
    websocket.send_text("5").await;
    for beat in 0..3 {
        assert_eq!(websocket.text().await, "2", "beat {beat}");
        websocket.send_text("3").await;
    }
}

#[tokio::test]
async fn a_missing_pong_closes_the_session() {
    let mut server = start_echo(lively()).await;
    let before = Instant::now();
    let mut websocket = open_websocket(server.addr).await;
    assert_eq!(websocket.close_code().await, Some(None));
    assert!(before.elapsed() >= Duration::from_millis(300));
    assert_eq!(server.closed().await, DisconnectReason::PingTimeout);
    let before = Instant::now();
    let polling = open_polling(server.addr).await;
    assert_eq!(
        server.closed().await,
        DisconnectReason::PingTimeout,
        "never polled"
    );
    assert!(before.elapsed() >= Duration::from_millis(300));
    assert_gone("never polled", server.addr, &polling).await;
}

#[tokio::test]
async fn a_parked_get_hears_of_the_ping_timeout() {
    let server = start_echo(config(|config| {
        config.ping_interval = Duration::from_millis(100);
        config.ping_timeout = Duration::from_millis(300);
    }))
    .await;
    let polling = open_polling(server.addr).await;
    let mut bodies = Vec::new();
    while bodies.last().is_none_or(|last| last == "2") {
        let answer = http::get(server.addr, &polling).await;
        bodies.push(answer.text().to_owned());
    }
    // A machine that stalls between the polls finds the session gone.
    let ends = ["1", SID_UNKNOWN].map(str::to_owned);
    assert_eq!(bodies.first().map(String::as_str), Some("2"), "{bodies:?}");
    assert!(
        bodies.last().is_some_and(|last| ends.contains(last)),
        "{bodies:?}"
    );
}

#[tokio::test]
async fn a_ping_from_the_client_closes_the_session() {
    let mut server = start_echo(Config::default()).await;
    for ping in ["2", "2probe", "2x"] {
        let mut websocket = open_websocket(server.addr).await;
        websocket.send_text(ping).await;
        assert!(
            websocket.close_code().await.is_some(),
            "{ping} on websocket"
        );
        assert_eq!(
            server.closed().await,
            DisconnectReason::TransportError,
            "{ping} on websocket"
        );
        let polling = open_polling(server.addr).await;
        http::post(server.addr, &polling, ping).await;
        assert_gone(ping, server.addr, &polling).await;
        assert_eq!(
            server.closed().await,
            DisconnectReason::TransportError,
            "{ping} on polling"
        );
    }
}

/// Every case leaves nothing behind.
#[tokio::test]
async fn sessions_leave_the_table() {
    let server = start(Config::default()).await;
    let polling = open_polling(server.addr).await;
    let mut websocket = open_websocket(server.addr).await;
    assert_eq!(server.server.sessions_count(), 2);
    http::post(server.addr, &polling, "1").await;
    websocket.send_text("1").await;
    assert_eq!(websocket.close_code().await, Some(None));
    server.server.shutdown(Duration::from_secs(5)).await;
    assert_eq!(server.server.sessions_count(), 0);
}
