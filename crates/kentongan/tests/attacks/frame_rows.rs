//! Rows A15 to A20 and A47: WebSocket frames. A14, the Autobahn cases, has a suite of its own.

use std::time::Duration;

use kentongan::RefusalCode;
use kentongan_protocol::websocket::{Opcode, deflate};

use crate::{
    arena::{Moves, attack},
    attacker::{is_alive, join, join_deflated, join_polling, until},
    support::{
        http,
        websocket::{Received, masked},
    },
};

const WEBSOCKET: &[Moves] = &[Moves::Refusals(RefusalCode::WebSocket)];

/// A masked frame whose first byte is `first`.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = masked(Opcode::Text, payload);
    bytes[0] = first;
    bytes
}

/// The head of a masked frame that claims a length of 64 bits.
fn claim(length: u64) -> Vec<u8> {
    let mut bytes = vec![0x81, 0xff];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0; 4]);
    bytes
}

#[test]
fn a15_cve_2026_27889_cve_2026_1528_cve_2016_10544_claimed_lengths() {
    attack(WEBSOCKET, |arena| async move {
        let mut held = Vec::new();
        for power in [7, 16, 20, 31, 32, 62, 63] {
            for length in [(1_u64 << power) - 1, 1 << power, (1 << power) + 1] {
                let mut websocket = join(arena.addr).await;
                websocket.send_raw(&claim(length)).await;
                websocket.send_raw(b"4").await;
                if length > 1_000_000 {
                    let code = websocket.close_code().await;
                    assert!(
                        [Some(Some(1009)), Some(Some(1002))].contains(&code),
                        "{length}: {code:?}"
                    );
                } else if length < 65_536 {
                    // RFC 6455, section 5.2: the shortest form is the only one.
                    assert_eq!(websocket.close_code().await, Some(Some(1002)), "{length}");
                } else {
                    // Claimed and never sent: nothing may be held for it.
                    held.push(websocket);
                }
            }
        }
        let mut websocket = join(arena.addr).await;
        websocket.send_raw(&claim(u64::MAX)).await;
        assert!(websocket.close_code().await.is_some());
        assert_eq!(held.len(), 2);
    });
}

