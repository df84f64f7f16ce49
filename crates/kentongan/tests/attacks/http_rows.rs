//! Rows A1 to A13 and A22: connections, request heads, bodies, addresses and origins.

use std::time::Duration;

use futures_util::future::join_all;
use kentongan::RefusalCode;

use crate::{
    arena::{Arena, Moves, attack, fresh_address},
    attacker::{
        POLLING, WEBSOCKET, join, join_polling, leave, open_from, open_polling, raw, until,
    },
    support::{
        http::{self, Connection},
        websocket::{UPGRADE, WebSocket, masked},
    },
};
use kentongan_protocol::websocket::Opcode;

const TIMEOUT: Moves = Moves::Refusals(RefusalCode::Timeout);
const HEAD: Moves = Moves::Refusals(RefusalCode::RequestHead);
const BAD: Moves = Moves::Refusals(RefusalCode::BadRequest);

#[test]
fn a1_slow_heads_and_slow_bodies() {
    attack(
        &[TIMEOUT, Moves::Refusals(RefusalCode::BodyTooSlow)],
        |arena| async move {
            let mut heads = Vec::new();
            for _ in 0..50 {
                let mut connection = Connection::open(arena.addr).await;
                connection.send(b"GET /socket.io/ HTTP/1.1\r\nX: ").await;
                heads.push(connection);
            }
            let mut bodies = Vec::new();
            for _ in 0..50 {
                let target = open_polling(arena.addr).await;
                let mut connection = Connection::open(arena.addr).await;
                let mut head = http::head("POST", &target, &[("Content-Length", "10000")]);
                head.extend_from_slice(b"\r\n4");
                connection.send(&head).await;
                bodies.push(connection);
            }
            for connection in heads.iter_mut().chain(&mut bodies) {
                connection.send(b"x").await;
            }
            for connection in &mut heads {
                let rest = connection.rest().await;
                assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"));
            }
            for connection in &mut bodies {
                assert_eq!(connection.answer().await.status, 408);
            }
        },
    );
}

#[test]
fn a2_silent_connections() {
    attack(&[TIMEOUT], |arena| async move {
        let mut silent = Vec::new();
        for _ in 0..500 {
            silent.push(Connection::open(arena.addr).await);
        }
        for connection in &mut silent {
            connection.rest().await;
        }
    });
}

#[test]
fn a3_cve_2023_43669_cve_2024_37890_heads() {
    attack(&[HEAD], |arena| async move {
        // One header of 64 KiB in small writes, so that a parser that begins anew at each read would take long.
        let mut connection = Connection::open(arena.addr).await;
        connection
            .send(format!("GET {POLLING} HTTP/1.1\r\nHost: x\r\nX-Long: ").as_bytes())
            .await;
        for _ in 0..4096 {
            connection.send(&[b'x'; 16]).await;
        }
        let answer = String::from_utf8_lossy(&connection.rest().await).into_owned();
        // A reset may have overtaken the answer, since we wrote on.
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
            "{answer}"
        );
        for (headers, status) in [(10_000, 431), (101, 431), (100, 200)] {
            let many = "A:b\r\n".repeat(headers);
            let request = format!("GET {POLLING} HTTP/1.1\r\n{many}\r\n");
            let mut connection = Connection::open(arena.addr).await;
            connection.send(request.as_bytes()).await;
            assert_eq!(connection.answer().await.status, status, "{headers}");
        }
        let line = format!("GET {POLLING}&x={} HTTP/1.1\r\n\r\n", "x".repeat(9000));
        assert!(
            raw(arena.addr, line.as_bytes())
                .await
                .starts_with("HTTP/1.1 414")
        );
    });
}

#[test]
fn a4_cve_2021_32640_ghsa_5v72_xg48_5rpm_cve_2026_2229_handshake_headers() {
    attack(&[BAD], |arena| async move {
        let spaces = format!("a{}b", " ".repeat(12_000));
        let commas = ",".repeat(12_000);
        let offers = "permessage-deflate, ".repeat(600);
        let quotes = format!("x; y=\"{}", "\\".repeat(12_000));
        for (name, value) in [
            ("Sec-WebSocket-Protocol", spaces.as_str()),
            ("Sec-WebSocket-Protocol", &commas),
            ("Sec-WebSocket-Extensions", &spaces),
            ("Sec-WebSocket-Extensions", &commas),
            ("Sec-WebSocket-Extensions", &offers),
            ("Sec-WebSocket-Extensions", &quotes),
            (
                "Sec-WebSocket-Extensions",
                "permessage-deflate; server_max_window_bits=7",
            ),
            (
                "Sec-WebSocket-Extensions",
                "permessage-deflate; server_max_window_bits=99999999999999999999",
            ),
            (
                "Sec-WebSocket-Extensions",
                "permessage-deflate; server_max_window_bits=-1",
            ),
            ("Sec-WebSocket-Key", "short"),
            ("Sec-WebSocket-Version", "12"),
        ] {
            let address = fresh_address();
            let mut headers = vec![("X-Forwarded-For", address.as_str()), (name, value)];
            headers.extend(UPGRADE.iter().filter(|(each, _)| *each != name));
            let answer = http::request(arena.addr, "GET", WEBSOCKET, &headers, b"").await;
            assert!([101, 400].contains(&answer.status), "{name}: {answer:?}");
            if answer.status == 101 {
                assert_eq!(
                    answer
                        .header("sec-websocket-extensions")
                        .filter(|_| value.contains("server_max")),
                    None
                );
            }
        }
    });
}

