//! Packet × state × where it came from: every cell is defined, and printed in `docs/engine-states.md`.
//!
//! The document is the expectation: a change of behaviour shows there or fails here.

use std::fmt::Write as _;
use std::path::Path;

use super::*;

const PACKETS: [(&str, Option<Packet<'static>>); 9] = [
    ("`0` open", Some(Packet::Open(""))),
    ("`1` close", Some(Packet::Close)),
    ("`2probe` ping", Some(Packet::Ping("probe"))),
    ("`3` pong", Some(Packet::Pong(""))),
    ("`4` text", Some(Packet::Text("x"))),
    (
        "binary",
        Some(Packet::Binary(std::borrow::Cow::Borrowed(b"x"))),
    ),
    ("`5` upgrade", Some(Packet::Upgrade)),
    ("`6` noop", Some(Packet::Noop)),
    ("malformed", None),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    Idle,
    Parked,
    Probing,
    WebSocket,
    Closing,
    Closed,
}

const STATES: [(Given, &str); 6] = [
    (Given::Idle, "polling, idle"),
    (Given::Parked, "polling, GET parked"),
    (Given::Probing, "polling, probed"),
    (Given::WebSocket, "websocket"),
    (Given::Closing, "closing"),
    (Given::Closed, "closed"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Post,
    WebSocket,
    Probe,
}

const SOURCES: [(Source, &str); 3] = [
    (Source::Post, "From a POST"),
    (Source::WebSocket, "From the WebSocket of the session"),
    (Source::Probe, "From a probing WebSocket"),
];

/// A session in the given state, with the id of its probe if one was opened.
fn given(state: Given, source: Source) -> (Bench, Option<ProbeId>) {
    let mut bench = match (state, source) {
        (Given::WebSocket, _) | (Given::Closing | Given::Closed, Source::WebSocket) => {
            Bench::websocket()
        }
        _ => Bench::polling(),
    };
    let mut probe = None;
    if state == Given::Probing || source == Source::Probe && matches!(state, Given::Closing) {
        let id = bench.probe().unwrap();
        assert_eq!(
            bench.probe_packet(id, &Packet::Ping("probe")),
            ProbeStep::ReplyPong
        );
        probe = Some(id);
    }
    match state {
        Given::Parked => bench.get().unwrap(),
        Given::Closing => {
            assert_eq!(bench.send("2[\"rest\"]"), Sent::Queued);
            bench
                .session
                .close(bench.now, CloseReason::ForcedClose, Flush::Yes);
        }
        Given::Closed => bench
            .session
            .close(bench.now, CloseReason::ForcedClose, Flush::No),
        Given::Idle | Given::Probing | Given::WebSocket => {}
    }
    (bench, probe)
}

fn outcome(state: Given, source: Source, packet: Option<&Packet<'_>>) -> String {
    let (mut bench, probe) = given(state, source);
    let was_closed = bench.session.is_closed();
    let mut cell = match source {
        Source::Post => post(&mut bench, packet),
        Source::WebSocket => received(&mut bench, Transport::WebSocket, packet),
        Source::Probe => probed(&mut bench, probe, packet),
    };
    if !was_closed
        && let Some(reason) = bench.session.reason().filter(|_| bench.session.is_closed())
    {
        write!(cell, ", session ends: {reason}").unwrap();
    }
    if let Some(body) = (state == Given::Parked).then(|| bench.body()).flatten() {
        write!(cell, ", GET gets `{body}`").unwrap();
    }
    cell
}

fn post(bench: &mut Bench, packet: Option<&Packet<'_>>) -> String {
    match bench.session.handle_post(bench.now) {
        Ok(()) => received(bench, Transport::Polling, packet),
        Err(error) => format!("refused: {}", error.code()),
    }
}

fn received(bench: &mut Bench, from: Transport, packet: Option<&Packet<'_>>) -> String {
    let Some(packet) = packet else {
        bench
            .session
            .close(bench.now, CloseReason::ParseError, Flush::No);
        return "refused".to_owned();
    };
    match bench
        .session
        .handle_packet(&bench.config, bench.now, from, packet)
    {
        Received::Message => "message",
        Received::Nothing => "ignored",
        Received::Closed => "read no further",
    }
    .to_owned()
}

fn probed(bench: &mut Bench, probe: Option<ProbeId>, packet: Option<&Packet<'_>>) -> String {
    let id = match probe.map_or_else(|| bench.probe(), Ok) {
        Ok(id) => id,
        Err(error) => return format!("refused: {}", error.code()),
    };
    let Some(packet) = packet else {
        bench.session.handle_probe_closed(bench.now, id);
        return "rejected".to_owned();
    };
    match bench.probe_packet(id, packet) {
        ProbeStep::ReplyPong => "answered `3probe`",
        ProbeStep::Upgraded => "upgraded",
        ProbeStep::Reject => "rejected",
    }
    .to_owned()
}

fn document() -> String {
    let mut text = String::from(
        "# What a packet does in each state of an Engine.IO session\n\n\
         Checked cell by cell by `every_cell_is_as_documented` in kentongan-protocol. \"Ignored\" packets still show\n\
         that the client lives; \"rejected\" closes the probing WebSocket and leaves the session alone; \"refused\" is\n\
         answered with an error (the code is the one in the logs) before or instead of reading the packet.\n",
    );
    for (source, title) in SOURCES {
        write!(text, "\n## {title}\n\n| packet |").unwrap();
        // Only a session that is carried by a WebSocket, or was, has one.
        let has = |state| {
            source != Source::WebSocket
                || !matches!(state, Given::Idle | Given::Parked | Given::Probing)
        };
        for (_, name) in STATES.iter().filter(|(state, _)| has(*state)) {
            write!(text, " {name} |").unwrap();
        }
        text.push_str("\n|---|");
        text.push_str(&"---|".repeat(STATES.iter().filter(|(state, _)| has(*state)).count()));
        text.push('\n');
        for (name, packet) in &PACKETS {
            write!(text, "| {name} |").unwrap();
            for (state, _) in STATES.iter().filter(|(state, _)| has(*state)) {
                write!(text, " {} |", outcome(*state, source, packet.as_ref())).unwrap();
            }
            text.push('\n');
        }
    }
    text
}

#[test]
fn every_cell_is_as_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/engine-states.md");
    let actual = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (line, (actual, expected)) in actual.lines().zip(expected.lines()).enumerate() {
        assert_eq!(
            actual,
            expected,
            "line {} of docs/engine-states.md",
            line + 1
        );
    }
    assert_eq!(actual.lines().count(), expected.lines().count());
}

#[test]
fn packets_of_a_socket_that_is_not_the_session_are_ignored() {
    for state in [Given::Idle, Given::Parked, Given::Probing] {
        for (name, packet) in PACKETS
            .iter()
            .filter_map(|(name, packet)| Some((name, packet.as_ref()?)))
        {
            let (mut bench, _) = given(state, Source::Post);
            let received =
                bench
                    .session
                    .handle_packet(&bench.config, bench.now, Transport::WebSocket, packet);
            assert_eq!(received, Received::Nothing, "{name} when {state:?}");
            assert!(bench.session.is_open());
        }
    }
}
