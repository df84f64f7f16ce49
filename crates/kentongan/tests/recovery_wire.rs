//! Connection state recovery on the raw wire: positions, what a returning client is sent, and when it is refused.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use kentongan::{
    Args, Config, DisconnectReason, Recovery, RecoveryConfig, Refusal, RoomEventKind, Server,
    Socket, Value,
};
use parking_lot::Mutex;
use support::{
    TestServer, serve,
    websocket::{Received, WebSocket},
    within,
};
use tokio::sync::mpsc;

fn config(change: impl FnOnce(&mut RecoveryConfig)) -> Config {
    let mut recovery = RecoveryConfig::default();
    change(&mut recovery);
    let mut config = Config::default();
    config.recovery = Some(recovery);
    config
}

/// Handlers: `join` a room, `bye` makes the server drop the connection; the root namespace tells how each client came.
struct Fixture {
    server: TestServer,
    came: mpsc::UnboundedReceiver<(Socket, Recovery)>,
    left: mpsc::UnboundedReceiver<DisconnectReason>,
}

async fn start(config: Config) -> Fixture {
    prepare(config, |_| {}).await
}

async fn prepare(config: Config, more: impl FnOnce(&kentongan::Namespace)) -> Fixture {
    let server = Server::new(config).unwrap();
    let root = server.of("/");
    let (coming, came) = mpsc::unbounded_channel();
    root.on_connect(move |socket: Socket, recovery: Recovery| {
        let coming = coming.clone();
        async move {
            let _ = coming.send((socket, recovery));
        }
    });
    let (leaving, left) = mpsc::unbounded_channel();
    root.on_disconnect(move |reason: DisconnectReason| {
        let leaving = leaving.clone();
        async move {
            let _ = leaving.send(reason);
        }
    });
    more(&root);
    Fixture {
        server: serve(server).await,
        came,
        left,
    }
}

impl Fixture {
    fn root(&self) -> kentongan::Namespace {
        self.server.server.of("/")
    }

    async fn came(&mut self) -> (Socket, Recovery) {
        within("a connect handler", self.came.recv()).await.unwrap()
    }

    async fn left(&mut self) -> DisconnectReason {
        within("a disconnect handler", self.left.recv())
            .await
            .unwrap()
    }

    /// A new client, and its socket.
    async fn join(&mut self) -> (Client, Socket) {
        let client = Client::connect(self.server.addr, "{}").await;
        let (socket, recovery) = self.came().await;
        assert_eq!(recovery, Recovery::New);
        (client, socket)
    }
}

/// A client that keeps what a stock one keeps: its ids and the last string argument.
struct Client {
    addr: SocketAddr,
    ws: WebSocket,
    sid: String,
    pid: String,
    offset: Option<String>,
    /// Events that came before CONNECT.
    missed: Vec<Vec<Value>>,
    /// What the event behind CONNECT says.
    told: String,
}

impl Client {
    async fn connect(addr: SocketAddr, auth: &str) -> Self {
        let mut client = Self {
            addr,
            ws: open(addr).await,
            sid: String::new(),
            pid: String::new(),
            offset: None,
            missed: Vec::new(),
            told: String::new(),
        };
        client.ws.send_text(&format!("40{auth}")).await;
        client.greeted().await;
        client
    }

    async fn greeted(&mut self) {
        loop {
            let text = self.ws.text().await;
            if let Some(connect) = text.strip_prefix("40") {
                let connect: Value = serde_json::from_str(connect).unwrap();
                let part = |key| connect.get(key).unwrap().as_str().unwrap().to_owned();
                (self.sid, self.pid) = (part("sid"), part("pid"));
                break;
            }
            let event = self.take(&text);
            self.missed.push(event);
        }
        let event = self.event().await;
        assert_eq!(event[0].as_str(), Some(kentongan::POSITION_EVENT));
        let told = event[1].get("recovery").unwrap();
        self.told = told.as_str().unwrap().to_owned();
    }

    /// The next event, without its position.
    async fn event(&mut self) -> Vec<Value> {
        let text = self.ws.text().await;
        self.take(&text)
    }