/// How many answers `bytes` get on one connection.
async fn answers(arena: &Arena, bytes: &[u8]) -> usize {
    raw(arena.addr, bytes).await.matches("HTTP/1.1 ").count()
}

/// Two servers in a row that count requests differently let an attacker hide one: what is ambiguous is the last request of
/// its connection.
#[test]
fn a5_rustsec_2021_0020_rustsec_2021_0078_rustsec_2021_0079_smuggling() {
    attack(&[BAD], |arena| async move {
        let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
        let length = hidden.len();
        for (case, headers, body) in [
            (
                "length and chunked",
                format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
                "0\r\n\r\n",
            ),
            (
                "chunked and length",
                format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"),
                "0\r\n\r\n",
            ),
            (
                "two lengths",
                format!("Content-Length: 0\r\nContent-Length: {length}"),
                "",
            ),
            (
                "two lengths in one",
                format!("Content-Length: 0, {length}"),
                "",
            ),
            ("signed length", "Content-Length: +0".to_owned(), ""),
            ("negative length", "Content-Length: -1".to_owned(), ""),
            ("hexadecimal length", "Content-Length: 0x0".to_owned(), ""),
            (
                "huge length",
                "Content-Length: 99999999999999999999".to_owned(),
                "",
            ),
            ("unknown coding", "Transfer-Encoding: gzip".to_owned(), ""),
            (
                "chunked is not last",
                "Transfer-Encoding: chunked, gzip".to_owned(),
                "0\r\n\r\n",
            ),
            (
                "misspelt",
                "Transfer-Encoding: xchunked".to_owned(),
                "0\r\n\r\n",
            ),
            (
                "space before the colon",
                "Transfer-Encoding : chunked".to_owned(),
                "0\r\n\r\n",
            ),
            (
                "folded",
                "Transfer-Encoding:\r\n chunked".to_owned(),
                "0\r\n\r\n",
            ),
            (
                "huge chunk",
                "Transfer-Encoding: chunked".to_owned(),
                "10000000000000000\r\n",
            ),
            (
                "signed chunk",
                "Transfer-Encoding: chunked".to_owned(),
                "+0\r\n\r\n",
            ),
        ] {
            let target = join_polling(arena.addr).await;
            let request =
                format!("POST {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}{hidden}");
            let count = answers(arena, request.as_bytes()).await;
            assert!(count <= 1, "{case}: {count} answers");
            leave(arena.addr, &target).await;
        }
        // A line feed alone ends a line (RFC 9112, section 2.2), for a head as for a header: there are three requests here.
        let target = join_polling(arena.addr).await;
        let bare = format!(
            "POST {target} HTTP/1.1\nHost: x\nContent-Length: 1\n\n3GET /hidden HTTP/1.1\n\n{hidden}"
        );
        assert_eq!(answers(arena, bare.as_bytes()).await, 3);
        leave(arena.addr, &target).await;
        // What is not ambiguous is answered twice.
        let two = format!("GET {POLLING} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n{hidden}");
        assert_eq!(answers(arena, two.as_bytes()).await, 2);
    });
}

#[test]
fn a6_bytes_behind_the_upgrade() {
    attack(
        &[Moves::Refusals(RefusalCode::WebSocket)],
        |arena| async move {
            for behind in [
                b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
                [
                    masked(Opcode::Text, b"40"),
                    b"GET /admin HTTP/1.1\r\n\r\n".to_vec(),
                ]
                .concat(),
                vec![0; 100],
            ] {
                let address = fresh_address();
                let headers = [("X-Forwarded-For", address.as_str())];
                let mut websocket =
                    WebSocket::connect_pipelined(arena.addr, WEBSOCKET, &headers, &behind)
                        .await
                        .unwrap();
                assert!(websocket.text().await.starts_with('0'));
                assert_eq!(websocket.close_code().await, Some(Some(1002)));
            }
        },
    );
}

