//! Socket.IO as clients see it: tables of what is sent, in which state and over which transport, and of what the server
//! answers. Packets are written as in a polling payload; `b…` is a binary message on either transport.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::{collections::VecDeque, fmt::Write as _, net::SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use kentongan::{
    Ack, Args, Auth, Config, Data, EventName, Limits, Parser, Refusal, Reply, Server, Socket, Value,
};
use serde::Deserialize;
use support::{
    TestServer, http, serve,
    websocket::{Received, WebSocket},
};

/// What a table expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// These packets, and the session goes on.
    Reply(&'static [&'static str]),
    /// The session ends.
    Closed,
    /// Nothing, and the session goes on.
    Ignored,
}

use Expect::{Closed, Ignored, Reply as Replies};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    WebSocket,
    Polling,
}

const TRANSPORTS: [Transport; 2] = [Transport::WebSocket, Transport::Polling];

/// A client on the raw wire of either transport.
enum Wire {
    WebSocket(Box<WebSocket>),
    Polling {
        addr: SocketAddr,
        target: String,
        unread: VecDeque<String>,
    },
}

impl Wire {
    async fn open(addr: SocketAddr, transport: Transport) -> Self {
        match transport {
            Transport::WebSocket => {
                let mut ws =
                    WebSocket::connect(addr, "/socket.io/?EIO=4&transport=websocket").await;
                assert!(ws.text().await.starts_with('0'));
                Self::WebSocket(Box::new(ws))
            }
            Transport::Polling => {
                let answer = http::get(addr, "/socket.io/?EIO=4&transport=polling").await;
                let sid = answer.text().split('"').nth(3).unwrap().to_owned();
                Self::Polling {
                    addr,
                    target: format!("/socket.io/?EIO=4&transport=polling&sid={sid}"),
                    unread: VecDeque::new(),
                }
            }
        }
    }

    async fn send(&mut self, packets: &[&str]) {
        match self {
            Self::WebSocket(ws) => {
                for packet in packets {
                    match packet.strip_prefix('b') {
                        Some(data) => ws.send_binary(&STANDARD.decode(data).unwrap()).await,
                        None => ws.send_text(packet).await,
                    }
                }
            }
            Self::Polling { addr, target, .. } => {
                if !packets.is_empty() {
                    // A session that has ended says so to the next GET.
                    let _ = http::post(*addr, target, packets.join("\u{1e}")).await;
                }
            }
        }
    }

    /// The next message; `None` at the end of the session.
    async fn next(&mut self) -> Option<String> {
        loop {
            let packet = match self {
                Self::WebSocket(ws) => match ws.recv().await {
                    Received::Text(text) => text,
                    Received::Binary(data) => format!("b{}", STANDARD.encode(data)),
                    Received::Close(_) | Received::End => return None,
                    other => panic!("unexpected {other:?}"),
                },
                Self::Polling {
                    addr,
                    target,
                    unread,
                } => {
                    if unread.is_empty() {
                        let answer = http::get(*addr, target).await;
                        if answer.status != 200 {
                            assert_eq!(answer.status, 400);
                            return None;
                        }
                        unread.extend(answer.text().split('\u{1e}').map(str::to_owned));
                    }
                    unread.pop_front().unwrap()
                }
            };
            match packet.as_str() {
                "1" => return None,
                "2" | "6" => {}
                _ => return Some(without_sid(&packet)),
            }
        }
    }

    async fn expect(&mut self, packet: &str) {
        assert_eq!(self.next().await.as_deref(), Some(packet));
    }

    /// Everything up to the answer to a CONNECT that only an open session gives.
    async fn settle(&mut self) -> Option<Vec<String>> {
        self.send(&["40/fence,"]).await;
        let mut seen = Vec::new();
        loop {
            let packet = self.next().await?;
            if packet == r#"40/fence,{"sid":"*"}"# {
                return Some(seen);
            }
            seen.push(packet);
        }
    }

    async fn check(&mut self, packets: &[&str], expected: Expect, case: &str) {
        self.send(packets).await;
        let seen = self.settle().await;
        let wanted = match expected {
            Replies(replies) => Some(replies.to_vec()),
            Ignored => Some(Vec::new()),
            Closed => None,
        };
        let seen: Option<Vec<&str>> = seen
            .as_ref()
            .map(|seen| seen.iter().map(String::as_str).collect());
        assert_eq!(seen, wanted, "{case}");
    }
}

/// Ids are random: `"sid":"*"`.
fn without_sid(packet: &str) -> String {
    let Some(at) = packet.find(r#""sid":""#) else {
        return packet.to_owned();
    };
    let start = at + r#""sid":""#.len();
    let end = start + packet[start..].find('"').unwrap();
    assert_eq!(end - start, 20, "{packet}");
    format!("{}*{}", &packet[..start], &packet[end..])
}

/// `/`, `/a` and `/b` echo; `/slow` never decides; `/guarded` refuses.
async fn start(config: Config) -> TestServer {
    let server = Server::new(config).unwrap();
    for name in ["/", "/a", "/b", "/fence"] {
        echo(&server.of(name));
    }
    server
        .of("/slow")
        .middleware(std::future::pending::<Result<(), Refusal>>);
    server.of("/guarded").middleware(|| async {
        let data = Value::from(vec![("code".to_owned(), Value::from("E1"))]);
        Err(Refusal::new("not you").with_data(data))
    });
    let _ = server
        .of("/silent")
        .middleware(|| async { Err("no".into()) });
    serve(server).await
}