    fn take(&mut self, text: &str) -> Vec<Value> {
        let json = text.strip_prefix("42").unwrap_or_else(|| panic!("{text}"));
        let mut event: Vec<Value> = serde_json::from_str(json).unwrap();
        let position = event.pop().unwrap();
        self.offset = Some(
            position
                .as_str()
                .unwrap_or_else(|| panic!("{text}"))
                .to_owned(),
        );
        event
    }

    fn auth(&self) -> String {
        auth(&self.pid, self.offset.as_deref(), "")
    }

    /// Loses the connection without a word.
    fn lose(self) -> Lost {
        let lost = Lost {
            addr: self.addr,
            sid: self.sid.clone(),
            pid: self.pid.clone(),
            auth: self.auth(),
        };
        drop(self.ws);
        lost
    }
}

/// What a client keeps while it is away.
struct Lost {
    addr: SocketAddr,
    sid: String,
    pid: String,
    auth: String,
}

impl Lost {
    async fn back(&self) -> Client {
        Client::connect(self.addr, &self.auth).await
    }
}

async fn open(addr: SocketAddr) -> WebSocket {
    let mut ws = WebSocket::connect(addr, "/socket.io/?EIO=4&transport=websocket").await;
    assert!(ws.text().await.starts_with('0'));
    ws
}