#[test]
fn a7_cve_2026_1527_line_breaks_and_zeros() {
    attack(&[BAD], |arena| async move {
        for bad in [
            "\r\nX-Injected: 1",
            "\nX-Injected: 1",
            "\rX-Injected: 1",
            "\0",
            "\x01",
            "\x7f",
            "\u{85}",
        ] {
            let escaped: String = bad.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let requests = [
                format!("GET {POLLING}&a={bad} HTTP/1.1\r\nHost: x\r\n\r\n"),
                format!("GET {POLLING}&a={escaped} HTTP/1.1\r\nHost: x\r\n\r\n"),
                format!("GET {POLLING}&sid={escaped} HTTP/1.1\r\nHost: x\r\n\r\n"),
                format!("GET {POLLING} HTTP/1.1\r\nHost: x\r\nOrigin: http://x{bad}\r\n\r\n"),
                format!("GET {POLLING} HTTP/1.1\r\nHost: x\r\nCookie: io=a{bad}\r\n\r\n"),
                format!("GET {POLLING} HTTP/1.1\r\nHost: x\r\nX{bad}: 1\r\n\r\n"),
                format!("GET /socket.io{bad}/?EIO=4 HTTP/1.1\r\nHost: x\r\n\r\n"),
            ];
            let answers = requests
                .iter()
                .map(|request| raw(arena.addr, request.as_bytes()));
            for (request, answer) in requests.iter().zip(join_all(answers).await) {
                let head = answer.split("\r\n\r\n").next().unwrap();
                assert!(
                    !head.to_ascii_lowercase().contains("\r\nx-injected"),
                    "{request:?}: {head}"
                );
            }
        }
    });
}

/// HTTP/2 is not spoken: its preface is a bad request, and with it go its floods.
#[test]
fn a8_cve_2023_44487_rustsec_2024_0332_http2() {
    attack(&[BAD], |arena| async move {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let answer = raw(arena.addr, preface).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer:?}"
        );
        let upgrade = format!(
            "GET {POLLING} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        );
        assert!(
            raw(arena.addr, upgrade.as_bytes())
                .await
                .starts_with("HTTP/1.1 400")
        );
    });
}

#[test]
fn a9_cve_2022_21676_cve_2022_41940_cve_2023_31125_odd_requests() {
    attack(&[BAD], |arena| async move {
        let targets = [
            POLLING,
            WEBSOCKET,
            "/",
            "*",
            "//socket.io/",
            "/socket.io",
            "/socket.io/../admin",
            "/socket.io/%2e%2e/",
            "/%73ocket.io/",
            "http://evil.example/socket.io/?EIO=4&transport=polling",
            "socket.io",
            "evil.example:80",
            "/socket.io/?transport=constructor&EIO=4",
            "/socket.io/?EIO=4&transport=__proto__",
            "/socket.io/?%",
            "/socket.io/?=&&=&",
        ];
        let methods = [
            "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "BREW",
            "get", "G\tT",
        ];
        for target in targets {
            for method in methods {
                let address = fresh_address();
                let request = format!(
                    "{method} {target} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\nConnection: close\r\n\r\n"
                );
                let answer = raw(arena.addr, request.as_bytes()).await;
                let status = answer.split(' ').nth(1).unwrap_or("closed");
                assert!(
                    ["200", "204", "400", "404", "405", "closed"].contains(&status),
                    "{method} {target}: {answer}"
                );
            }
        }
        // A valid head with one byte changed, at every place.
        let valid = format!("GET {POLLING} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        for at in 0..valid.len() {
            let mut bytes = valid.clone().into_bytes();
            bytes[at] ^= 0x15;
            let mut connection = Connection::open(arena.addr).await;
            connection.send(&bytes).await;
            // Some of these wait for more: whatever is said comes before our end of the stream.
            use tokio::io::AsyncWriteExt;
            let _ = connection.stream.shutdown().await;
            connection.rest().await;
        }
    });
}

/// Only what the trusted proxy itself saw counts: the right-most address that is not a proxy's.
#[test]
fn a10_cve_2026_110726_cve_2026_108162_cve_2026_111934_forged_addresses() {
    attack(
        &[Moves::Refusals(RefusalCode::UnauthenticatedTooMany)],
        |arena| async move {
            let real = fresh_address();
            let mut open = Vec::new();
            let mut refused = 0;
            for forged in 0..80 {
                let chain = format!("203.0.{forged}.9, 127.0.0.1, {real}");
                match open_from(arena.addr, &chain, &[]).await {
                    Ok(websocket) => open.push(websocket),
                    Err(answer) => {
                        assert_eq!(answer.status, 429);
                        refused += 1;
                    }
                }
            }
            // On a slow machine the first ones run out of time meanwhile and make room for a few more.
            assert!(open.len() >= 50 && refused >= 15, "{} open", open.len());
        },
    );
}