fn echo(namespace: &kentongan::Namespace) {
    namespace.on("say", |socket: Socket, args: Args| async move {
        socket.emit("said", args).unwrap();
    });
    namespace.on("5", |socket: Socket, args: Args| async move {
        socket.emit("said", args).unwrap();
    });
    namespace.on("ask", |args: Args| async move { Reply(args) });
    namespace.on("ask_none", || async { Reply(()) });
    namespace.on(
        "typed",
        |Data(number): Data<u32>| async move { Reply(number) },
    );
    namespace.on("twice", |ack: Ack| async move {
        ack.clone().send(1);
        ack.send(2);
    });
    namespace.on("kick", |socket: Socket| async move { socket.disconnect() });
    namespace.on("kick_all", |socket: Socket| async move {
        socket.disconnect_session()
    });
    namespace.on("call", |socket: Socket, args: Args| async move {
        match socket.emit_with_ack::<Vec<Value>>("called", args).await {
            Ok(answer) => socket.emit("answer", (answer,)).unwrap(),
            Err(error) => socket.emit("failed", error.to_string()).unwrap(),
        }
    });
}

// --- packet type x state x transport ---

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is connected.
    Fresh,
    /// The middleware has not decided.
    Connecting,
    Connected,
    /// The client has left the namespace.
    ClientLeft,
    /// The server has sent the client out of the namespace.
    ServerLeft,
}

const STATES: [State; 5] = [
    State::Fresh,
    State::Connecting,
    State::Connected,
    State::ClientLeft,
    State::ServerLeft,
];

