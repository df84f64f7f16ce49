//! One test per trap that other Socket.IO servers fell into, by the name of the trap.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kentongan::{
    AckError, Config, Data, DisconnectReason, EmitError, JoinError, Refusal, RefusalCode, Reply,
    RoomEventKind, RoomsLeft, Server, Socket, Transports, Value,
};
use parking_lot::Mutex;
use support::{
    TestServer, http, serve, start,
    websocket::{Received, WebSocket},
    within,
};
use tokio::sync::{Notify, mpsc};

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A WebSocket with its session open, in no namespace.
async fn open(server: &TestServer) -> WebSocket {
    let mut ws = WebSocket::connect(server.addr, WEBSOCKET).await;
    assert!(ws.text().await.starts_with('0'));
    ws
}

/// A client in the root namespace.
async fn join(server: &TestServer) -> WebSocket {
    let mut ws = open(server).await;
    ws.send_text("40").await;
    assert!(ws.text().await.starts_with(r#"40{"sid":"#));
    ws
}

/// A polling session in the root namespace: the target of its requests.
async fn join_polling(server: &TestServer) -> String {
    let answer = http::get(server.addr, POLLING).await;
    let sid = answer.text().split('"').nth(3).unwrap().to_owned();
    let target = format!("{POLLING}&sid={sid}");
    assert_eq!(http::post(server.addr, &target, "40").await.text(), "ok");
    let answer = http::get(server.addr, &target).await;
    assert!(answer.text().starts_with("40{"));
    target
}

/// Waits, turn by turn of the scheduler, until `condition` holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn unbounded<T>() -> (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>) {
    mpsc::unbounded_channel()
}

async fn next<T>(receiver: &mut mpsc::UnboundedReceiver<T>) -> T {
    within("a message of a handler", receiver.recv())
        .await
        .unwrap()
}

#[tokio::test]
async fn message_limit_on_every_transport() {
    let mut config = Config::default();
    config.limits.message_bytes_max = 1000;
    let server = start(config).await;
    server
        .server
        .of("/")
        .on("size", |Data(text): Data<String>| async move {
            Reply(text.len())
        });
    // The limit is of the Engine.IO message, digit and all.
    let message = |bytes: usize| {
        let frame = r#"420["size",""]"#.len();
        format!(r#"420["size","{}"]"#, "x".repeat(bytes - frame))
    };
    for bytes in [999, 1000] {
        let mut ws = join(&server).await;
        ws.send_text(&message(bytes)).await;
        assert!(ws.text().await.starts_with("430["), "{bytes} by websocket");
        let target = join_polling(&server).await;
        assert_eq!(
            http::post(server.addr, &target, message(bytes))
                .await
                .status,
            200
        );
        assert!(
            http::get(server.addr, &target)
                .await
                .text()
                .starts_with("430[")
        );
    }
    let mut ws = join(&server).await;
    ws.send_text(&message(1001)).await;
    assert_eq!(ws.close_code().await, Some(Some(1009)));
    let target = join_polling(&server).await;
    assert_eq!(
        http::post(server.addr, &target, message(1001)).await.status,
        413
    );
    // As in Node, the polling session survives.
    assert_eq!(
        http::post(server.addr, &target, message(1000)).await.status,
        200
    );
}

#[tokio::test]
async fn socket_in_two_rooms_gets_one_copy() {
    let server = start(Config::default()).await;
    server
        .server
        .of("/")
        .on_connect(|socket: Socket| async move {
            socket.join("a").unwrap();
            socket.join("b").unwrap();
        });
    let mut ws = join(&server).await;
    let root = server.server.of("/");
    until("membership", || root.rooms().len() == 2).await;
    root.to("a").to("b").to("a").emit("once", 1).unwrap();
    root.emit("end", ()).unwrap();
    assert_eq!(ws.text().await, r#"42["once",1]"#);
    assert_eq!(ws.text().await, r#"42["end"]"#);
    root.to("a").except("b").emit("never", ()).unwrap();
    root.emit("end", ()).unwrap();
    assert_eq!(ws.text().await, r#"42["end"]"#);
}

/// Found by the stock clients: two senders on two threads reached some recipients in one order and some in another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_sees_broadcasts_of_two_threads_in_one_order() {
    const EACH: usize = 2_000;
    let server = start(Config::default()).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(join(&server).await);
    }
    let root = server.server.of("/");
    until("membership", || root.sockets_count() == 6).await;
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut ws| {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..2 * EACH {
                    seen.push(ws.text().await);
                }
                seen
            })
        })
        .collect();
    let senders: Vec<_> = ["a", "b"]
        .into_iter()
        .map(|name| {
            let root = root.clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    root.emit(name, number).unwrap();
                    if number % 50 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    let mut orders = Vec::new();
    for reader in readers {
        orders.push(reader.await.unwrap());
    }
    assert!(orders.iter().all(|order| *order == orders[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_of_one_socket_run_in_order() {
    const EVENTS: usize = 20_000;
    let server = start(Config::default()).await;
    let (seen, mut numbers) = unbounded();
    server
        .server
        .of("/")
        .on("n", move |Data(number): Data<usize>| {
            let seen = seen.clone();
            async move {
                // Every third handler lets go of its turn: the next must wait all the same.
                if number % 3 == 0 {
                    tokio::task::yield_now().await;
                }
                seen.send(number).unwrap();
            }
        });
    let mut ws = join(&server).await;
    let client = tokio::spawn(async move {
        for number in 0..EVENTS {
            ws.send_text(&format!(r#"42["n",{number}]"#)).await;
        }
        ws
    });
    for number in 0..EVENTS {
        assert_eq!(next(&mut numbers).await, number);
    }
    drop(client.await.unwrap());
}

#[tokio::test]
async fn timed_out_acks_leave_nothing() {
    let server = start(Config::default()).await;
    let (sockets, mut joined) = unbounded();
    server.server.of("/").on_connect(move |socket: Socket| {
        let sockets = sockets.clone();
        async move { sockets.send(socket).unwrap() }
    });
    let mut ws = join(&server).await;
    let socket = next(&mut joined).await;
    let root = server.server.of("/");
    let short = Duration::from_millis(1);
    for _ in 0..20 {
        let answer = socket.timeout(short).emit_with_ack::<Value>("q", ()).await;
        assert_eq!(answer, Err(AckError::TimedOut));
        let answers = root
            .broadcast()
            .timeout(short)
            .emit_with_ack::<Value>("q", ())
            .await
            .unwrap();
        assert_eq!(answers.missing, [socket.id()]);
        assert!(answers.given.is_empty());
    }
    // A call that is given up.
    let given_up = tokio::time::timeout(short, socket.emit_with_ack::<Value>("q", ())).await;
    assert!(given_up.is_err());
    assert_eq!(root.acks_pending(), 0);
    assert_eq!(server.server.metrics().snapshot().acks_timed_out, 40);
    // Late answers are nobody's.
    ws.send_text("430[1]").await;
    ws.send_text("431[1]").await;
    until("late answers", || {
        server.server.metrics().snapshot().acks_unexpected == 2
    })
    .await;
    // A client that leaves answers for itself.
    let waiting = tokio::spawn(async move { socket.emit_with_ack::<Value>("q", ()).await });
    until("the call", || root.acks_pending() == 1).await;
    drop(ws);
    assert_eq!(
        within("the call", waiting).await.unwrap(),
        Err(AckError::Disconnected)
    );
    assert_eq!(root.acks_pending(), 0);
}

#[tokio::test]
async fn rejected_connections_leave_nothing() {
    let server = start(Config::default()).await;
    let heard = Arc::new(AtomicUsize::new(0));
    let (rejected, mut kept) = unbounded();
    let shut = server.server.of("/shut");
    shut.middleware(move |socket: Socket| {
        let rejected = rejected.clone();
        async move {
            socket.join("early").unwrap();
            rejected.send(socket).unwrap();
            Err(Refusal::new("no"))
        }
    });
    let count = Arc::clone(&heard);
    shut.on_room(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let mut ws = open(&server).await;
    for _ in 0..100 {
        ws.send_text("40/shut").await;
        assert_eq!(ws.text().await, r#"44/shut,{"message":"no"}"#);
        let socket = next(&mut kept).await;
        assert!(!socket.is_connected());
        assert_eq!(socket.emit("x", ()), Err(EmitError::Closed));
    }
    assert_eq!(shut.sockets_count(), 0);
    assert_eq!(shut.rooms(), []);
    assert_eq!(heard.load(Ordering::SeqCst), 0);
    let metrics = server.server.metrics().snapshot();
    assert_eq!((metrics.sockets_open, metrics.sockets_connected), (0, 0));
    assert_eq!(metrics.refused(RefusalCode::Middleware), 100);
}

#[tokio::test]
async fn rooms_joined_in_middleware_count_from_the_connect_on() {
    let server = start(Config::default()).await;
    server
        .server
        .of("/")
        .middleware(|socket: Socket| async move {
            socket.join("early").unwrap();
            Ok(())
        });
    let mut ws = join(&server).await;
    let root = server.server.of("/");
    assert_eq!(root.rooms(), [("early".into(), 1)]);
    root.to("early").emit("x", ()).unwrap();
    assert_eq!(ws.text().await, r#"42["x"]"#);
}

#[tokio::test]
async fn join_after_close_is_refused() {
    let server = start(Config::default()).await;
    let (sockets, mut joined) = unbounded();
    let (left, mut gone) = unbounded();
    let root = server.server.of("/");
    root.on_connect(move |socket: Socket| {
        let sockets = sockets.clone();
        async move {
            socket.join("r").unwrap();
            sockets.send(socket).unwrap();
        }
    });
    root.on_disconnect(move |socket: Socket, RoomsLeft(rooms): RoomsLeft| {
        let left = left.clone();
        async move { left.send((socket.join("r"), rooms)).unwrap() }
    });
    let ws = join(&server).await;
    let socket = next(&mut joined).await;
    drop(ws);
    let (refused, rooms) = next(&mut gone).await;
    assert_eq!(refused, Err(JoinError::Closed));
    assert_eq!(rooms, ["r"]);
    assert_eq!(socket.join("r"), Err(JoinError::Closed));
    assert_eq!(root.to("r").sockets_join("s"), Ok(()));
    assert_eq!(root.rooms(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_event_right_after_the_connect_reply_is_never_lost() {
    let server = start(Config::default()).await;
    let root = server.server.of("/");
    // A connect handler that takes its time, and a listener that it sets only then.
    root.on_connect(|socket: Socket| async move {
        tokio::task::yield_now().await;
        socket.on("own", || async { Reply("own") });
    });
    root.on("shared", || async { Reply("shared") });
    for _ in 0..200 {
        let mut ws = join(&server).await;
        ws.send_text(r#"420["shared"]"#).await;
        ws.send_text(r#"421["own"]"#).await;
        assert_eq!(ws.text().await, r#"430["shared"]"#);
        assert_eq!(ws.text().await, r#"431["own"]"#);
    }
}

#[tokio::test]
async fn slow_handler_slows_only_its_own_socket() {
    let server = start(Config::default()).await;
    let release = Arc::new(Notify::new());
    let (left, mut gone) = unbounded();
    for name in ["/", "/other"] {
        let (release, left) = (Arc::clone(&release), left.clone());
        let namespace = server.server.of(name);
        namespace.on("slow", move || {
            let release = Arc::clone(&release);
            async move { release.notified().await }
        });
        namespace.on("fast", || async { Reply(()) });
        namespace.on_disconnect(move |reason: DisconnectReason| {
            let left = left.clone();
            async move { left.send(reason).unwrap() }
        });
    }
    let mut slow = join(&server).await;
    let mut other = join(&server).await;
    slow.send_text(r#"42["slow"]"#).await;
    slow.send_text(r#"420["fast"]"#).await;
    // Another client, and another namespace of the same client.
    other.send_text(r#"421["fast"]"#).await;
    assert_eq!(other.text().await, "431[]");
    slow.send_text("40/other").await;
    assert!(slow.text().await.starts_with("40/other,"));
    slow.send_text(r#"42/other,2["fast"]"#).await;
    assert_eq!(slow.text().await, "43/other,2[]");
    release.notify_one();
    assert_eq!(slow.text().await, "430[]");
    drop((slow, other));
    for _ in 0..3 {
        assert_eq!(next(&mut gone).await, DisconnectReason::TransportClose);
    }
}

#[tokio::test]
async fn handler_may_wait_for_an_ack_of_its_own_client() {
    let server = start(Config::default()).await;
    server
        .server
        .of("/")
        .on("outer", |socket: Socket| async move {
            Reply(socket.emit_with_ack::<u32>("inner", ()).await.unwrap())
        });
    let mut ws = join(&server).await;
    ws.send_text(r#"427["outer"]"#).await;
    ws.send_text(r#"428["outer"]"#).await;
    for id in [7, 8] {
        let call = ws.text().await;
        let call = call
            .strip_prefix("42")
            .unwrap()
            .strip_suffix(r#"["inner"]"#)
            .unwrap();
        ws.send_text(&format!("43{call}[{id}5]")).await;
        assert_eq!(ws.text().await, format!("43{id}[{id}5]"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reliable_message_is_never_dropped_while_the_connection_stays_up() {
    let server = start(Config::default()).await;
    let (sockets, mut joined) = unbounded();
    let (left, mut gone) = unbounded();
    let root = server.server.of("/");
    root.on_connect(move |socket: Socket| {
        let sockets = sockets.clone();
        async move { sockets.send(socket).unwrap() }
    });
    root.on_disconnect(move |reason: DisconnectReason| {
        let left = left.clone();
        async move { left.send(reason).unwrap() }
    });
    let mut ws = join(&server).await;
    let socket = next(&mut joined).await;
    // The client does not read: the kernel's buffers fill up, then the outbox, then the session ends.
    let text = "x".repeat(64 * 1024);
    let mut sent = 0;
    let failed = loop {
        match socket.emit("n", (sent, &text)) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(failed, EmitError::SlowConsumer);
    assert_eq!(next(&mut gone).await, DisconnectReason::SlowConsumer);
    assert_eq!(socket.emit("n", ()), Err(EmitError::Closed));
    let metrics = server.server.metrics().snapshot();
    assert_eq!(metrics.slow_consumers, 1);
    assert_eq!(metrics.disconnected(DisconnectReason::SlowConsumer), 1);
    // What did arrive has no hole.
    let mut expected = 0;
    while let Received::Text(message) = ws.recv().await {
        assert!(message.starts_with(&format!(r#"42["n",{expected},"#)));
        expected += 1;
    }
    assert!(expected <= sent && expected > 0);
}

#[tokio::test]
async fn three_volatile_events_in_one_turn_send_the_first_and_count_the_others() {
    let server = start(Config::default()).await;
    server.server.of("/").on("go", |socket: Socket| async move {
        for number in 0..3 {
            socket.volatile().emit("v", number).unwrap();
        }
        socket.emit("end", ()).unwrap();
    });
    let mut ws = join(&server).await;
    ws.send_text(r#"42["go"]"#).await;
    assert_eq!(ws.text().await, r#"42["v",0]"#);
    assert_eq!(ws.text().await, r#"42["end"]"#);
    assert_eq!(server.server.metrics().snapshot().volatile_dropped, 2);
    // By polling, without a GET that waits, even the first is dropped.
    let target = join_polling(&server).await;
    http::post(server.addr, &target, r#"42["go"]"#).await;
    assert_eq!(http::get(server.addr, &target).await.text(), r#"42["end"]"#);
    assert_eq!(server.server.metrics().snapshot().volatile_dropped, 5);
}

#[tokio::test]
async fn three_volatile_events_one_after_the_other_all_arrive() {
    let server = start(Config::default()).await;
    server.server.of("/").on("go", |socket: Socket| async move {
        socket.volatile().emit("v", ()).unwrap();
    });
    let mut ws = join(&server).await;
    for _ in 0..3 {
        ws.send_text(r#"42["go"]"#).await;
        assert_eq!(ws.text().await, r#"42["v"]"#);
    }
    assert_eq!(server.server.metrics().snapshot().volatile_dropped, 0);
}

#[tokio::test]
async fn a_panicking_handler_disconnects_only_its_socket() {
    let server = start(Config::default()).await;
    let (left, mut gone) = unbounded();
    for name in ["/", "/a"] {
        let namespace = server.server.of(name);
        namespace.on("panic", |socket: Socket| async move {
            assert!(!socket.is_connected(), "on purpose");
        });
        namespace.on("panic at once", |socket: Socket| {
            assert!(
                !socket.is_connected(),
                "on purpose, before there is a future"
            );
            async {}
        });
        namespace.on("ask", || async { Reply(()) });
        let left = left.clone();
        namespace.on_disconnect(move |reason: DisconnectReason| {
            let left = left.clone();
            async move { left.send(reason).unwrap() }
        });
    }
    let mut ws = join(&server).await;
    let mut other = join(&server).await;
    for event in ["panic", "panic at once"] {
        ws.send_text("40/a").await;
        assert!(ws.text().await.starts_with("40/a,"));
        ws.send_text(&format!(r#"42/a,["{event}"]"#)).await;
        assert_eq!(ws.text().await, "41/a,");
        assert_eq!(
            next(&mut gone).await,
            DisconnectReason::ServerNamespaceDisconnect
        );
        for client in [&mut ws, &mut other] {
            client.send_text(r#"421["ask"]"#).await;
            assert_eq!(client.text().await, "431[]");
        }
    }
    ws.send_text("40/a").await;
    assert!(ws.text().await.starts_with("40/a,"));
    assert_eq!(server.server.metrics().snapshot().handler_panics, 2);
}

#[tokio::test]
async fn a_panicking_middleware_refuses_its_client() {
    let server = start(Config::default()).await;
    server
        .server
        .of("/bad")
        .middleware(|| async { panic!("on purpose") });
    server.server.of("/").on("ask", || async { Reply(()) });
    let mut ws = join(&server).await;
    for _ in 0..3 {
        ws.send_text("40/bad").await;
        assert_eq!(ws.text().await, r#"44/bad,{"message":"Internal error"}"#);
    }
    ws.send_text(r#"421["ask"]"#).await;
    assert_eq!(ws.text().await, "431[]");
    assert_eq!(server.server.metrics().snapshot().handler_panics, 3);
    drop(ws);
    until("the end of the session", || {
        server.server.sessions_count() == 0
    })
    .await;
}

#[tokio::test]
async fn cve_2024_38355_error_event_without_listener() {
    let server = start(Config::default()).await;
    server.server.of("/").on("ask", || async { Reply(()) });
    let mut ws = join(&server).await;
    ws.send_text(r#"42["error",{"x":1}]"#).await;
    ws.send_text(r#"420["error"]"#).await;
    ws.send_text(r#"421["ask"]"#).await;
    assert_eq!(ws.text().await, "431[]");
    // With a listener it is an event like any other.
    server
        .server
        .of("/")
        .on("error", || async { Reply("heard") });
    ws.send_text(r#"422["error"]"#).await;
    assert_eq!(ws.text().await, r#"432["heard"]"#);
}

#[tokio::test]
async fn rejoin_a_namespace_on_the_same_connection() {
    let server = start(Config::default()).await;
    let root = server.server.of("/");
    root.on("ask", |socket: Socket| async move {
        Reply(socket.id().to_string())
    });
    let mut ws = open(&server).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ws.send_text("40").await;
        let connect = ws.text().await;
        let id = connect.split('"').nth(3).unwrap().to_owned();
        ws.send_text(r#"420["ask"]"#).await;
        assert_eq!(ws.text().await, format!(r#"430["{id}"]"#));
        assert_eq!(root.sockets_count(), 1);
        ws.send_text("41").await;
        assert!(!ids.contains(&id));
        ids.push(id);
    }
    until("the last to leave", || root.sockets_count() == 0).await;
    assert_eq!(server.server.sessions_count(), 1);
}

#[tokio::test]
async fn own_id_is_a_room() {
    let server = start(Config::default()).await;
    let root = server.server.of("/");
    root.on("others", |socket: Socket| async move {
        assert_eq!(socket.rooms(), Vec::<kentongan::ByteString>::new());
        socket.broadcast().emit("x", "others").unwrap();
    });
    let mut ws = open(&server).await;
    ws.send_text("40").await;
    let id = ws.text().await.split('"').nth(3).unwrap().to_owned();
    let mut other = join(&server).await;
    root.to(id.clone()).emit("x", "own").unwrap();
    root.except(id.clone()).emit("x", "not own").unwrap();
    assert_eq!(ws.text().await, r#"42["x","own"]"#);
    assert_eq!(other.text().await, r#"42["x","not own"]"#);
    ws.send_text(r#"42["others"]"#).await;
    assert_eq!(other.text().await, r#"42["x","others"]"#);
    root.emit("end", ()).unwrap();
    assert_eq!(ws.text().await, r#"42["end"]"#);
    assert_eq!(root.to(id).sockets().len(), 1);
}

#[tokio::test]
async fn disconnect_reasons() {
    #[derive(Clone, Copy, Debug)]
    enum End {
        Drop,
        CloseFrame,
        EnginePacket,
        Send(&'static str),
        Oversized,
    }
    use DisconnectReason as Reason;
    let rows = [
        (End::Drop, Reason::TransportClose),
        (End::CloseFrame, Reason::TransportClose),
        (End::EnginePacket, Reason::TransportClose),
        (End::Send("41"), Reason::ClientNamespaceDisconnect),
        (
            End::Send(r#"42["kick"]"#),
            Reason::ServerNamespaceDisconnect,
        ),
        (End::Send(r#"42["disconnect"]"#), Reason::ForcedClose),
        (End::Send("40"), Reason::ForcedClose),
        (End::Send("4x"), Reason::ForcedClose),
        (End::Send("x"), Reason::ParseError),
        (End::Send(""), Reason::ParseError),
        (End::Send("2"), Reason::TransportError),
        (End::Oversized, Reason::TransportError),
    ];
    let mut config = Config::default();
    config.limits.message_bytes_max = 1000;
    let server = start(config).await;
    let (left, mut gone) = unbounded();
    let root = server.server.of("/");
    root.on("kick", |socket: Socket| async move { socket.disconnect() });
    root.on_disconnect(move |socket: Socket, reason: Reason| {
        let left = left.clone();
        async move { left.send((reason, socket.is_connected())).unwrap() }
    });
    for (end, expected) in rows {
        let mut ws = join(&server).await;
        match end {
            End::Drop => drop(ws),
            End::CloseFrame => ws.send_close(Some(1000)).await,
            End::EnginePacket => ws.send_text("1").await,
            End::Send(text) => ws.send_text(text).await,
            End::Oversized => ws.send_text(&"4".repeat(1001)).await,
        }
        assert_eq!(next(&mut gone).await, (expected, false), "{end:?}");
    }
    let metrics = server.server.metrics().snapshot();
    assert_eq!(metrics.sockets_open, 0);
    for (reason, count) in metrics.disconnects {
        let expected = rows.iter().filter(|(_, each)| *each == reason).count();
        assert_eq!(count, expected as u64, "{reason}");
    }
}

#[tokio::test]
async fn ping_timeout_is_a_disconnect_reason() {
    let mut config = Config::default();
    config.ping_interval = Duration::from_millis(20);
    config.ping_timeout = Duration::from_millis(20);
    let server = start(config).await;
    let (left, mut gone) = unbounded();
    server
        .server
        .of("/")
        .on_disconnect(move |reason: DisconnectReason| {
            let left = left.clone();
            async move { left.send(reason).unwrap() }
        });
    let mut ws = open(&server).await;
    ws.send_text("40").await;
    assert_eq!(next(&mut gone).await, DisconnectReason::PingTimeout);
}

#[tokio::test]
async fn hooks_for_rooms_come_in_order() {
    let server = start(Config::default()).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let root = server.server.of("/");
    let events = Arc::clone(&seen);
    root.on_room(move |event| {
        let by_socket = event.socket.is_some();
        events
            .lock()
            .push((event.kind, event.room.to_string(), by_socket));
    });
    root.on(
        "join",
        |socket: Socket, Data(room): Data<String>| async move {
            socket.join(room).unwrap();
            Reply(())
        },
    );
    root.on(
        "leave",
        |socket: Socket, Data(room): Data<String>| async move {
            socket.leave(&room);
            Reply(())
        },
    );
    let mut first = join(&server).await;
    let mut second = join(&server).await;
    for (by_first, packet) in [
        (true, r#"420["join","r"]"#),
        (true, r#"420["join","r"]"#),
        (false, r#"420["join","r"]"#),
        (true, r#"420["leave","r"]"#),
        (true, r#"420["leave","r"]"#),
    ] {
        let client = if by_first { &mut first } else { &mut second };
        client.send_text(packet).await;
        assert_eq!(client.text().await, "430[]");
    }
    drop(second);
    until("the room to go", || {
        root.rooms().is_empty() && seen.lock().len() == 6
    })
    .await;
    use RoomEventKind::{Created, Deleted, Joined, Left};
    let expected = [
        (Created, false),
        (Joined, true),
        (Joined, true),
        (Left, true),
        (Left, true),
        (Deleted, false),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(kind, by_socket)| (kind, "r".to_owned(), by_socket))
        .collect();
    assert_eq!(*seen.lock(), expected);
}

#[tokio::test]
async fn shutdown_ends_within_its_deadline_and_clients_are_told() {
    let server = start(Config::default()).await;
    let (left, mut gone) = unbounded();
    server
        .server
        .of("/")
        .on_disconnect(move |reason: DisconnectReason| {
            let left = left.clone();
            async move { left.send(reason).unwrap() }
        });
    let mut ws = join(&server).await;
    let target = join_polling(&server).await;
    let addr = server.addr;
    let parked = tokio::spawn(async move { http::get(addr, &target).await });
    let shutting = {
        let server = server.server.clone();
        tokio::spawn(async move {
            let started = Instant::now();
            server.shutdown(Duration::from_secs(4)).await;
            started.elapsed()
        })
    };
    assert_eq!(ws.close_code().await, Some(Some(1001)));
    ws.send_close(Some(1001)).await;
    assert!(
        within("the parked GET", parked)
            .await
            .unwrap()
            .text()
            .ends_with('1')
    );
    for _ in 0..2 {
        assert_eq!(next(&mut gone).await, DisconnectReason::ServerShuttingDown);
    }
    assert!(within("the end", shutting).await.unwrap() < Duration::from_secs(4));
    assert_eq!(server.server.sessions_count(), 0);
    // New clients are refused.
    assert_eq!(http::get(server.addr, POLLING).await.status, 503);
    assert_eq!(
        server
            .server
            .metrics()
            .snapshot()
            .refused(RefusalCode::Unavailable),
        1
    );
}

#[tokio::test]
async fn shutdown_cuts_off_who_does_not_close() {
    let server = start(Config::default()).await;
    server.server.of("/").on("hang", std::future::pending::<()>);
    let mut ws = join(&server).await;
    ws.send_text(r#"42["hang"]"#).await;
    let target = join_polling(&server).await;
    http::post(server.addr, &target, r#"42["hang"]"#).await;
    let deadline = Duration::from_millis(50);
    let started = Instant::now();
    within("the end", server.server.shutdown(deadline)).await;
    assert!(started.elapsed() >= deadline);
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(server.server.sessions_count(), 0);
}

#[tokio::test]
async fn metrics_move_for_each_refusal() {
    let mut config = Config::default();
    config.limits.message_bytes_max = 1000;
    config.held.sessions_max = 4;
    let server = Server::new(config).unwrap();
    server.of("/").on("typed", |Data(_): Data<u32>| async {});
    server.of("/").on("never", || async {});
    server.of("/").use_event(
        |kentongan::EventName(name): kentongan::EventName| async move {
            if name == "never" {
                return Err(Refusal::new("never"));
            }
            Ok(())
        },
    );
    server.of("/").on("bad", |socket: Socket| async move {
        assert!(matches!(
            socket.emit("connect", ()),
            Err(EmitError::Reserved(_))
        ));
        Reply(vec![bytes::Bytes::from_static(b"x"); 11])
    });
    server.of("/shut").middleware(|| async { Err("no".into()) });
    let server = serve(server).await;
    let addr = server.addr;
    let refused = |code| server.server.metrics().snapshot().refused(code);
    let mut expected: Vec<RefusalCode> = Vec::new();

    for (code, method, target, status) in [
        (
            RefusalCode::TransportUnknown,
            "GET",
            "/socket.io/?EIO=4&transport=pigeon",
            400,
        ),
        (
            RefusalCode::SessionUnknown,
            "GET",
            "/socket.io/?EIO=4&transport=polling&sid=nope",
            400,
        ),
        (RefusalCode::HandshakeMethod, "POST", POLLING, 400),
        (RefusalCode::BadRequest, "GET", WEBSOCKET, 400),
        (
            RefusalCode::ProtocolVersion,
            "GET",
            "/socket.io/?EIO=3&transport=polling",
            400,
        ),
    ] {
        let answer = http::request(addr, method, target, &[], b"").await;
        assert_eq!((answer.status, refused(code)), (status, 1), "{code:?}");
        expected.push(code);
    }
    let foreign = [("Origin", "https://evil.example")];
    let answer = http::request(addr, "GET", POLLING, &foreign, b"").await;
    assert_eq!((answer.status, refused(RefusalCode::Forbidden)), (403, 1));
    expected.push(RefusalCode::Forbidden);

    let target = join_polling(&server).await;
    let answer = http::post(addr, &target, "x".repeat(1001)).await;
    assert_eq!(
        (answer.status, refused(RefusalCode::PayloadTooLarge)),
        (413, 1)
    );
    expected.push(RefusalCode::PayloadTooLarge);

    let mut ws = join(&server).await;
    for (code, packet, answer) in [
        (RefusalCode::NamespaceUnknown, "40/nope", "44/nope,"),
        (RefusalCode::Middleware, "40/shut", "44/shut,"),
        (
            RefusalCode::InvalidArguments,
            r#"421["typed","x"]"#,
            "431[{",
        ),
        (RefusalCode::EventMiddleware, r#"422["never"]"#, "432[{"),
        (RefusalCode::Emit, r#"423["bad"]"#, "433[{"),
    ] {
        ws.send_text(packet).await;
        let got = ws.text().await;
        assert!(got.starts_with(answer), "{code:?}: {got}");
        assert_eq!(refused(code), 1, "{code:?}");
        expected.push(code);
    }
    for (code, text) in [
        (RefusalCode::EnginePacket, "x"),
        (RefusalCode::SocketPacket, "4x"),
        (RefusalCode::SocketState, "40"),
        (RefusalCode::WebSocket, &"4".repeat(1001)),
    ] {
        let mut ws = join(&server).await;
        ws.send_text(text).await;
        ws.close_code().await;
        assert_eq!(refused(code), 1, "{code:?}");
        expected.push(code);
        drop(ws);
        until("the end of the session", || {
            server.server.sessions_count() == 2
        })
        .await;
    }
    // Two more fit, the next one does not.
    let _more = (join(&server).await, join(&server).await);
    assert_eq!(http::get(addr, POLLING).await.status, 503);
    assert_eq!(refused(RefusalCode::Unavailable), 1);
    expected.push(RefusalCode::Unavailable);

    for (code, count) in server.server.metrics().snapshot().refusals {
        assert_eq!(count, u64::from(expected.contains(&code)), "{code:?}");
    }
}

#[tokio::test]
async fn overlapping_polls_and_timeouts_are_counted() {
    let mut config = Config::default();
    config.transports = Transports::PollingOnly;
    config.connect_timeout = Duration::from_millis(20);
    let server = start(config).await;
    let refused = |code| server.server.metrics().snapshot().refused(code);
    // No namespace in time.
    let answer = http::get(server.addr, POLLING).await;
    let sid = answer.text().split('"').nth(3).unwrap().to_owned();
    let answer = http::get(server.addr, &format!("{POLLING}&sid={sid}")).await;
    assert!(answer.text().ends_with('1') || answer.status == 400);
    assert_eq!(refused(RefusalCode::Timeout), 1);
    // Two GETs at once: whichever parks first is told that the session is over.
    let server = start(Config::default()).await;
    let refused = |code| server.server.metrics().snapshot().refused(code);
    let target = join_polling(&server).await;
    let (one, two) = tokio::join!(
        http::get(server.addr, &target),
        http::get(server.addr, &target)
    );
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    assert_eq!(refused(RefusalCode::Overlap), 1);
}

#[tokio::test]
async fn inbox_is_bounded_and_reading_goes_on_afterwards() {
    let mut config = Config::default();
    config.held.inbox_events_max = 8;
    let server = start(config).await;
    let release = Arc::new(Notify::new());
    let root = server.server.of("/");
    let gate = Arc::clone(&release);
    root.on("wait", move || {
        let gate = Arc::clone(&gate);
        async move { gate.notified().await }
    });
    root.on("n", |Data(number): Data<u32>| async move { Reply(number) });
    let mut ws = join(&server).await;
    ws.send_text(r#"42["wait"]"#).await;
    for number in 0..100 {
        ws.send_text(&format!(r#"42{number}["n",{number}]"#)).await;
    }
    until("the inbox to fill", || {
        server.server.metrics().snapshot().events_in >= 8
    })
    .await;
    release.notify_one();
    for number in 0..100 {
        assert_eq!(ws.text().await, format!("43{number}[{number}]"));
    }
}

/// The answer to a polling body is what slows a client down: it comes when there is room again.
#[tokio::test]
async fn inbox_is_bounded_on_polling_too() {
    let mut config = Config::default();
    config.held.inbox_events_max = 8;
    let server = start(config).await;
    let release = Arc::new(Notify::new());
    let gate = Arc::clone(&release);
    let root = server.server.of("/");
    root.on("wait", move || {
        let gate = Arc::clone(&gate);
        async move { gate.notified().await }
    });
    let path = join_polling(&server).await;
    let events = ["42[\"wait\"]"; 9].join("\u{1e}");
    assert_eq!(
        http::post(server.addr, &path, "42[\"wait\"]").await.text(),
        "ok"
    );
    let addr = server.addr;
    let full =
        tokio::spawn(async move { http::post(addr, &path, &events).await.text().to_owned() });
    until("the inbox to fill", || {
        server.server.metrics().snapshot().events_in == 10
    })
    .await;
    // Another whole request on the same thread: were it to be answered at once, it would have been.
    let other = http::get(server.addr, POLLING).await;
    assert_eq!(other.status, 200);
    assert!(!full.is_finished());
    release.notify_one();
    let answer = within("the answer", async {
        loop {
            if full.is_finished() {
                break;
            }
            release.notify_one();
            tokio::task::yield_now().await;
        }
        full.await.unwrap()
    })
    .await;
    assert_eq!(answer, "ok");
}

#[tokio::test]
async fn events_behind_a_server_disconnect_are_not_handled() {
    let server = start(Config::default()).await;
    let handled = Arc::new(AtomicUsize::new(0));
    let root = server.server.of("/");
    root.on("kick", |socket: Socket| async move { socket.disconnect() });
    let count = Arc::clone(&handled);
    root.on("late", move || {
        count.fetch_add(1, Ordering::SeqCst);
        async {}
    });
    let mut ws = join(&server).await;
    // One write, so that the server reads both at once.
    let mut both = support::websocket::masked(
        kentongan_protocol::websocket::Opcode::Text,
        br#"42["kick"]"#,
    );
    both.extend(support::websocket::masked(
        kentongan_protocol::websocket::Opcode::Text,
        br#"42["late"]"#,
    ));
    ws.send_raw(&both).await;
    assert_eq!(ws.text().await, "41");
    ws.send_text("40").await;
    assert!(ws.text().await.starts_with("40{"));
    assert_eq!(handled.load(Ordering::SeqCst), 0);
}
