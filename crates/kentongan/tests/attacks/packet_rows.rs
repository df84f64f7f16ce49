//! Rows A34 to A46: Socket.IO packets.

use kentongan::RefusalCode;

use crate::{
    arena::{Moves, attack},
    attacker::{is_alive, join, open, until},
    support::websocket::{Received, WebSocket, masked},
};
use kentongan_protocol::websocket::Opcode;

const PACKET: &[Moves] = &[Moves::Refusals(RefusalCode::SocketPacket)];
const STATE: &[Moves] = &[Moves::Refusals(RefusalCode::SocketState)];

/// Sends one packet in the root namespace; whether the session ends.
async fn ends(addr: std::net::SocketAddr, packet: &str) -> bool {
    let mut websocket = join(addr).await;
    websocket.send_text(packet).await;
    !is_alive(&mut websocket).await
}

#[test]
fn a34_cve_2026_33151_cve_2020_36049_attachment_counts() {
    attack(PACKET, |arena| async move {
        for count in [
            "0",
            "00",
            "11",
            "99",
            "1000000000",
            "18446744073709551616",
            "1e1",
            "-1",
            "+1",
            " 1",
            "",
            "0x1",
            "1.0",
            "१",
            "1-1",
        ] {
            for kind in ["5", "6"] {
                let packet = format!(r#"4{kind}{count}-1["x",{{"_placeholder":true,"num":0}}]"#);
                assert!(ends(arena.addr, &packet).await, "{packet}");
            }
        }
        // Glued together from parts that are each small enough.
        let mut websocket = join(arena.addr).await;
        let mut header = r#"4510-["x""#.to_owned();
        for num in 0..10 {
            header.push_str(&format!(r#",{{"_placeholder":true,"num":{num}}}"#));
        }
        header.push(']');
        websocket.send_text(&header).await;
        for _ in 0..10 {
            websocket.send_binary(&vec![7; 150_000]).await;
        }
        assert!(
            websocket
                .close_code()
                .await
                .is_none_or(|code| code == Some(1002))
        );
    });
}

#[test]
fn a35_cve_2026_69185_zero_attachments() {
    attack(PACKET, |arena| async move {
        for header in [r#"450-["x"]"#, r#"45-["x"]"#, r#"42["x"]"#] {
            for _ in 0..5 {
                let mut websocket = join(arena.addr).await;
                let frames = masked(Opcode::Binary, &[7; 1000]).repeat(2000);
                websocket.send_text(header).await;
                websocket.send_raw(&frames).await;
                assert!(
                    websocket
                        .close_code()
                        .await
                        .is_none_or(|code| code == Some(1002))
                );
            }
        }
    });
}

#[test]
fn a36_cve_2026_48804_attachments_that_never_come() {
    attack(
        &[Moves::Refusals(RefusalCode::Timeout)],
        |arena| async move {
            let mut waiting = Vec::new();
            for index in 0..100 {
                let mut websocket = join(arena.addr).await;
                websocket
                    .send_text(
                        r#"452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
                    )
                    .await;
                websocket.send_binary(&vec![7; 10_000]).await;
                if index % 2 == 0 {
                    waiting.push(websocket);
                }
            }
            for websocket in &mut waiting {
                assert!(websocket.close_code().await.is_some());
            }
            // Before it has joined, a client has nothing to send attachments with.
            let mut websocket = open(arena.addr).await;
            websocket
                .send_text(r#"451-["x",{"_placeholder":true,"num":0}]"#)
                .await;
            websocket.send_binary(b"x").await;
            assert!(websocket.close_code().await.is_some());
        },
    );
}

#[test]
fn a37_cve_2022_2421_placeholders() {
    attack(PACKET, |arena| async move {
        for placeholder in [
            r#"{"_placeholder":true,"num":-1}"#,
            r#"{"_placeholder":true,"num":1}"#,
            r#"{"_placeholder":true,"num":0.0}"#,
            r#"{"_placeholder":true,"num":1e0}"#,
            r#"{"_placeholder":true,"num":"0"}"#,
            r#"{"_placeholder":true,"num":"__proto__"}"#,
            r#"{"_placeholder":true,"num":null}"#,
            r#"{"_placeholder":true,"num":[0]}"#,
            r#"{"_placeholder":true,"num":18446744073709551616}"#,
            r#"{"_placeholder":true}"#,
            r#"{"_placeholder":true,"num":0,"more":1}"#,
            r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}"#,
            r#"{"_placeholder":true,"num":0,"num":0}"#,
        ] {
            let mut websocket = join(arena.addr).await;
            websocket
                .send_text(&format!(r#"451-["echo",{placeholder}]"#))
                .await;
            websocket.send_binary(b"abc").await;
            assert!(!is_alive(&mut websocket).await, "{placeholder}");
        }
    });
}

#[test]
fn a38_cve_2023_32695_cve_2024_38355_event_names() {
    attack(PACKET, |arena| async move {
        for name in [
            r#"{"toString":"x"}"#,
            r#"["echo"]"#,
            "null",
            "true",
            "{}",
            "[]",
            r#""connect""#,
            r#""connect_error""#,
            r#""disconnect""#,
            r#""disconnecting""#,
            r#""newListener""#,
            r#""removeListener""#,
        ] {
            assert!(ends(arena.addr, &format!("42[{name},1]")).await, "{name}");
            assert!(
                ends(arena.addr, &format!("421[{name},1]")).await,
                "{name} with an ack"
            );
        }
        for name in [
            r#""error""#,
            r#""__proto__""#,
            r#""constructor""#,
            r#""toString""#,
            "7",
            r#""""#,
            r#""connection""#,
        ] {
            assert!(
                !ends(arena.addr, &format!("42[{name},1]")).await,
                "{name} is a name like any other"
            );
        }
    });
}

#[test]
fn a39_cve_2026_58250_cve_2026_33218_packets_out_of_place() {
    attack(STATE, |arena| async move {
        for packet in [
            "41",
            r#"42["echo",1]"#,
            "430[]",
            r#"44{"message":"x"}"#,
            r#"42/n1,["echo",1]"#,
        ] {
            let mut websocket = open(arena.addr).await;
            websocket.send_text(packet).await;
            assert!(
                websocket.close_code().await.is_some(),
                "{packet} before CONNECT"
            );
        }
        for packet in [
            "40",
            "40{}",
            r#"42/n1,["echo",1]"#,
            "41/n1,",
            r#"44{"message":"x"}"#,
        ] {
            assert!(
                ends(arena.addr, packet).await,
                "{packet} in another namespace, or twice"
            );
        }
        let mut websocket = join(arena.addr).await;
        for _ in 0..200 {
            websocket.send_text("41").await;
            websocket.send_text("40").await;
            assert!(until(&mut websocket, "40{").await.is_some());
        }
    });
}

#[test]
fn a40_namespace_names() {
    let moves = [
        Moves::Refusals(RefusalCode::NamespaceUnknown),
        Moves::Refusals(RefusalCode::SocketPacket),
    ];
    attack(&moves, |arena| async move {
        let long = format!("40/{},", "n".repeat(900_000));
        assert!(ends(arena.addr, &long).await, "a name of 900 kB");
        let names_before = arena.server.namespaces();
        let mut websocket = join(arena.addr).await;
        for name in [
            "/__proto__",
            "/constructor",
            "/n1 ",
            "/N1",
            "/ｎ1",
            "/n1/",
            "//n1",
            "/n\u{200b}1",
            "/..",
            "/%6e1",
            "/n1\u{301}",
        ] {
            websocket.send_text(&format!("40{name},")).await;
            assert!(
                until(&mut websocket, "44").await.is_some(),
                "{name} is not /n1"
            );
        }
        for round in 0..40 {
            let packets: Vec<u8> = (0..250)
                .flat_map(|number| masked(Opcode::Text, format!("40/{round}-{number},").as_bytes()))
                .collect();
            websocket.send_raw(&packets).await;
            for _ in 0..250 {
                assert!(until(&mut websocket, "44").await.is_some());
            }
        }
        assert_eq!(arena.server.namespaces(), names_before);
    });
}

#[test]
fn a41_cve_2026_56811_many_namespaces() {
    attack(
        &[Moves::Refusals(RefusalCode::NamespaceUnknown)],
        |arena| async move {
            let mut websocket = join(arena.addr).await;
            for number in 0..40 {
                websocket.send_text(&format!("40/n{number},")).await;
                let start = if number < 31 { "40/" } else { "44/" };
                assert!(until(&mut websocket, start).await.is_some(), "{number}");
            }
            assert!(is_alive(&mut websocket).await);
        },
    );
}

#[test]
fn a42_rooms() {
    attack(&[Moves::SocketsConnected], |arena| async move {
        let mut victim = open(arena.addr).await;
        victim.send_text("40").await;
        let connected = until(&mut victim, "40{").await.unwrap();
        let id = connected.split('"').nth(3).unwrap().to_owned();
        let mut websocket = join(arena.addr).await;
        for (room, joins) in [("r".repeat(257), false), (String::new(), true)] {
            websocket
                .send_text(&format!(r#"421["join","{room}"]"#))
                .await;
            let answer = until(&mut websocket, "431").await.unwrap();
            assert_eq!(answer, format!("431[{joins}]"));
        }
        // What is sent to an id reaches its socket alone.
        let private = || arena.server.of("/").to(id.as_str()).emit("private", 1);
        private().unwrap();
        assert!(until(&mut victim, r#"42["private""#).await.is_some());
        websocket.send_text(r#"422["echo",1]"#).await;
        assert!(is_next_without(&mut websocket, "432[1]", "private").await);
        // As in Node, an id is a name of a room like any other: an application that lets clients name rooms has to
        // keep ids out. This is known, and asserted as it is.
        websocket.send_text(&format!(r#"423["join","{id}"]"#)).await;
        assert_eq!(until(&mut websocket, "433").await.unwrap(), "433[true]");
        private().unwrap();
        assert!(until(&mut websocket, r#"42["private""#).await.is_some());
        // The rate of events is the first bound on the names of a flood; `held.rooms_per_socket_max` is the second.
        let mut joined = 0;
        for round in 0..3 {
            let mut events = Vec::new();
            for number in 0..100 {
                events.extend(masked(
                    Opcode::Text,
                    format!(r#"425["join","room {round} {number}"]"#).as_bytes(),
                ));
            }
            websocket.send_raw(&events).await;
            for _ in 0..100 {
                let answer = until(&mut websocket, "435").await.unwrap();
                joined += usize::from(answer == "435[true]");
            }
        }
        assert!((1..300).contains(&joined), "{joined}");
    });
}

/// Reads on to `end`; whether `word` was in nothing before.
async fn is_next_without(websocket: &mut WebSocket, end: &str, word: &str) -> bool {
    loop {
        match websocket.recv().await {
            Received::Text(text) if text == end => return true,
            Received::Text(text) if text.contains(word) => return false,
            Received::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a43_acks_that_nobody_waits_for() {
    attack(&[Moves::AcksUnexpected], |arena| async move {
        let mut websocket = join(arena.addr).await;
        for round in 0..20_u64 {
            let acks: Vec<u8> = (0..1000)
                .flat_map(|id| {
                    masked(
                        Opcode::Text,
                        format!("43{}[1]", id * (round + 1)).as_bytes(),
                    )
                })
                .collect();
            websocket.send_raw(&acks).await;
        }
        for id in ["9007199254740992", "18446744073709551615"] {
            websocket.send_text(&format!("43{id}[1]")).await;
        }
        websocket
            .send_text(r#"461-7[{"_placeholder":true,"num":0}]"#)
            .await;
        websocket.send_binary(b"x").await;
        assert!(is_alive(&mut websocket).await);
        assert!(ends(arena.addr, "43[1]").await, "an ack of nothing");
        assert!(
            ends(arena.addr, "4318446744073709551616[1]").await,
            "an id that is none"
        );
        // Calls of the server, each answered twice.
        websocket.send_text(r#"42["call",50]"#).await;
        for _ in 0..50 {
            let call = until(&mut websocket, "42").await.unwrap();
            if let Some(id) = call
                .strip_prefix("42")
                .and_then(|rest| rest.strip_suffix(r#"["called"]"#))
            {
                websocket.send_text(&format!("43{id}[1]")).await;
                websocket.send_text(&format!("43{id}[2]")).await;
            }
        }
        assert!(is_alive(&mut websocket).await);
    });
}

/// socket.io #4984: what a client asks for, or is asked for, goes with it.
#[test]
fn a44_asking_and_leaving() {
    attack(&[Moves::SocketsConnected], |arena| async move {
        for _ in 0..100 {
            let mut websocket = join(arena.addr).await;
            let events: Vec<u8> = (0..20)
                .flat_map(|id| masked(Opcode::Text, format!(r#"42{id}["echo",1]"#).as_bytes()))
                .chain(masked(Opcode::Text, br#"42["call",20]"#))
                .collect();
            websocket.send_raw(&events).await;
        }
        let pending = || arena.server.of("/").acks_pending();
        while pending() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a45_json() {
    attack(PACKET, |arena| async move {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let deep_objects = format!("{}1{}", r#"{"a":"#.repeat(50_000), "}".repeat(50_000));
        let many: Vec<String> = (0..60_000).map(|key| format!(r#""{key}":1"#)).collect();
        let many = format!("{{{}}}", many.join(","));
        for bad in [
            deep.as_str(),
            &deep_objects,
            &many,
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            "1e",
            "01",
            "+1",
            ".5",
            "1.",
            "0x1",
            "NaN",
            "Infinity",
            "-",
            "1e+",
            "tru",
            "'x'",
            r#""\x""#,
            r#""\u12""#,
            "\"\u{0}\"",
            "\"\n\"",
            "[1,]",
            "{,}",
            r#"{"a"}"#,
            r#"{a:1}"#,
            "1]x[",
            "1],[1",
            "[",
            "\u{feff}1",
            "//1",
            "1 2",
        ] {
            let packet = format!(r#"421["echo",{bad}]"#);
            assert!(ends(arena.addr, &packet).await, "{:.40}", bad);
        }
        for (good, echo) in [
            ("-0", "-0"),
            ("12345678901234567890123", "12345678901234567890123"),
            (r#"" \u0000""#, r#"" \u0000""#),
            (
                r#"{"__proto__":1,"constructor":{}}"#,
                r#"{"__proto__":1,"constructor":{}}"#,
            ),
        ] {
            let mut websocket = join(arena.addr).await;
            websocket.send_text(&format!(r#"421["echo",{good}]"#)).await;
            let answer = until(&mut websocket, "431").await;
            assert!(answer.is_some(), "{good} -> {echo}");
        }
    });
}

/// The msgpack server shares the thread, so its heap counts too; its refusals have counters of their own.
#[test]
fn a46_rustsec_2017_0006_msgpack() {
    attack(&[], |arena| async move {
        let head = |rest: &[u8]| {
            let mut packet = b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data".to_vec();
            packet.extend_from_slice(rest);
            packet
        };
        let deep = [&b"\x92\xa4echo"[..], &[0x91; 50_000]].concat();
        let deep_maps = [&b"\x92\xa4echo"[..], &b"\x81\xa1a".repeat(50_000)].concat();
        let mut cases: Vec<(&str, Vec<u8>)> = vec![
            ("five bytes", b"\xdd\xff\xff\xff\xff".to_vec()),
            ("empty", Vec::new()),
            ("reserved", b"\xc1".to_vec()),
            ("not a map", b"\x93\x01\x02\x03".to_vec()),
        ];
        for (case, rest) in [
            ("array of 2^32 - 1", &b"\xdd\xff\xff\xff\xff"[..]),
            ("map of 2^32 - 1", b"\xdf\xff\xff\xff\xff"),
            ("string of 2^32 - 1", b"\x92\xa4echo\xdb\xff\xff\xff\xff"),
            ("binary of 2^32 - 1", b"\x92\xa4echo\xc6\xff\xff\xff\xff"),
            (
                "extension of 2^32 - 1",
                b"\x92\xa4echo\xc9\xff\xff\xff\xff\x01",
            ),
            ("unknown extension", b"\x92\xa4echo\xd4\x7f\x01"),
            ("number as a key", b"\x92\xa4echo\x81\x01\x01"),
            ("the same key twice", b"\x92\xa4echo\x82\xa1a\x01\xa1a\x02"),
            ("not UTF-8", b"\x92\xa4echo\xa1\xff"),
            ("deep", &deep),
            ("deep maps", &deep_maps),
        ] {
            cases.push((case, head(rest)));
        }
        for (case, packet) in cases {
            let mut websocket: WebSocket = open(arena.msgpack).await;
            websocket.send_binary(b"\x82\xa4type\x00\xa3nsp\xa1/").await;
            assert!(
                matches!(websocket.recv().await, Received::Binary(_)),
                "{case}"
            );
            websocket.send_binary(&packet).await;
            assert!(websocket.close_code().await.is_some(), "{case}");
        }
        let mut websocket = open(arena.msgpack).await;
        websocket.send_text("40").await;
        assert!(websocket.close_code().await.is_some(), "text");
    });
}