/// `#` stands for the namespace of the state.
type Row = (&'static str, &'static [&'static str], [Expect; 5]);

const CONNECTED: Expect = Replies(&[r#"40/a,{"sid":"*"}"#]);

#[rustfmt::skip]
const PACKETS: [Row; 10] = [
    // packet             sent                                                                    fresh      connecting connected                              client left server left
    ("0 connect",         &["40#,"],                                                              [CONNECTED, Closed,   Closed,                                CONNECTED,  CONNECTED]),
    ("1 disconnect",      &["41#,"],                                                              [Closed,    Closed,   Ignored,                               Closed,     Ignored]),
    ("2 event",           &[r#"42#,7["ask",1]"#],                                                 [Closed,    Closed,   Replies(&["43/a,7[1]"]),               Closed,     Ignored]),
    ("3 ack",             &[r#"43#,0["x"]"#],                                                     [Closed,    Closed,   Ignored,                               Closed,     Ignored]),
    ("4 connect error",   &[r#"44#,{"message":"x"}"#],                                            [Closed,    Closed,   Closed,                                Closed,     Closed]),
    ("5 binary event",    &[r#"451-#,7["ask",{"_placeholder":true,"num":0}]"#, "bAQID"],          [Closed,    Closed,   Replies(&[r#"461-/a,7[{"_placeholder":true,"num":0}]"#, "bAQID"]), Closed, Ignored]),
    ("6 binary ack",      &[r#"461-#,0[{"_placeholder":true,"num":0}]"#, "bAQID"],                [Closed,    Closed,   Ignored,                               Closed,     Ignored]),
    ("7",                 &["47"],                                                                [Closed,    Closed,   Closed,                                Closed,     Closed]),
    ("x",                 &["4x"],                                                                [Closed,    Closed,   Closed,                                Closed,     Closed]),
    ("empty",             &["4"],                                                                 [Closed,    Closed,   Closed,                                Closed,     Closed]),
];

async fn bring_to(wire: &mut Wire, state: State) {
    match state {
        State::Fresh => {}
        State::Connecting => wire.send(&["40/slow,"]).await,
        State::Connected => {
            wire.send(&["40/a,"]).await;
            wire.expect(r#"40/a,{"sid":"*"}"#).await;
        }
        State::ClientLeft => {
            wire.send(&["40/a,"]).await;
            wire.expect(r#"40/a,{"sid":"*"}"#).await;
            wire.send(&["41/a,"]).await;
        }
        State::ServerLeft => {
            wire.send(&["40/a,"]).await;
            wire.expect(r#"40/a,{"sid":"*"}"#).await;
            wire.send(&[r#"42/a,["kick"]"#]).await;
            wire.expect("41/a,").await;
        }
    }
}

#[tokio::test]
async fn every_packet_in_every_state_over_every_transport() {
    let server = start(Config::default()).await;
    let mut cells = 0;
    for (name, packets, row) in PACKETS {
        for (state, expected) in STATES.into_iter().zip(row) {
            for transport in TRANSPORTS {
                let namespace = if state == State::Connecting {
                    "/slow"
                } else {
                    "/a"
                };
                let packets: Vec<String> = packets
                    .iter()
                    .map(|packet| packet.replace('#', namespace))
                    .collect();
                let packets: Vec<&str> = packets.iter().map(String::as_str).collect();
                let mut wire = Wire::open(server.addr, transport).await;
                bring_to(&mut wire, state).await;
                let case = format!("{name}, {state:?}, {transport:?}");
                wire.check(&packets, expected, &case).await;
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 100);
}

// --- grammar ---

async fn check_connected(config: Config, rows: &[(&[&str], Expect)]) {
    let server = start(config).await;
    for (packets, expected) in rows {
        for transport in TRANSPORTS {
            let mut wire = Wire::open(server.addr, transport).await;
            wire.send(&["40"]).await;
            wire.expect(r#"40{"sid":"*"}"#).await;
            let case = format!("{packets:?} over {transport:?}");
            wire.check(packets, *expected, &case).await;
        }
    }
}

#[tokio::test]
async fn connect_and_disconnect_packets() {
    check_connected(
        Config::default(),
        &[
            (&["40/b"], Replies(&[r#"40/b,{"sid":"*"}"#])),
            (&["40/b,"], Replies(&[r#"40/b,{"sid":"*"}"#])),
            (
                &[r#"40/b,{"token":"x"}"#],
                Replies(&[r#"40/b,{"sid":"*"}"#]),
            ),
            (&["40/b,{}"], Replies(&[r#"40/b,{"sid":"*"}"#])),
            (
                &["40/a", "40/b"],
                Replies(&[r#"40/a,{"sid":"*"}"#, r#"40/b,{"sid":"*"}"#]),
            ),
            (
                &["40/b?x=1,"],
                Replies(&[r#"44/b?x=1,{"message":"Invalid namespace"}"#]),
            ),
            (
                &["40/nope"],
                Replies(&[r#"44/nope,{"message":"Invalid namespace"}"#]),
            ),
            (
                &["40/B,"],
                Replies(&[r#"44/B,{"message":"Invalid namespace"}"#]),
            ),
            (&["40/b,[]"], Closed),
            (&[r#"40/b,"x""#], Closed),
            (&["40/b,null"], Closed),
            (&["40/b,true"], Closed),
            (&["40/b,{"], Closed),
            (&["40/b,{}{}"], Closed),
            (&["40/b,{\"a\":1,\"a\":2}"], Closed),
        ],
    )
    .await;
}

#[tokio::test]
async fn disconnect_packets() {
    check_connected(
        Config::default(),
        &[
            (&["41{}"], Closed),
            (&["41[]"], Closed),
            (&["41\"x\""], Closed),
            (&["41/b,"], Closed),
            (&["41", "41"], Closed),
            (&["41"], Ignored),
            (&["41/"], Ignored),
            (&["41/,"], Ignored),
            (&["41", "40"], Replies(&[r#"40{"sid":"*"}"#])),
        ],
    )
    .await;
}

#[tokio::test]
async fn event_packets() {
    check_connected(
        Config::default(),
        &[
            (&[r#"42["say",1]"#], Replies(&[r#"42["said",1]"#])),
            (&[r#"42/,["say",1]"#], Replies(&[r#"42["said",1]"#])),
            (&[r#"42["say"]"#], Replies(&[r#"42["said"]"#])),
            (
                &[r#"42["say",null,true,"é\n",{"a":[1.50]}]"#],
                Replies(&[r#"42["said",null,true,"é\n",{"a":[1.50]}]"#]),
            ),
            (
                &[r#"42["say",99999999999999999999,1e400]"#],
                Replies(&[r#"42["said",99999999999999999999,1e400]"#]),
            ),
            (&[r#"42["\u0073ay",1]"#], Replies(&[r#"42["said",1]"#])),
            (&[r#"42[5,1]"#], Replies(&[r#"42["said",1]"#])),
            (&[r#"42["5",1]"#], Replies(&[r#"42["said",1]"#])),
            (&["42[6]"], Ignored),
            (&["42[-1]"], Ignored),
            (&["42"], Ignored),
            (&["42[\"\"]"], Ignored),
            (&[r#"42["unheard",1]"#], Ignored),
            (&[r#"42["error","x"]"#], Ignored),
            (&[r#"42["connection"]"#], Ignored),
            (&[r#"42["new_namespace"]"#], Ignored),
            (
                &[r#"42["__proto__",{"constructor":{"prototype":1}}]"#],
                Ignored,
            ),
            (&["42[]"], Closed),
            (&["42{}"], Closed),
            (&["42null"], Closed),
            (&["42\"say\""], Closed),
            (&["42[null]"], Closed),
            (&["42[true]"], Closed),
            (&[r#"42[["say"]]"#], Closed),
            (&[r#"42[{"toString":"say"}]"#], Closed),
            (&[r#"42["connect"]"#], Closed),
            (&[r#"42["connect_error"]"#], Closed),
            (&[r#"42["disconnect"]"#], Closed),
            (&[r#"42["disconnecting"]"#], Closed),
            (&[r#"42["newListener"]"#], Closed),
            (&[r#"42["removeListener"]"#], Closed),
            (&[r#"42["dis\u0063onnect"]"#], Closed),
            (&[r#"42["say"]x"#], Closed),
            (&[r#"42["say""#], Closed),
            (&[r#"42["say",]"#], Closed),
            (&[r#"42["say",01]"#], Closed),
            (&[r#"42["say",NaN]"#], Closed),
            (&[r#"42["say",{"a":1,"a":2}]"#], Closed),
            (&[r#"42["say",{"a":1,"\u0061":2}]"#], Closed),
            (&[r#"42["say",{a:1}]"#], Closed),
            (
                &[r#"42["say",{"_placeholder":true,"num":0}]"#],
                Replies(&[r#"42["said",{"_placeholder":true,"num":0}]"#]),
            ),
            (&[r#"42/a,["say"]"#], Closed),
            (&[r#"42/a["say"]"#], Closed),
        ],
    )
    .await;
}

#[tokio::test]
async fn ids_and_acks_of_the_server() {
    check_connected(
        Config::default(),
        &[
            (&[r#"420["ask",1]"#], Replies(&["430[1]"])),
            (
                &[r#"421["ask",1,"2",null]"#],
                Replies(&[r#"431[1,"2",null]"#]),
            ),
            (&[r#"42007["ask"]"#], Replies(&["437[]"])),
            (&[r#"423["ask_none"]"#], Replies(&["433[]"])),
            (&[r#"42["ask",1]"#], Ignored),
            (&[r#"424["twice"]"#], Replies(&["434[1]"])),
            (&[r#"425["unheard"]"#], Ignored),
            (
                &[r#"426["ask",1]"#, r#"426["ask",2]"#],
                Replies(&["436[1]", "436[2]"]),
            ),
            (
                &[r#"4218446744073709551615["ask"]"#],
                Replies(&["4318446744073709551615[]"]),
            ),
            (&[r#"4218446744073709551616["ask"]"#], Closed),
            (&[r#"42000000000000000000001["ask"]"#], Closed),
            (&[r#"427["typed",8]"#], Replies(&["437[8]"])),
            (&["430[1]"], Ignored),
            (&["4318446744073709551615[]"], Ignored),
            (&["43[1]"], Closed),
            (&["430"], Closed),
            (&["430{}"], Closed),
            (&["430null"], Closed),
            (&["430[1"], Closed),
            (&["43-1[1]"], Closed),
        ],
    )
    .await;
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_answered() {
    let server = start(Config::default()).await;
    for transport in TRANSPORTS {
        let mut wire = Wire::open(server.addr, transport).await;
        wire.send(&["40"]).await;
        wire.expect(r#"40{"sid":"*"}"#).await;
        wire.send(&[r#"421["typed","eight"]"#]).await;
        let answer = wire.next().await.unwrap();
        assert!(
            answer.starts_with(r#"431[{"ok":false,"error":{"code":""#),
            "{answer}"
        );
        wire.check(&[r#"422["typed",8]"#], Replies(&["432[8]"]), "afterwards")
            .await;
    }
}

#[tokio::test]
async fn binary_packets_of_the_client() {
    check_connected(
        Config::default(),
        &[
            (
                &[r#"451-["say",{"_placeholder":true,"num":0}]"#, "bAQID"],
                Replies(&[r#"451-["said",{"_placeholder":true,"num":0}]"#, "bAQID"]),
            ),
            (
                &[
                    r#"451-["say",1,{"a":[{"_placeholder":true,"num":0}]},"x"]"#,
                    "bAQID",
                ],
                Replies(&[
                    r#"451-["said",1,{"a":[{"_placeholder":true,"num":0}]},"x"]"#,
                    "bAQID",
                ]),
            ),
            (
                &[
                    r#"452-["say",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#,
                    "bAQ==",
                    "bAg==",
                ],
                Replies(&[
                    r#"452-["said",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#,
                    "bAQ==",
                    "bAg==",
                ]),
            ),
            (
                &[r#"451-["say",{"num":0,"_placeholder":true}]"#, "bAQID"],
                Replies(&[r#"451-["said",{"num":0,"_placeholder":true}]"#, "bAQID"]),
            ),
            (
                &[r#"451-["say",{"_placeholder":true,"num":0}]"#, "b"],
                Replies(&[r#"451-["said",{"_placeholder":true,"num":0}]"#, "b"]),
            ),
            (
                &[r#"451-9["ask",{"_placeholder":true,"num":0}]"#, "bAQID"],
                Replies(&[r#"461-9[{"_placeholder":true,"num":0}]"#, "bAQID"]),
            ),
            (&[r#"450-["say"]"#], Closed),
            (&[r#"45-["say"]"#], Closed),
            (&[r#"45["say"]"#], Closed),
            (&[r#"45-1-["say"]"#], Closed),
            (&[r#"451e1-["say"]"#], Closed),
            (&[r#"4511-["say"]"#], Closed),
            (&[r#"451000000000-["say"]"#], Closed),
            (
                &[r#"451-["say",{"_placeholder":true,"num":1}]"#, "bAQID"],
                Closed,
            ),
            (
                &[r#"451-["say",{"_placeholder":true,"num":-1}]"#, "bAQID"],
                Closed,
            ),
            (
                &[r#"451-["say",{"_placeholder":true,"num":0.5}]"#, "bAQID"],
                Closed,
            ),
            (
                &[r#"451-["say",{"_placeholder":true,"num":"0"}]"#, "bAQID"],
                Closed,
            ),
            (
                &[
                    r#"451-["say",{"_placeholder":true,"num":"splice"}]"#,
                    "bAQID",
                ],
                Closed,
            ),
            (&[r#"451-["say",{"_placeholder":true}]"#, "bAQID"], Closed),
            (
                &[
                    r#"451-["say",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#,
                    "bAQID",
                ],
                Closed,
            ),
            (
                &[
                    r#"451-["disconnect",{"_placeholder":true,"num":0}]"#,
                    "bAQID",
                ],
                Closed,
            ),
            (&[r#"451-[{"_placeholder":true,"num":0}]"#, "bAQID"], Closed),
            (
                &[
                    r#"451-["say",{"_placeholder":true,"num":0}]"#,
                    r#"42["say"]"#,
                ],
                Closed,
            ),
            (
                &[
                    r#"451-["say",{"_placeholder":true,"num":0}]"#,
                    "bAQID",
                    "bAQID",
                ],
                Closed,
            ),
            (&["bAQID"], Closed),
            (&[r#"460-0[]"#], Closed),
            (&[r#"461-[{"_placeholder":true,"num":0}]"#, "bAQID"], Closed),
        ],
    )
    .await;
}

#[tokio::test]
async fn calls_of_the_server_and_their_answers() {
    type Call<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str]);
    let rows: &[Call<'_>] = &[
        (
            "text",
            &[r#"42["call",1]"#],
            &[r#"420["called",1]"#],
            &[r#"430[[1,"x"]]"#],
        ),
        (
            "binary answer",
            &[r#"42["call"]"#],
            &[r#"420["called"]"#],
            &[r#"461-0[[{"_placeholder":true,"num":0}]]"#, "bAQID"],
        ),
        (
            "binary question",
            &[r#"451-["call",{"_placeholder":true,"num":0}]"#, "bAQID"],
            &[r#"451-0["called",{"_placeholder":true,"num":0}]"#, "bAQID"],
            &["430[[]]"],
        ),
    ];
    let answers: [&[&str]; 3] = [
        &[r#"42["answer",[1,"x"]]"#],
        &[r#"451-["answer",[{"_placeholder":true,"num":0}]]"#, "bAQID"],
        &[r#"42["answer",[]]"#],
    ];
    for transport in TRANSPORTS {
        for ((case, call, called, answer), told) in rows.iter().zip(answers) {
            let server = start(Config::default()).await;
            let mut wire = Wire::open(server.addr, transport).await;
            wire.send(&["40"]).await;
            wire.expect(r#"40{"sid":"*"}"#).await;
            wire.send(call).await;
            for packet in *called {
                wire.expect(packet).await;
            }
            // A wrong id first: it is nobody's.
            wire.send(&["4399[1]"]).await;
            wire.send(answer).await;
            for packet in told {
                assert_eq!(wire.next().await.as_deref(), Some(*packet), "{case}");
            }
            // The same answer again is ignored.
            wire.check(answer, Ignored, case).await;
            assert_eq!(server.server.of("/").acks_pending(), 0);
            assert_eq!(server.server.metrics().snapshot().acks_unexpected, 2);
        }
    }
}

#[tokio::test]
async fn binary_of_the_server_in_every_position() {
    #[derive(serde::Serialize)]
    struct Nested {
        before: u8,
        data: Bytes,
        list: Vec<Bytes>,
    }
    let server = start(Config::default()).await;
    let data = || Bytes::from_static(&[1, 2, 3]);
    let root = server.server.of("/");
    root.on("only", move |socket: Socket| async move {
        socket.emit("x", data()).unwrap()
    });
    root.on("first", move |socket: Socket| async move {
        socket.emit("x", (data(), 1)).unwrap()
    });
    root.on("last", move |socket: Socket| async move {
        socket.emit("x", (1, data())).unwrap()
    });
    root.on("nested", move |socket: Socket| async move {
        let nested = Nested {
            before: 1,
            data: data(),
            list: vec![Bytes::from_static(&[4]), Bytes::new()],
        };
        socket.emit("x", nested).unwrap();
    });
    root.on(
        "many",
        move |socket: Socket, Data(count): Data<usize>| async move {
            let sent = socket.emit("x", vec![data(); count]);
            socket.emit("sent", sent.is_ok()).unwrap();
        },
    );
    let rows: &[(&str, &[&str])] = &[
        (
            "only",
            &[r#"451-["x",{"_placeholder":true,"num":0}]"#, "bAQID"],
        ),
        (
            "first",
            &[r#"451-["x",{"_placeholder":true,"num":0},1]"#, "bAQID"],
        ),
        (
            "last",
            &[r#"451-["x",1,{"_placeholder":true,"num":0}]"#, "bAQID"],
        ),
        (
            "nested",
            &[
                r#"453-["x",{"before":1,"data":{"_placeholder":true,"num":0},"list":[{"_placeholder":true,"num":1},{"_placeholder":true,"num":2}]}]"#,
                "bAQID",
                "bBA==",
                "b",
            ],
        ),
    ];
    for transport in TRANSPORTS {
        let mut wire = Wire::open(server.addr, transport).await;
        wire.send(&["40"]).await;
        wire.expect(r#"40{"sid":"*"}"#).await;
        for (event, packets) in rows {
            wire.send(&[&format!(r#"42["{event}"]"#)]).await;
            for packet in *packets {
                wire.expect(packet).await;
            }
        }
        // Stock clients refuse more than ten.
        wire.send(&[r#"42["many",11]"#]).await;
        wire.expect(r#"42["sent",false]"#).await;
    }
}

#[tokio::test]
async fn disconnects_by_the_server() {
    let server = start(Config::default()).await;
    for transport in TRANSPORTS {
        let mut wire = Wire::open(server.addr, transport).await;
        wire.send(&["40", "40/a"]).await;
        wire.expect(r#"40{"sid":"*"}"#).await;
        wire.expect(r#"40/a,{"sid":"*"}"#).await;
        wire.send(&[r#"42/a,["kick"]"#]).await;
        wire.expect("41/a,").await;
        wire.check(
            &[r#"421["ask"]"#],
            Replies(&["431[]"]),
            "the other namespace lives on",
        )
        .await;
        wire.send(&[r#"42["kick_all"]"#]).await;
        let mut told = [wire.next().await.unwrap(), wire.next().await.unwrap()];
        told.sort();
        assert_eq!(told, ["41", "41/fence,"]);
        assert_eq!(wire.next().await, None);
    }
}

// --- who gets in ---

#[tokio::test]
async fn connect_errors_carry_data() {
    check_connected(
        Config::default(),
        &[
            (
                &["40/guarded"],
                Replies(&[r#"44/guarded,{"message":"not you","data":{"code":"E1"}}"#]),
            ),
            (&["40/silent"], Replies(&[r#"44/silent,{"message":"no"}"#])),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_refusal_at_the_connect_has_its_code_in_the_data() {
    let object = |members: &[(&str, &str)]| {
        Value::Object(
            members
                .iter()
                .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
                .collect(),
        )
    };
    let server = Server::new(Config::default()).unwrap();
    // A client of Node's server knows `message` and `data` only, so nothing else may be on the wire.
    let rows: [(&str, Refusal, &str); 6] = [
        ("/none", Refusal::new("no"), r#"{"message":"no"}"#),
        (
            "/code",
            Refusal::new("no").with_code("expired"),
            r#"{"message":"no","data":{"code":"expired"}}"#,
        ),
        (
            "/both",
            Refusal::new("no")
                .with_data(object(&[("at", "noon")]))
                .with_code("expired"),
            r#"{"message":"no","data":{"code":"expired","at":"noon"}}"#,
        ),
        (
            "/own",
            Refusal::new("no")
                .with_code("expired")
                .with_data(object(&[("code", "mine")])),
            r#"{"message":"no","data":{"code":"mine"}}"#,
        ),
        (
            "/text",
            Refusal::new("no").with_data("noon").with_code("expired"),
            r#"{"message":"no","data":{"code":"expired","data":"noon"}}"#,
        ),
        (
            "/null",
            Refusal::new("no")
                .with_data(Value::Null)
                .with_code("expired"),
            r#"{"message":"no","data":{"code":"expired"}}"#,
        ),
    ];
    for (name, refusal, _) in &rows {
        let refusal = refusal.clone();
        server
            .of(name)
            .middleware(move || std::future::ready(Err(refusal.clone())));
    }
    let server = serve(server).await;
    for transport in TRANSPORTS {
        let mut wire = Wire::open(server.addr, transport).await;
        for (name, _, expected) in &rows {
            wire.send(&[&format!("40{name},")]).await;
            wire.expect(&format!("44{name},{expected}")).await;
        }
    }
}

#[tokio::test]
async fn a_refusal_of_a_handler_or_of_an_event_has_its_code_in_the_ack() {
    let server = Server::new(Config::default()).unwrap();
    let namespace = server.of("/");
    namespace.use_event(|EventName(name): EventName| async move {
        match &*name {
            "shut" => Err(Refusal::new("not now").with_code("closed_today")),
            "shut plainly" => Err(Refusal::new("not now")),
            _ => Ok(()),
        }
    });
    for name in ["shut", "shut plainly"] {
        namespace.on(name, || async { Reply("open") });
    }
    namespace.on("pay", |Data(coins): Data<u32>| async move {
        match coins {
            0 => Err(Refusal::new("too little")),
            1 => Err(Refusal::new("too little").with_code("poor")),
            2 => Err(Refusal::new("too little").with_code("poor").with_data(3)),
            _ => Ok(Reply(coins)),
        }
    });
    let server = serve(server).await;
    for transport in TRANSPORTS {
        let mut wire = Wire::open(server.addr, transport).await;
        wire.send(&["40"]).await;
        wire.expect(r#"40{"sid":"*"}"#).await;
        for (sent, expected) in [
            (
                r#"420["pay",0]"#,
                r#"430[{"ok":false,"error":{"code":"refused","message":"too little"}}]"#,
            ),
            (
                r#"421["pay",1]"#,
                r#"431[{"ok":false,"error":{"code":"poor","message":"too little"}}]"#,
            ),
            (
                r#"422["pay",2]"#,
                r#"432[{"ok":false,"error":{"code":"poor","message":"too little","data":3}}]"#,
            ),
            (r#"423["pay",3]"#, "433[3]"),
            (
                r#"424["pay","x"]"#,
                r#"434[{"ok":false,"error":{"code":"args_deserialize","message":"invalid arguments"}}]"#,
            ),
            (
                r#"425["shut"]"#,
                r#"435[{"ok":false,"error":{"code":"closed_today","message":"not now"}}]"#,
            ),
            (
                r#"426["shut plainly"]"#,
                r#"436[{"ok":false,"error":{"code":"refused","message":"not now"}}]"#,
            ),
        ] {
            wire.send(&[sent]).await;
            wire.expect(expected).await;
        }
    }
}

#[tokio::test]
async fn a_reply_comes_behind_all_that_its_handler_emitted_and_an_ack_where_it_is_sent() {
    let server = Server::new(Config::default()).unwrap();
    let namespace = server.of("/");
    namespace.on("reply", |socket: Socket| async move {
        socket.emit("first", ()).unwrap();
        Reply(1)
    });
    namespace.on("ack", |socket: Socket, ack: Ack| async move {
        ack.send(1);
        socket.emit("second", ()).unwrap();
    });
    let server = serve(server).await;
    for transport in TRANSPORTS {
        let mut wire = Wire::open(server.addr, transport).await;
        wire.send(&["40"]).await;
        wire.expect(r#"40{"sid":"*"}"#).await;
        wire.send(&[r#"421["reply"]"#, r#"422["ack"]"#]).await;
        for expected in [r#"42["first"]"#, "431[1]", "432[1]", r#"42["second"]"#] {
            wire.expect(expected).await;
        }
    }
}

#[tokio::test]
async fn middleware_sees_the_auth_payload_and_refuses_what_does_not_fit() {
    #[derive(Deserialize)]
    struct Token {
        token: String,
    }
    let server = start(Config::default()).await;
    server
        .server
        .of("/token")
        .middleware(|Auth(Token { token }): Auth<Token>| async move {
            if token == "good" {
                Ok(())
            } else {
                Err(Refusal::new("bad token"))
            }
        });
    for transport in TRANSPORTS {
        let mut wire = Wire::open(server.addr, transport).await;
        wire.send(&["40/token"]).await;
        let refused = wire.next().await.unwrap();
        assert!(refused.starts_with(r#"44/token,{"message":""#), "{refused}");
        for (auth, expected) in [
            (r#"{"token":"bad"}"#, r#"44/token,{"message":"bad token"}"#),
            (r#"{"token":"good"}"#, r#"40/token,{"sid":"*"}"#),
        ] {
            wire.send(&[&format!("40/token,{auth}")]).await;
            wire.expect(expected).await;
        }
    }
}

#[tokio::test]
async fn dynamic_namespaces_by_pattern_and_by_predicate() {
    let mut config = Config::default();
    config.cleanup_empty_child_namespaces = true;
    config.held.child_namespaces_max = 2;
    let server = start(config).await;
    let pattern = regex::Regex::new(r"^/room-\d+$").unwrap();
    echo(server.server.of_pattern(pattern).each());
    echo(
        server
            .server
            .of_predicate(|name, auth| async move {
                name.starts_with("/open-")
                    && auth
                        .argument::<Value>(0)
                        .is_ok_and(|auth| auth.get("key").is_some())
            })
            .each(),
    );
    let before = server.server.namespaces().len();
    for transport in TRANSPORTS {
        let mut wire = Wire::open(server.addr, transport).await;
        for (packet, expected) in [
            ("40/room-1", r#"40/room-1,{"sid":"*"}"#),
            (r#"42/room-1,["say",1]"#, r#"42/room-1,["said",1]"#),
            ("40/room-x", r#"44/room-x,{"message":"Invalid namespace"}"#),
            ("40/open-1", r#"44/open-1,{"message":"Invalid namespace"}"#),
            (r#"40/open-1,{"key":1}"#, r#"40/open-1,{"sid":"*"}"#),
            (r#"42/open-1,["say"]"#, r#"42/open-1,["said"]"#),
            ("40/room-2", r#"44/room-2,{"message":"Invalid namespace"}"#),
        ] {
            wire.send(&[packet]).await;
            wire.expect(expected).await;
        }
        assert_eq!(server.server.namespaces().len(), before + 2);
        assert_eq!(server.server.of("/room-1").sockets_count(), 1);
        wire.check(&["41/room-1", "41/open-1"], Ignored, "they leave")
            .await;
        assert_eq!(server.server.namespaces().len(), before, "{transport:?}");
    }
}

// --- limits: one below, the limit, one above ---

async fn check_limit(
    change: impl Fn(&mut Limits),
    of: impl Fn(usize) -> Vec<String>,
    limit: usize,
    over: Expect,
) {
    let mut config = Config::default();
    change(&mut config.limits);
    let server = start(config).await;
    let _ = server.server.of("/1234567");
    let _ = server.server.of("/123456");
    for transport in TRANSPORTS {
        for size in limit - 1..=limit + 1 {
            let packets = of(size);
            let packets: Vec<&str> = packets.iter().map(String::as_str).collect();
            let mut wire = Wire::open(server.addr, transport).await;
            wire.send(&["40"]).await;
            wire.expect(r#"40{"sid":"*"}"#).await;
            wire.send(&packets).await;
            let seen = wire.settle().await;
            let case = format!("{size} of {limit} over {transport:?}: {packets:?}");
            if size <= limit {
                assert_eq!(seen.map(|seen| seen.is_empty()), Some(false), "{case}");
            } else {
                match over {
                    Closed => assert_eq!(seen, None, "{case}"),
                    Ignored => assert_eq!(seen, Some(Vec::new()), "{case}"),
                    Replies(replies) => {
                        let seen = seen.unwrap();
                        assert_eq!(
                            seen.last().map(String::as_str),
                            replies.last().copied(),
                            "{case}"
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn limit_of_attachments() {
    let of = |count: usize| {
        let mut header = format!(r#"45{count}-["say""#);
        for num in 0..count {
            write!(header, r#",{{"_placeholder":true,"num":{num}}}"#).unwrap();
        }
        header.push(']');
        let mut packets = vec![header];
        packets.resize(count + 1, "bAQID".to_owned());
        packets
    };
    check_limit(|limits| limits.attachments_max = 3, of, 3, Closed).await;
    check_limit(|_| {}, of, 10, Closed).await;
}

#[tokio::test]
async fn limit_of_event_names() {
    let of = |length: usize| {
        let name = "n".repeat(length);
        vec![format!(r#"42["{name}"]"#), r#"42["say"]"#.to_owned()]
    };
    check_limit(|limits| limits.event_name_bytes_max = 8, of, 8, Closed).await;
    check_limit(|_| {}, of, 256, Closed).await;
}

#[tokio::test]
async fn limit_of_namespace_names() {
    let of = |length: usize| vec![format!("40/{},", &"1234567890"[..length - 1])];
    check_limit(|limits| limits.namespace_bytes_max = 8, of, 8, Closed).await;
}

#[tokio::test]
async fn limit_of_depth() {
    // The array of the event is one level itself.
    let of = |depth: usize| {
        vec![format!(
            r#"42["say",{}{}]"#,
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )]
    };
    check_limit(|limits| limits.depth_max = 5, of, 5, Closed).await;
    check_limit(|_| {}, of, 64, Closed).await;
}

#[tokio::test]
async fn limit_of_object_keys() {
    let of = |keys: usize| {
        let keys: Vec<String> = (0..keys).map(|key| format!(r#""{key}":1"#)).collect();
        vec![format!(r#"42["say",{{{}}}]"#, keys.join(","))]
    };
    check_limit(|limits| limits.object_keys_max = 4, of, 4, Closed).await;
}

#[tokio::test]
async fn limit_of_namespaces() {
    let mut config = Config::default();
    config.limits.namespaces_max = 3;
    let server = start(config).await;
    for transport in TRANSPORTS {
        let mut wire = Wire::open(server.addr, transport).await;
        for (packet, expected) in [
            ("40", r#"40{"sid":"*"}"#),
            ("40/a", r#"40/a,{"sid":"*"}"#),
            ("40/b", r#"40/b,{"sid":"*"}"#),
            ("40/fence", r#"44/fence,{"message":"Too many namespaces"}"#),
            ("40/nope", r#"44/nope,{"message":"Too many namespaces"}"#),
            (r#"421["ask"]"#, "431[]"),
        ] {
            wire.send(&[packet]).await;
            wire.expect(expected).await;
        }
        wire.check(&["41/a"], Ignored, "a place is free again")
            .await;
    }
}

// --- msgpack ---

/// A map of socket.io-msgpack-parser; values are msgpack already.
fn msgpack(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = vec![0x80 | u8::try_from(fields.len()).unwrap()];
    for (key, value) in fields {
        out.push(0xa0 | u8::try_from(key.len()).unwrap());
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(value);
    }
    out
}

const ROOT: &[u8] = b"\xa1/";

async fn open_msgpack(addr: SocketAddr, transport: Transport) -> Wire {
    let mut wire = Wire::open(addr, transport).await;
    let connect = msgpack(&[("type", &[0]), ("nsp", ROOT)]);
    wire.send(&[&format!("b{}", STANDARD.encode(connect))])
        .await;
    let answer = wire.next().await.unwrap();
    let answer = STANDARD.decode(answer.strip_prefix('b').unwrap()).unwrap();
    assert!(
        answer.windows(6).any(|part| part == b"\xa4type\0"),
        "{answer:?}"
    );
    assert!(
        answer.windows(4).any(|part| part == b"\xa3sid"),
        "{answer:?}"
    );
    wire
}

#[tokio::test]
async fn msgpack_packets() {
    let mut config = Config::default();
    config.parser = Parser::Msgpack;
    let server = start(config).await;
    let say = |rest: &[u8], count: u8| [&[0x91 + count][..], b"\xa3say", rest].concat();
    let said = |rest: &[u8], count: u8| [&[0x91 + count][..], b"\xa4said", rest].concat();
    let echoes: [(&[u8], u8); 6] = [
        (b"", 0),
        (b"\x01", 1),
        (b"\xc0\xc3\xa1x", 3),
        (b"\xc4\x03\x01\x02\x03", 1),
        (b"\x81\xa1d\xc4\x01\x09\x02", 2),
        (b"\x93\x01\xc4\x00\x03", 1),
    ];
    for transport in TRANSPORTS {
        for (rest, count) in echoes {
            let mut wire = open_msgpack(server.addr, transport).await;
            let event = msgpack(&[("type", &[2]), ("nsp", ROOT), ("data", &say(rest, count))]);
            wire.send(&[&format!("b{}", STANDARD.encode(event))]).await;
            let answer = wire.next().await.unwrap();
            let answer = STANDARD.decode(answer.strip_prefix('b').unwrap()).unwrap();
            let data = said(rest, count);
            assert!(
                answer.windows(data.len()).any(|part| part == data),
                "{rest:?}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn msgpack_packets_that_end_the_session() {
    let mut config = Config::default();
    config.parser = Parser::Msgpack;
    let server = start(config).await;
    let packets: [Vec<u8>; 8] = [
        vec![],
        vec![0xc1],
        msgpack(&[]),
        msgpack(&[("type", &[2])]),
        msgpack(&[("type", &[7]), ("nsp", ROOT)]),
        msgpack(&[("type", &[2]), ("nsp", ROOT), ("data", b"\x90")]),
        msgpack(&[
            ("type", &[2]),
            ("nsp", ROOT),
            ("data", b"\xdd\xff\xff\xff\xff"),
        ]),
        msgpack(&[("type", &[0]), ("nsp", ROOT)]),
    ];
    for transport in TRANSPORTS {
        for packet in &packets {
            let mut wire = open_msgpack(server.addr, transport).await;
            wire.send(&[&format!("b{}", STANDARD.encode(packet))]).await;
            assert_eq!(wire.next().await, None, "{packet:?} over {transport:?}");
        }
        let mut wire = open_msgpack(server.addr, transport).await;
        wire.send(&[r#"42["say"]"#]).await;
        assert_eq!(wire.next().await, None, "text over {transport:?}");
    }
}