fn auth(pid: &str, offset: Option<&str>, more: &str) -> String {
    match offset {
        Some(offset) => format!(r#"{{"pid":"{pid}","offset":"{offset}"{more}}}"#),
        None => format!(r#"{{"pid":"{pid}"{more}}}"#),
    }
}

fn event(name: &str, number: u64) -> Vec<Value> {
    vec![Value::from(name), Value::from(number)]
}

#[tokio::test]
async fn without_recovery_there_is_neither_pid_nor_position() {
    let server = support::start(Config::default()).await;
    let mut ws = open(server.addr).await;
    ws.send_text("40").await;
    let connect = ws.text().await;
    assert!(!connect.contains("pid"), "{connect}");
    server.server.of("/").emit("x", 1).unwrap();
    assert_eq!(ws.text().await, r#"42["x",1]"#);
}

#[tokio::test]
async fn position_event_after_connect() {
    let mut fixture = start(config(|_| {})).await;
    let (client, _) = fixture.join().await;
    assert_eq!(client.told, "new");
    assert!(client.missed.is_empty());
    assert!(client.offset.is_some());
    assert_eq!((client.sid.len(), client.pid.len()), (20, 20));
    assert_ne!(client.sid, client.pid);
}

#[tokio::test]
async fn every_event_carries_a_position_but_those_that_want_an_answer() {
    let mut fixture = start(config(|_| {})).await;
    let (mut client, socket) = fixture.join().await;
    let root = fixture.root();
    socket.emit("x", 1_u64).unwrap();
    root.emit("x", 1_u64).unwrap();
    for _ in 0..2 {
        let before = client.offset.take();
        assert_eq!(client.event().await, event("x", 1));
        assert_ne!(client.offset, before);
    }
    // One by one: a second one would find the transport busy.
    socket.volatile().emit("x", "a string").unwrap();
    assert_eq!(client.event().await, ["x".into(), "a string".into()]);
    root.broadcast().volatile().emit("x", 1_u64).unwrap();
    assert_eq!(client.event().await, event("x", 1));
    let call = tokio::spawn(async move { socket.emit_with_ack::<u8>("q", 1).await });
    assert_eq!(client.ws.text().await, r#"420["q",1]"#);
    client.ws.send_text("430[2]").await;
    assert_eq!(within("the answer", call).await.unwrap(), Ok(2));
}

#[tokio::test]
async fn binary_events_carry_the_position_last() {
    let mut fixture = start(config(|_| {})).await;
    let (mut client, socket) = fixture.join().await;
    let data = bytes::Bytes::from_static(&[1, 2, 3]);
    socket.emit("x", (data, 1)).unwrap();
    let header = client.ws.text().await;
    assert!(
        header.starts_with(r#"451-["x",{"_placeholder":true,"num":0},1,""#),
        "{header}"
    );
    assert_eq!(client.ws.recv().await, Received::Binary(vec![1, 2, 3]));
    let position = header.rsplit('"').nth(1).unwrap().to_owned();
    client.offset = Some(position);
    let lost = client.lose();
    fixture.left().await;
    let back = lost.back().await;
    assert_eq!(back.told, "complete");
    assert!(back.missed.is_empty());
}

#[tokio::test]
async fn missed_events_come_before_connect_once_and_in_order() {
    let mut fixture = start(config(|_| {})).await;
    let (mut client, socket) = fixture.join().await;
    socket.join("in").unwrap();
    socket.set_data(Value::from("kept"));
    let (sid, pid) = (client.sid.clone(), client.pid.clone());
    let root = fixture.root();
    root.emit("before", 0_u64).unwrap();
    assert_eq!(client.event().await, event("before", 0));
    let lost = client.lose();
    assert_eq!(fixture.left().await, DisconnectReason::TransportClose);
    root.emit("all", 1_u64).unwrap();
    root.to("in").emit("in", 2_u64).unwrap();
    root.to("out").emit("out", 3_u64).unwrap();
    root.except("in").emit("out", 4_u64).unwrap();
    root.broadcast().volatile().emit("volatile", 5_u64).unwrap();
    root.to(sid.clone()).emit("own", 6_u64).unwrap();
    root.to("in").to("out").emit("in", 7_u64).unwrap();
    root.except(sid.clone()).emit("out", 8_u64).unwrap();
    let mut back = lost.back().await;
    let expected = [
        event("all", 1),
        event("in", 2),
        event("own", 6),
        event("in", 7),
    ];
    assert_eq!(back.missed, expected);
    assert_eq!((&back.sid, &back.pid), (&sid, &pid));
    assert_eq!(back.told, "complete");
    let (socket, recovery) = fixture.came().await;
    assert_eq!(recovery, Recovery::Complete { replayed: 4 });
    assert_eq!(socket.id().to_string(), sid);
    assert_eq!(socket.data(), Value::from("kept"));
    assert_eq!(socket.rooms(), ["in"]);
    root.to("in").emit("live", 9_u64).unwrap();
    assert_eq!(back.event().await, event("live", 9));
    assert_eq!(fixture.server.server.metrics().snapshot().recovered, 1);
}

#[tokio::test]
async fn zero_event_recovery() {
    let mut fixture = start(config(|_| {})).await;
    let (client, _) = fixture.join().await;
    let sid = client.sid.clone();
    let lost = client.lose();
    fixture.left().await;
    fixture.root().emit("missed", 1_u64).unwrap();
    let back = lost.back().await;
    assert_eq!((back.told.as_str(), &back.sid), ("complete", &sid));
    assert_eq!(back.missed, [event("missed", 1)]);
}

#[tokio::test]
async fn recovery_after_a_volatile_event() {
    let mut fixture = start(config(|_| {})).await;
    let (mut client, _) = fixture.join().await;
    let root = fixture.root();
    root.emit("x", 1_u64).unwrap();
    assert_eq!(client.event().await, event("x", 1));
    root.broadcast().volatile().emit("v", 2_u64).unwrap();
    assert_eq!(client.event().await, event("v", 2));
    let lost = client.lose();
    fixture.left().await;
    root.emit("x", 3_u64).unwrap();
    let back = lost.back().await;
    assert_eq!(
        (back.told.as_str(), back.missed),
        ("complete", vec![event("x", 3)])
    );
}

#[tokio::test]
async fn recovery_twice_in_a_row() {
    let mut fixture = start(config(|_| {})).await;
    let (mut client, _) = fixture.join().await;
    let (sid, pid) = (client.sid.clone(), client.pid.clone());
    for number in 0..10 {
        let lost = client.lose();
        fixture.left().await;
        let mut expected = Vec::new();
        // Every third time there is nothing to be sent again.
        if number % 3 > 0 {
            fixture.root().emit("x", number).unwrap();
            expected.push(event("x", number));
        }
        client = lost.back().await;
        assert_eq!((&lost.sid, &lost.pid), (&sid, &pid));
        assert_eq!((&client.sid, &client.pid), (&sid, &pid));
        assert_eq!(
            (client.told.as_str(), &client.missed),
            ("complete", &expected)
        );
    }
}

#[tokio::test]
async fn banned_in_between_gets_nothing() {
    let banned = Arc::new(AtomicBool::new(false));
    let ban = Arc::clone(&banned);
    let mut fixture = prepare(config(|_| {}), |root| {
        root.middleware(move || {
            let banned = banned.load(Ordering::SeqCst);
            async move {
                if banned {
                    return Err(Refusal::new("banned"));
                }
                Ok(())
            }
        });
    })
    .await;
    let (client, _) = fixture.join().await;
    let lost = client.lose();
    fixture.left().await;
    fixture.root().emit("secret", 1_u64).unwrap();
    ban.store(true, Ordering::SeqCst);
    let mut ws = open(lost.addr).await;
    ws.send_text(&format!("40{}", lost.auth)).await;
    assert_eq!(ws.text().await, r#"44{"message":"banned"}"#);
    assert_eq!(fixture.root().sockets_count(), 0);
    // The refusal has not used up the session.
    ban.store(false, Ordering::SeqCst);
    ws.send_text(&format!("40{}", lost.auth)).await;
    assert!(ws.text().await.starts_with(r#"42["secret",1,""#));
}

/// Middleware that takes the identity from the auth payload.
fn identify(root: &kentongan::Namespace) {
    root.middleware(|socket: Socket, auth: Args| async move {
        let auth = auth.argument::<Value>(0).unwrap();
        if let Some(user) = auth.get("user").and_then(Value::as_str) {
            socket.set_identity(user);
        }
        Ok(())
    });
}

#[tokio::test]
async fn identity_changed_is_denied() {
    let mut fixture = prepare(config(|_| {}), identify).await;
    let client = Client::connect(fixture.server.addr, r#"{"user":"ann"}"#).await;
    let (socket, _) = fixture.came().await;
    socket.join("anns").unwrap();
    let (sid, pid, offset) = (
        client.sid.clone(),
        client.pid.clone(),
        client.offset.clone(),
    );
    drop(client.lose());
    fixture.left().await;
    fixture.root().to("anns").emit("secret", 1_u64).unwrap();
    let addr = fixture.server.addr;
    for user in [r#","user":"bob""#, ""] {
        let back = Client::connect(addr, &auth(&pid, offset.as_deref(), user)).await;
        assert_eq!(back.told, "denied");
        assert!(back.missed.is_empty());
        assert_ne!(back.sid, sid);
        assert_ne!(back.pid, pid);
        let (socket, recovery) = fixture.came().await;
        assert_eq!(recovery, Recovery::Denied);
        assert_eq!(socket.rooms(), Vec::<kentongan::ByteString>::new());
    }
    // Ann herself still can.
    let back = Client::connect(addr, &auth(&pid, offset.as_deref(), r#","user":"ann""#)).await;
    assert_eq!(
        (back.told.as_str(), back.missed),
        ("complete", vec![event("secret", 1)])
    );
}

#[tokio::test]
async fn on_recover_drops_a_room() {
    let mut fixture = prepare(config(|_| {}), |root| {
        root.on_recover(|_, mut rooms| {
            rooms.retain(|room| *room != "private");
            rooms
        });
    })
    .await;
    let (client, socket) = fixture.join().await;
    socket.join("private").unwrap();
    socket.join("public").unwrap();
    let lost = client.lose();
    fixture.left().await;
    let root = fixture.root();
    root.to("private").emit("private", 1_u64).unwrap();
    root.to("public").emit("public", 2_u64).unwrap();
    let back = lost.back().await;
    assert_eq!(
        (back.told.as_str(), &back.missed),
        ("complete", &vec![event("public", 2)])
    );
    assert_eq!(root.rooms(), [("public".into(), 1)]);
}

#[tokio::test]
async fn gap_by_count() {
    for (missed, told) in [(2, "complete"), (3, "complete"), (4, "gap")] {
        let mut fixture = start(config(|recovery| recovery.log_events_max = 3)).await;
        let (client, socket) = fixture.join().await;
        socket.join("old").unwrap();
        let sid = client.sid.clone();
        let lost = client.lose();
        fixture.left().await;
        let events: Vec<_> = (0..missed).map(|number| event("x", number)).collect();
        for number in 0..missed {
            fixture.root().emit("x", number).unwrap();
        }
        let back = lost.back().await;
        assert_eq!(back.told, told, "{missed} events");
        let (socket, recovery) = fixture.came().await;
        if told == "gap" {
            assert_eq!(recovery, Recovery::Gap);
            assert!(back.missed.is_empty());
            assert_ne!(back.sid, sid);
            // A new client, in no room of the old one.
            assert_eq!(socket.rooms(), Vec::<kentongan::ByteString>::new());
            assert_eq!(socket.data(), Value::Null);
            assert_eq!(fixture.server.server.metrics().snapshot().not_recovered, 1);
        } else {
            assert_eq!(back.missed, events);
            assert_eq!(back.sid, sid);
        }
    }
}

#[tokio::test]
async fn gap_by_what_may_be_sent_again() {
    for (missed, told) in [(2, "complete"), (3, "gap")] {
        let mut fixture = start(config(|recovery| recovery.replay_events_max = 2)).await;
        let (client, _) = fixture.join().await;
        let lost = client.lose();
        fixture.left().await;
        for number in 0..missed {
            fixture.root().emit("x", number).unwrap();
        }
        assert_eq!(lost.back().await.told, told, "{missed} events");
    }
}

#[tokio::test]
async fn too_long_away_is_unknown() {
    let mut fixture = start(config(|recovery| {
        recovery.max_disconnection = Duration::ZERO
    }))
    .await;
    let (client, _) = fixture.join().await;
    let lost = client.lose();
    fixture.left().await;
    assert_eq!(lost.back().await.told, "unknown");
}

#[tokio::test]
async fn more_clients_away_than_are_kept() {
    let mut fixture = start(config(|recovery| recovery.sessions_max = 1)).await;
    let (first, _) = fixture.join().await;
    let first = first.lose();
    fixture.left().await;
    let (second, _) = fixture.join().await;
    let second = second.lose();
    fixture.left().await;
    let first = first.back().await;
    assert_eq!(first.told, "unknown");
    assert_eq!(second.back().await.told, "complete");
}

#[tokio::test]
async fn forged_claims_are_never_an_error() {
    let mut fixture = start(config(|_| {})).await;
    let (client, _) = fixture.join().await;
    let (pid, offset) = (client.pid.clone(), client.offset.clone().unwrap());
    let lost = client.lose();
    fixture.left().await;
    let mut flipped = offset.clone().into_bytes();
    flipped[40] = if flipped[40] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    let unknown = "A".repeat(20);
    let rows: Vec<(String, &str)> = vec![
        (auth(&unknown, Some(&offset), ""), "unknown"),
        (auth("", Some(&offset), ""), "unknown"),
        (auth("nope", Some(&offset), ""), "unknown"),
        (auth(&"é".repeat(10), Some(&offset), ""), "unknown"),
        (auth(&"x".repeat(10_000), Some(&offset), ""), "unknown"),
        (auth(&pid, None, ""), "invalid_position"),
        (auth(&pid, Some(""), ""), "invalid_position"),
        (auth(&pid, Some("0"), ""), "invalid_position"),
        (auth(&pid, Some("1795530228951-0"), ""), "invalid_position"),
        (auth(&pid, Some(&flipped), ""), "invalid_position"),
        (auth(&pid, Some(&offset[1..]), ""), "invalid_position"),
        (
            auth(&pid, Some(&format!("{offset}A")), ""),
            "invalid_position",
        ),
        (
            auth(&pid, Some(&"x".repeat(10_000)), ""),
            "invalid_position",
        ),
        (auth(&pid, Some("\\u0000"), ""), "invalid_position"),
        (r#"{"pid":1,"offset":2}"#.to_owned(), "new"),
        (format!(r#"{{"pid":["{pid}"],"offset":"{offset}"}}"#), "new"),
        (format!(r#"{{"offset":"{offset}"}}"#), "new"),
        (r#"{"pid":null,"offset":null}"#.to_owned(), "new"),
    ];
    for (auth, told) in rows {
        let client = Client::connect(lost.addr, &auth).await;
        assert_eq!(client.told, told, "{auth}");
        assert!(client.missed.is_empty());
        assert_ne!(client.pid, pid);
        assert_ne!(client.sid, lost.sid);
    }
    // None of it has harmed the session itself.
    assert_eq!(lost.back().await.told, "complete");
}

#[tokio::test]
async fn positions_of_another_namespace_and_of_another_life_are_refused() {
    let mut fixture = start(config(|recovery| recovery.key = [7; 32])).await;
    let _ = fixture.server.server.of("/other");
    let (client, _) = fixture.join().await;
    let mut ws = open(fixture.server.addr).await;
    ws.send_text("40/other").await;
    ws.text().await;
    let position = ws.text().await;
    let position = position.rsplit('"').nth(1).unwrap().to_owned();
    let pid = client.pid.clone();
    drop(client.lose());
    fixture.left().await;
    let back = Client::connect(fixture.server.addr, &auth(&pid, Some(&position), "")).await;
    assert_eq!(back.told, "invalid_position");
    // The same key in another process: the position opens, but the log is another one.
    let mut second = start(config(|recovery| recovery.key = [7; 32])).await;
    let (client, _) = second.join().await;
    let pid = client.pid.clone();
    drop(client.lose());
    second.left().await;
    let back = Client::connect(second.server.addr, &auth(&pid, back.offset.as_deref(), "")).await;
    assert_eq!(back.told, "reset");
}

#[tokio::test]
async fn clients_that_left_or_were_sent_away_do_not_recover() {
    for by_client in [true, false] {
        let mut fixture = start(config(|_| {})).await;
        let (mut client, socket) = fixture.join().await;
        if by_client {
            client.ws.send_text("41").await;
        } else {
            socket.disconnect();
        }
        fixture.left().await;
        let back = Client::connect(fixture.server.addr, &client.auth()).await;
        assert_eq!(back.told, "unknown", "by client: {by_client}");
    }
}

#[tokio::test]
async fn an_older_socket_that_is_still_open_is_superseded() {
    let mut fixture = start(config(|_| {})).await;
    let (mut older, socket) = fixture.join().await;
    socket.join("r").unwrap();
    let root = fixture.root();
    root.emit("x", 1_u64).unwrap();
    let mut back = Client::connect(fixture.server.addr, &older.auth()).await;
    assert_eq!(
        (back.told.as_str(), &back.missed),
        ("complete", &vec![event("x", 1)])
    );
    assert_eq!(fixture.left().await, DisconnectReason::Superseded);
    assert_eq!(older.event().await, event("x", 1));
    assert!(older.ws.close_code().await.is_some());
    assert_eq!(root.sockets_count(), 1);
    assert_eq!(root.rooms(), [("r".into(), 1)]);
    root.to("r").emit("x", 2_u64).unwrap();
    assert_eq!(back.event().await, event("x", 2));
    assert!(!socket.is_connected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn back_while_the_older_socket_is_leaving() {
    // The older socket is held up between leaving its room and being gone.
    let (back_again, wait) = std::sync::mpsc::channel::<()>();
    let (leaving, mut is_leaving) = mpsc::unbounded_channel();
    let wait = Mutex::new(Some(wait));
    let mut fixture = prepare(config(|_| {}), |root| {
        root.on_room(move |event| {
            let wait = wait.lock().take_if(|_| event.kind == RoomEventKind::Left);
            if let Some(wait) = wait {
                let _ = leaving.send(());
                // Other tasks of this thread go on elsewhere.
                tokio::task::block_in_place(|| {
                    let _ = wait.recv_timeout(support::PATIENCE);
                });
            }
        });
    })
    .await;
    let (client, socket) = fixture.join().await;
    socket.join("r").unwrap();
    let lost = client.lose();
    within("the older socket", is_leaving.recv()).await.unwrap();
    fixture.root().to("r").emit("x", 1_u64).unwrap();
    let back = lost.back().await;
    let _ = back_again.send(());
    assert_eq!(
        (back.told.as_str(), &back.missed),
        ("complete", &vec![event("x", 1)])
    );
    assert_eq!(fixture.left().await, DisconnectReason::TransportClose);
    assert_eq!(fixture.root().rooms(), [("r".into(), 1)]);
    assert_eq!(fixture.root().sockets_count(), 1);
}

#[tokio::test]
async fn another_identity_does_not_supersede() {
    let mut fixture = prepare(config(|_| {}), identify).await;
    let mut ann = Client::connect(fixture.server.addr, r#"{"user":"ann"}"#).await;
    let bob = auth(&ann.pid, ann.offset.as_deref(), r#","user":"bob""#);
    let bob = Client::connect(fixture.server.addr, &bob).await;
    assert_eq!(bob.told, "denied");
    assert_eq!(fixture.root().sockets_count(), 2);
    fixture.root().emit("x", 1_u64).unwrap();
    assert_eq!(ann.event().await, event("x", 1));
    fixture.came().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_loss_and_no_double_delivery_while_a_publisher_is_sending() {
    const ROUNDS: usize = 150;
    /// How far the publisher may be ahead of the client, so that on a busy machine neither outbox nor replay overflows.
    const AHEAD_MAX: u64 = 100;
    let mut fixture = start(config(|_| {})).await;
    let (mut client, socket) = fixture.join().await;
    socket.join("r").unwrap();
    let root = fixture.root();
    let stop = Arc::new(AtomicBool::new(false));
    let published = Arc::new(AtomicU64::new(0));
    let seen = Arc::new(AtomicU64::new(0));
    let publisher = {
        let (root, stop) = (root.clone(), Arc::clone(&stop));
        let (published, seen) = (Arc::clone(&published), Arc::clone(&seen));
        tokio::spawn(async move {
            let mut number = 0;
            while !stop.load(Ordering::SeqCst) {
                if number >= seen.load(Ordering::SeqCst) + AHEAD_MAX {
                    tokio::task::yield_now().await;
                    continue;
                }
                // By turns to everybody and to the room.
                if number % 2 == 0 {
                    root.emit("n", number).unwrap();
                } else {
                    root.to("r").emit("n", number).unwrap();
                }
                number += 1;
                published.store(number, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        })
    };
    let mut expected = 0;
    for round in 0..ROUNDS {
        for _ in 0..round % 7 {
            assert_eq!(client.event().await, event("n", expected), "round {round}");
            expected += 1;
        }
        seen.store(expected, Ordering::SeqCst);
        // Some rounds come back before the server has noticed, some after.
        let claim = client.auth();
        let addr = client.addr;
        let kept = if round % 2 == 0 { Some(client) } else { None };
        client = Client::connect(addr, &claim).await;
        assert_eq!(client.told, "complete", "round {round}");
        for missed in std::mem::take(&mut client.missed) {
            assert_eq!(missed, event("n", expected), "round {round}, sent again");
            expected += 1;
        }
        seen.store(expected, Ordering::SeqCst);
        drop(kept);
    }
    stop.store(true, Ordering::SeqCst);
    within("the publisher", publisher).await.unwrap();
    while expected < published.load(Ordering::SeqCst) {
        assert_eq!(client.event().await, event("n", expected));
        expected += 1;
    }
    root.emit("end", 0_u64).unwrap();
    assert_eq!(client.event().await, event("end", 0));
    assert_eq!(root.sockets_count(), 1);
}