/// The bucket belongs to the address prefix: a new connection does not fill it.
#[test]
fn a11_rates_are_not_evaded_by_reconnecting() {
    attack(
        &[Moves::Refusals(RefusalCode::RateLimited)],
        |arena| async move {
            let prefix = fresh_address();
            let prefix = prefix.trim_end_matches(".1");
            let started = std::time::Instant::now();
            let mut accepted = 0.0;
            for connection in 0..60 {
                let address = format!("{prefix}.{}", connection + 1);
                let mut websocket = open_from(arena.addr, &address, &[]).await.unwrap();
                websocket.send_text("40").await;
                assert!(until(&mut websocket, "40{").await.is_some());
                let events: Vec<u8> = (0..100)
                    .flat_map(|id| masked(Opcode::Text, format!(r#"42{id}["echo",1]"#).as_bytes()))
                    .collect();
                websocket.send_raw(&events).await;
                for _ in 0..100 {
                    let answer = until(&mut websocket, "43").await.unwrap();
                    accepted += if answer.contains("rate_limited") {
                        0.0
                    } else {
                        1.0
                    };
                }
            }
            let allowed = 2000.0 + 1000.0 * started.elapsed().as_secs_f64();
            assert!(
                accepted <= allowed * 1.05,
                "{accepted} accepted, {allowed} allowed"
            );
        },
    );
}

#[test]
fn a11_ipv6_neighbours_share_a_bucket() {
    attack(
        &[Moves::Refusals(RefusalCode::UnauthenticatedTooMany)],
        |arena| async move {
            let mut open = Vec::new();
            for host in 0..60 {
                let address = format!("2001:db8:0:1:{host:x}::1");
                match open_from(arena.addr, &address, &[]).await {
                    Ok(websocket) => open.push(websocket),
                    Err(answer) => assert_eq!(answer.status, 429),
                }
            }
            // As above: a few more on a slow machine, never all.
            assert!((50..60).contains(&open.len()), "{} open", open.len());
        },
    );
}

#[test]
fn a11_who_floods_is_not_read() {
    attack(&[Moves::ReadsPaused], |arena| async move {
        let mut websocket = join(arena.addr).await;
        let event = masked(Opcode::Text, br#"42["echo",1]"#);
        let counter = |code| arena.server.metrics().snapshot().refused(code);
        let before = counter(RefusalCode::RateLimited);
        let paused = || arena.server.metrics().snapshot().reads_paused;
        let pauses = paused();
        let flood = async {
            for _ in 0..50 {
                websocket.send_raw(&event.repeat(1000)).await;
            }
            while paused() == pauses {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), flood)
            .await
            .expect("it is not read");
        // What one turn had read already is still looked at: eight reads of 64 KiB at most, of 50,000 events.
        let refused = counter(RefusalCode::RateLimited) - before;
        assert!(refused < 30_000, "{refused} were looked at");
    });
}

#[test]
fn a22_cve_2026_44211_cve_2020_28481_cve_2019_13611_cross_site() {
    attack(
        &[Moves::Refusals(RefusalCode::Forbidden)],
        |arena| async move {
            let target = join_polling(arena.addr).await;
            let probe = target.replace("transport=polling", "transport=websocket");
            for origin in [
                "null",
                "http://evil.example",
                "http://localhost.evil.example",
                "http://evil.example/localhost",
                "http://localhost@evil.example",
                "http://evil.example#localhost",
                "http://notlocalhost",
                "file://",
                "http://localhost:1",
                "//localhost",
                "http://localhost\\.evil.example",
                "http://[::1]",
            ] {
                for (entry, method, target, upgrade) in [
                    ("handshake", "GET", POLLING, &[][..]),
                    ("websocket", "GET", WEBSOCKET, &UPGRADE[..]),
                    ("poll", "GET", &target, &[][..]),
                    ("post", "POST", &target, &[][..]),
                    ("upgrade", "GET", &probe, &UPGRADE[..]),
                ] {
                    let mut headers = vec![("Origin", origin), ("Cookie", "io=x")];
                    headers.extend_from_slice(upgrade);
                    let answer = http::request(arena.addr, method, target, &headers, b"").await;
                    assert_eq!(answer.status, 403, "{origin} at {entry}");
                    assert_eq!(
                        answer.header("access-control-allow-origin"),
                        None,
                        "{origin}"
                    );
                }
            }
            leave(arena.addr, &target).await;
        },
    );
}
