//! Rows A23 to A33: Engine.IO sessions, payloads and upgrades.

use kentongan::RefusalCode;

use crate::{
    arena::{Moves, attack, fresh_address},
    attacker::{
        POLLING, WEBSOCKET, is_polling_alive, join, join_polling, leave, open_polling, target_of,
        until,
    },
    support::{
        http::{self, Connection},
        websocket::{Received, UPGRADE, WebSocket},
        within,
    },
};

const UNKNOWN: &[Moves] = &[Moves::Refusals(RefusalCode::SessionUnknown)];
const PACKET: &[Moves] = &[Moves::Refusals(RefusalCode::EnginePacket)];

fn as_websocket(target: &str) -> String {
    target.replace("transport=polling", "transport=websocket")
}

#[test]
fn a23_cve_2017_16031_guessed_ids() {
    attack(UNKNOWN, |arena| async move {
        let target = join_polling(arena.addr).await;
        let sid = target.split("sid=").nth(1).unwrap().to_owned();
        let mut connection = Connection::open(arena.addr).await;
        // The neighbours of a real id, by each letter.
        for at in 0..sid.len() {
            for letter in ["A", "z", "0", "_", "-"] {
                let mut guess = sid.clone();
                guess.replace_range(at..=at, letter);
                if guess == sid {
                    continue;
                }
                connection
                    .request("GET", &format!("{POLLING}&sid={guess}"), &[], b"")
                    .await;
                let answer = connection.answer().await;
                assert_eq!(
                    (answer.status, answer.text().contains(r#""code":1"#)),
                    (400, true),
                    "{guess}"
                );
            }
        }
        leave(arena.addr, &target).await;
        let answer = http::get(arena.addr, &target).await;
        assert_eq!(answer.status, 400, "the id of a session that is over");
        // Somebody else's cookie is no id.
        let cookie = format!("io={sid}");
        let address = fresh_address();
        let headers = [("Cookie", cookie.as_str()), ("X-Forwarded-For", &address)];
        let answer = http::request(arena.addr, "GET", POLLING, &headers, b"").await;
        assert!(!answer.text().contains(&sid), "fixed by the client");
        leave(arena.addr, &target_of(&answer)).await;
    });
}

#[test]
fn a24_cve_2026_59724_cve_2026_102600_names_as_ids() {
    attack(UNKNOWN, |arena| async move {
        let long = "A".repeat(7000);
        for sid in [
            "__proto__",
            "constructor",
            "prototype",
            "toString",
            "valueOf",
            "hasOwnProperty",
            "__defineGetter__",
            "length",
            "null",
            "undefined",
            "NaN",
            "0",
            "-1",
            "[]",
            "{}",
            "%00",
            "%ff%fe",
            "%E2%80%AE",
            "..%2f",
            "*",
            "%0d%0a",
            &long,
        ] {
            let target = format!("{POLLING}&sid={sid}");
            for (entry, answer) in [
                ("GET", http::get(arena.addr, &target).await),
                ("POST", http::post(arena.addr, &target, "4x").await),
                (
                    "upgrade",
                    http::request(arena.addr, "GET", &as_websocket(&target), &UPGRADE, b"").await,
                ),
            ] {
                assert_eq!(answer.status, 400, "{entry}: {:.30}", sid);
            }
        }
    });
}

#[test]
fn a25_cve_2026_102599_protocol_revisions() {
    attack(
        &[Moves::Refusals(RefusalCode::ProtocolVersion)],
        |arena| async move {
            let target = join_polling(arena.addr).await;
            for revision in [
                "",
                "EIO=",
                "EIO=2",
                "EIO=3",
                "EIO=5",
                "EIO=99",
                "EIO=04",
                "EIO=4&EIO=3",
                "EIO=%204",
                "EIO=four",
                "eio=4",
            ] {
                for (method, target, upgrade) in [
                    ("GET", POLLING.to_owned(), &[][..]),
                    ("GET", WEBSOCKET.to_owned(), &UPGRADE[..]),
                    ("GET", target.clone(), &[][..]),
                    ("POST", target.clone(), &[][..]),
                    ("GET", as_websocket(&target), &UPGRADE[..]),
                ] {
                    let target = target.replace("EIO=4", revision);
                    let answer = http::request(arena.addr, method, &target, upgrade, b"4x").await;
                    assert_eq!(answer.status, 400, "{method} {target}");
                }
            }
            assert!(
                is_polling_alive(arena.addr, &target).await,
                "the session is not harmed"
            );
            leave(arena.addr, &target).await;
        },
    );
}

#[test]
fn a26_packets_that_only_servers_send() {
    attack(PACKET, |arena| async move {
        for (packet, ends) in [
            ("2", true),
            ("2probe", true),
            ("7", true),
            ("", true),
            ("b", true),
            ("bAA=", true),
            ("1", true),
            ("\u{0}", true),
            ("3", false),
            ("3probe", false),
            ("0{}", false),
            ("5", false),
            ("6", false),
        ] {
            let mut websocket = join(arena.addr).await;
            websocket.send_text(packet).await;
            websocket.send_text(r#"421["echo",1]"#).await;
            assert_eq!(
                until(&mut websocket, "431[1]").await.is_none(),
                ends,
                "{packet:?}"
            );
            let target = join_polling(arena.addr).await;
            http::post(arena.addr, &target, packet).await;
            let is_alive = is_polling_alive(arena.addr, &target).await;
            assert_eq!(is_alive, !ends, "{packet:?} by polling");
            leave(arena.addr, &target).await;
        }
        let mut websocket = join(arena.addr).await;
        websocket.send_binary(b"2").await;
        assert!(
            websocket.close_code().await.is_some(),
            "binary that nothing announced"
        );
    });
}

#[test]
fn a27_cve_2026_59725_bodies_of_other_types() {
    attack(PACKET, |arena| async move {
        for (kind, encoding, body, status) in [
            ("application/octet-stream", "identity", &b"4x"[..], 400),
            ("application/octet-stream", "identity", b"", 400),
            (
                "text/plain;charset=UTF-8",
                "gzip",
                b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x33\xa9\0\0",
                400,
            ),
            (
                "multipart/form-data; boundary=x",
                "identity",
                b"--x\r\n\r\n4x\r\n--x--",
                400,
            ),
            ("application/json", "identity", b"{}", 400),
            ("\t", "identity", b"x", 400),
        ] {
            for _ in 0..10 {
                let target = join_polling(arena.addr).await;
                let headers = [("Content-Type", kind), ("Content-Encoding", encoding)];
                let answer = http::request(arena.addr, "POST", &target, &headers, body).await;
                assert_eq!(answer.status, status, "{kind}");
                assert_eq!(
                    http::get(arena.addr, &target).await.status,
                    400,
                    "{kind}: it is over"
                );
            }
        }
        // A length that is not kept: it breaks off, and so does the session.
        let target = join_polling(arena.addr).await;
        let mut connection = Connection::open(arena.addr).await;
        begin_post(&mut connection, &target).await;
        connection.send(b"4x").await;
        drop(connection);
        assert!(!is_polling_alive(arena.addr, &target).await);
    });
}

#[test]
fn a28_cve_2020_36048_cve_2026_32689_payloads() {
    let moves = [
        Moves::Refusals(RefusalCode::EnginePacket),
        Moves::Refusals(RefusalCode::PayloadTooLarge),
    ];
    attack(&moves, |arena| async move {
        let tiny = "4\u{1e}".repeat(400_000);
        for (case, body, status) in [
            ("a megabyte of separators", "\u{1e}".repeat(1_000_000), 400),
            ("many tiny packets", tiny[..tiny.len() - 1].to_owned(), 400),
            ("one separator", "\u{1e}".to_owned(), 400),
            ("half base64", "bA".to_owned(), 400),
            (
                "a megabyte of bad base64",
                format!("b{}", "*".repeat(999_000)),
                400,
            ),
            ("nothing", String::new(), 400),
            ("one byte too many", "4".repeat(1_000_001), 413),
        ] {
            for _ in 0..3 {
                let target = join_polling(arena.addr).await;
                let answer = http::post(arena.addr, &target, &body).await;
                assert_eq!(answer.status, status, "{case}");
                leave(arena.addr, &target).await;
            }
        }
    });
}

#[test]
fn a29_requests_that_overlap_or_break_off() {
    attack(
        &[Moves::Refusals(RefusalCode::Overlap)],
        |arena| async move {
            for round in 0..10 {
                // In sessions to which nothing is sent, so that a GET stays parked.
                // Two GETs: one is refused, and that ends the other.
                let target = open_polling(arena.addr).await;
                let (one, two) = tokio::join!(
                    http::get(arena.addr, &target),
                    http::get(arena.addr, &target)
                );
                assert!(one.status == 400 || two.status == 400, "{round}");
                assert_eq!(http::get(arena.addr, &target).await.status, 400);
                // A GET that goes away. Gone before the server has looked at it, it was never there: then another one.
                within("a GET that goes away ends its session", async {
                    loop {
                        let target = open_polling(arena.addr).await;
                        let mut connection = Connection::open(arena.addr).await;
                        connection.request("GET", &target, &[], b"").await;
                        drop(connection);
                        if http::post(arena.addr, &target, "3").await.status == 400 {
                            break;
                        }
                    }
                })
                .await;
                // Two POSTs, the first of them unfinished.
                let target = open_polling(arena.addr).await;
                let mut connection = Connection::open(arena.addr).await;
                begin_post(&mut connection, &target).await;
                http::post(arena.addr, &target, "3").await;
                assert_eq!(http::get(arena.addr, &target).await.status, 400, "{round}");
            }
        },
    );
}

/// In whatever order a client does it: its events arrive once and in order, and there is one winner.
#[test]
fn a30_upgrade_races() {
    attack(
        &[Moves::Refusals(RefusalCode::Timeout)],
        |arena| async move {
            for round in 0..40_u32 {
                let target = join_polling(arena.addr).await;
                let path = as_websocket(&target);
                let mut loser = WebSocket::connect(arena.addr, &path).await;
                let mut winner = WebSocket::connect(arena.addr, &path).await;
                if round & 1 == 0 {
                    loser.send_text("2probe").await;
                }
                if round & 2 == 0 {
                    winner.send_text("2probe").await;
                    assert_eq!(winner.text().await, "3probe");
                }
                let (addr, body) = (arena.addr, r#"420["echo",0]"#);
                if round & 4 == 0 {
                    // In flight while the transport changes.
                    let posted = target.clone();
                    let post = async move { http::post(addr, &posted, body).await };
                    let (answer, ()) = tokio::join!(post, winner.send_text("5"));
                    let is_taken = answer.text() == "ok";
                    assert!(is_taken || answer.status == 400);
                    if is_taken {
                        assert!(until(&mut winner, "430[0]").await.is_some());
                    }
                } else {
                    http::post(addr, &target, body).await;
                    winner.send_text("5").await;
                    assert!(until(&mut winner, "430[0]").await.is_some());
                }
                for number in 1..10 {
                    winner
                        .send_text(&format!(r#"42{number}["echo",{number}]"#))
                        .await;
                }
                for number in 1..10 {
                    let text = until(&mut winner, "43").await.unwrap();
                    assert_eq!(text, format!("43{number}[{number}]"), "round {round}");
                }
                loser.send_text("5").await;
                loop {
                    match loser.recv().await {
                        Received::Close(_) | Received::End => break,
                        Received::Text(text) => assert_eq!(text, "3probe", "round {round}"),
                        other => panic!("{other:?}"),
                    }
                }
            }
            // Silent ones are told why they are closed.
            let target = join_polling(arena.addr).await;
            let mut silent = WebSocket::connect(arena.addr, &as_websocket(&target)).await;
            assert_eq!(silent.close_code().await, Some(Some(1008)));
            leave(arena.addr, &target).await;
        },
    );
}

#[test]
fn a31_many_probes_of_one_session() {
    attack(
        &[Moves::Refusals(RefusalCode::BadRequest)],
        |arena| async move {
            let target = join_polling(arena.addr).await;
            let path = as_websocket(&target);
            let started = std::time::Instant::now();
            let mut open = Vec::new();
            for _ in 0..200 {
                match WebSocket::try_connect(arena.addr, &path, &[]).await {
                    Ok(websocket) => open.push(websocket),
                    Err(answer) => assert_eq!(answer.status, 400),
                }
            }
            // Three at a time; each has half a second, and then makes room.
            let rounds = 2 + started.elapsed().as_millis() / 500;
            let most = 3 * usize::try_from(rounds).unwrap();
            assert!((3..=most).contains(&open.len()), "{} of {most}", open.len());
            leave(arena.addr, &target).await;
        },
    );
}

#[test]
fn a33_jsonp_is_not_offered() {
    attack(&[Moves::SocketsConnected], |arena| async move {
        for parameter in [
            "j=0",
            "j=alert(1)",
            "callback=alert",
            "jsonp=x",
            "j=%3Cscript%3E",
        ] {
            let address = fresh_address();
            let headers = [("X-Forwarded-For", address.as_str())];
            let target = format!("{POLLING}&{parameter}");
            let answer = http::request(arena.addr, "GET", &target, &headers, b"").await;
            assert!(answer.text().starts_with("0{"), "{parameter}: {answer:?}");
            assert_eq!(
                answer.header("content-type"),
                Some("text/plain; charset=UTF-8")
            );
            for reflected in ["alert", "script", "___eio", "callback"] {
                assert!(!answer.text().contains(reflected), "{parameter}");
            }
            leave(arena.addr, &target_of(&answer)).await;
        }
        let target = join_polling(arena.addr).await;
        leave(arena.addr, &target).await;
    });
}

/// Begins a POST and returns when the server waits for its body.
async fn begin_post(connection: &mut Connection, target: &str) {
    let headers = [("Content-Length", "100"), ("Expect", "100-continue")];
    let mut head = http::head("POST", target, &headers);
    head.extend_from_slice(b"\r\n");
    connection.send(&head).await;
    assert_eq!(connection.answer_without_body().await.status, 100);
}