#[test]
fn a16_cve_2026_48779_cve_2026_62389_fragments() {
    attack(WEBSOCKET, |arena| async move {
        for (case, piece) in [("one byte", &b"x"[..]), ("empty", b"")] {
            for _ in 0..20 {
                let mut websocket = join(arena.addr).await;
                websocket.send_raw(&frame(0x01, b"4")).await;
                // Ten times as many as allowed.
                websocket.send_raw(&frame(0x00, piece).repeat(10_240)).await;
                let code = websocket.close_code().await;
                // A reset may overtake the close frame, since we wrote on.
                assert!([Some(Some(1009)), None].contains(&code), "{case}: {code:?}");
            }
        }
        let mut websocket = join(arena.addr).await;
        let message = masked(
            Opcode::Text,
            format!(r#"421["echo","{}"]"#, "x".repeat(2000)).as_bytes(),
        );
        for byte in &message {
            websocket.send_raw(std::slice::from_ref(byte)).await;
        }
        assert!(
            until(&mut websocket, "431").await.is_some(),
            "one byte at a time is slow, not wrong"
        );
    });
}

#[test]
fn a17_cve_2026_39804_cve_2026_27571_cve_2026_1526_cve_2016_10544_deflate_bombs() {
    attack(WEBSOCKET, |arena| async move {
        let bomb = deflate::compress_message(&vec![b'4'; 32 << 20]);
        assert!(bomb.len() < 100_000, "a thousandth of what it becomes");
        for _ in 0..10 {
            let mut websocket = join_deflated(arena.addr).await;
            websocket.send_raw(&frame(0xc1, &bomb)).await;
            assert_eq!(
                websocket.close_code().await,
                Some(Some(1009)),
                "in one frame"
            );
            let mut websocket = join_deflated(arena.addr).await;
            let pieces: Vec<&[u8]> = bomb.chunks(1000).collect();
            for (index, piece) in pieces.iter().enumerate() {
                let last = index + 1 == pieces.len();
                let first = if index == 0 { 0x41 } else { 0x00 } | if last { 0x80 } else { 0 };
                websocket.send_raw(&frame(first, piece)).await;
            }
            assert_eq!(
                websocket.close_code().await,
                Some(Some(1009)),
                "in fragments"
            );
        }
        // Many messages at the limit: each is let go of before the next.
        let mut websocket = join_deflated(arena.addr).await;
        let full =
            deflate::compress_message(format!(r#"42["no","{}"]"#, "x".repeat(900_000)).as_bytes());
        for _ in 0..30 {
            websocket.send_raw(&frame(0xc1, &full)).await;
        }
        assert!(is_alive(&mut websocket).await);
    });
}

#[test]
fn a18_cve_2026_128131_empty_deflate_blocks() {
    attack(WEBSOCKET, |arena| async move {
        // Stored blocks without a byte, as many as a message may have.
        let blocks = [0x00, 0x00, 0x00, 0xff, 0xff].repeat(190_000);
        for _ in 0..5 {
            let mut websocket = join_deflated(arena.addr).await;
            websocket.send_raw(&frame(0xc1, &blocks)).await;
            assert!(
                websocket.close_code().await.is_some(),
                "an empty message is no packet"
            );
        }
        let mut websocket = join_deflated(arena.addr).await;
        websocket.send_raw(&frame(0xc1, &blocks.repeat(2))).await;
        assert_eq!(websocket.close_code().await, Some(Some(1009)));
    });
}

#[test]
fn a19_control_floods_and_closes() {
    attack(WEBSOCKET, |arena| async move {
        for opcode in [Opcode::Ping, Opcode::Pong] {
            for _ in 0..10 {
                let mut websocket = join(arena.addr).await;
                websocket
                    .send_raw(&masked(opcode, &[7; 125]).repeat(5000))
                    .await;
                let code = websocket.close_code().await;
                assert!(
                    [Some(Some(1008)), None].contains(&code),
                    "{opcode:?}: {code:?}"
                );
            }
        }
        // Of the pings of one read only the last needs an answer.
        let mut websocket = join(arena.addr).await;
        websocket
            .send_raw(&masked(Opcode::Ping, b"x").repeat(50))
            .await;
        assert!(is_alive(&mut websocket).await);
        // Data behind a close frame is not for anybody.
        let mut websocket = join(arena.addr).await;
        let events = arena
            .server
            .metrics()
            .snapshot()
            .refused(RefusalCode::InvalidArguments);
        websocket.send_close(Some(1000)).await;
        websocket.send_text(r#"421["join",1]"#).await;
        assert_eq!(websocket.close_code().await, Some(Some(1000)));
        assert_eq!(
            events,
            arena
                .server
                .metrics()
                .snapshot()
                .refused(RefusalCode::InvalidArguments)
        );
        // Never answering our close: the stream ends all the same.
        let mut stubborn = join(arena.addr).await;
        stubborn.send_text("4x").await;
        assert_eq!(stubborn.close_code().await, Some(Some(1002)));
        let ended = async { while stubborn.recv().await != Received::End {} };
        tokio::time::timeout(Duration::from_secs(5), ended)
            .await
            .expect("two seconds, and it is cut off");
    });
}

#[test]
fn a20_masks() {
    attack(WEBSOCKET, |arena| async move {
        let mut websocket = join(arena.addr).await;
        websocket.send_raw(b"\x81\x02\x34\x31").await;
        assert_eq!(websocket.close_code().await, Some(Some(1002)), "not masked");
        let mut websocket = join(arena.addr).await;
        let event = br#"421["echo",1]"#;
        let mut zero = vec![0x81, 0x80 | u8::try_from(event.len()).unwrap(), 0, 0, 0, 0];
        zero.extend(event);
        websocket.send_raw(&zero).await;
        assert!(
            until(&mut websocket, "431[1]").await.is_some(),
            "masked with zeros"
        );
    });
}

#[test]
fn a47_text_that_is_not_utf_8() {
    let moves = [
        Moves::Refusals(RefusalCode::WebSocket),
        Moves::Refusals(RefusalCode::EnginePacket),
    ];
    attack(&moves, |arena| async move {
        for bad in [
            &b"\xff"[..],
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"\xf5\x80\x80\x80",
            b"\xe2\x82",
            b"\xf0\x9f\x98",
            b"\x80",
        ] {
            let text = [br#"42["echo",""#, bad, br#""]"#].concat();
            let mut websocket = join(arena.addr).await;
            websocket.send_raw(&frame(0x81, &text)).await;
            assert_eq!(websocket.close_code().await, Some(Some(1007)), "{bad:x?}");
            // Over two fragments, cut inside the bad place.
            let (one, two) = text.split_at(12);
            let mut websocket = join(arena.addr).await;
            websocket
                .send_raw(&[frame(0x01, one), frame(0x80, two)].concat())
                .await;
            assert_eq!(
                websocket.close_code().await,
                Some(Some(1007)),
                "{bad:x?} in fragments"
            );
            let target = join_polling(arena.addr).await;
            assert_eq!(
                http::post(arena.addr, &target, &text).await.status,
                400,
                "{bad:x?} by polling"
            );
        }
        let mut websocket = join(arena.addr).await;
        let (one, two) = "421[\"echo\",\"€\"]".as_bytes().split_at(13);
        websocket
            .send_raw(&[frame(0x01, one), frame(0x80, two)].concat())
            .await;
        assert!(
            until(&mut websocket, "431[\"€\"]").await.is_some(),
            "a letter in two fragments is fine"
        );
    });
}
