//! Three servers of one process as one cluster, with real clients: every operation across nodes, and what happens when
//! nodes leave, are cut off, or say nonsense.
//!
//! That somebody gets *nothing* is shown by a fence: an event that the same node sends to everyone afterwards, which
//! therefore comes right after what was meant for the client.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use kentongan::{
    AckError, Adapter, AdapterError, AnySocket, ClusterConfig, ClusterLimits, ClusterMessage,
    Config, Fault, Inbox, MemoryCluster, Missing, Namespace, NodeAnswerError, NodeId, Parser,
    RefusalCode, Reply, Server, ServerEvent, Sid, Signal, Socket, Value,
};
use support::{
    TestServer, serve,
    websocket::{Received, WebSocket},
    within,
};
use tokio::sync::mpsc;

/// Servers that are one cluster.
struct Nodes {
    cluster: MemoryCluster,
    servers: Vec<TestServer>,
    signals: Vec<mpsc::UnboundedReceiver<Signal>>,
}

impl Nodes {
    async fn start() -> Self {
        Self::with(3, |_, _| {}).await
    }

    async fn with(count: usize, change: impl Fn(usize, &mut Config)) -> Self {
        let cluster = MemoryCluster::new();
        let (mut servers, mut signals) = (Vec::new(), Vec::new());
        for index in 0..count {
            let (told, signal) = mpsc::unbounded_channel();
            let mut config = Config::default();
            let mut settings = ClusterConfig::new(cluster.adapter()).on_signal(move |signal| {
                let _ = told.send(signal.clone());
            });
            settings.request_timeout = support::PATIENCE;
            config.cluster = Some(settings);
            change(index, &mut config);
            let server = Server::new(config).unwrap();
            let _ = server.of("/");
            servers.push(serve(server).await);
            signals.push(signal);
        }
        Self {
            cluster,
            servers,
            signals,
        }
    }

    fn root(&self, node: usize) -> Namespace {
        self.servers[node].server.of("/")
    }

    fn id(&self, node: usize) -> NodeId {
        self.servers[node].server.node().unwrap().clone()
    }

    fn socket(&self, client: &Client) -> Socket {
        self.root(client.node).socket(client.id).unwrap()
    }

    async fn client(&self, node: usize) -> Client {
        Client::connect(&self.servers[node], node).await
    }

    /// One client on each node, in rooms `a`, `a` and `b`, and `b`.
    async fn clients(&self) -> Vec<Client> {
        let mut clients = Vec::new();
        for (node, rooms) in [&["a"][..], &["a", "b"], &["b"]].into_iter().enumerate() {
            let client = self.client(node).await;
            for room in rooms {
                self.socket(&client).join(*room).unwrap();
            }
            clients.push(client);
        }
        clients
    }

    /// Passes over signals until one has this code.
    async fn signal(&mut self, node: usize, code: &str) -> Signal {
        loop {
            let signal = within(code, self.signals[node].recv()).await.unwrap();
            if signal.code() == code {
                return signal;
            }
        }
    }

    fn count(&self, node: usize, read: impl Fn(&kentongan::MetricsSnapshot) -> u64) -> u64 {
        read(&self.servers[node].server.metrics().snapshot())
    }

    /// What one node says has arrived everywhere.
    async fn settle(&self, node: usize) {
        let found = self.root(node).broadcast().fetch_sockets().await;
        assert!(found.missing.is_empty(), "{:?}", found.missing);
    }

    fn assert_nothing_waits(&self) {
        for server in &self.servers {
            assert_eq!(server.server.cluster_requests_pending(), 0);
            assert_eq!(server.server.of("/").acks_pending(), 0);
        }
    }
}

/// A client of one node.
struct Client {
    ws: WebSocket,
    id: Sid,
    node: usize,
}

impl Client {
    async fn connect(server: &TestServer, node: usize) -> Self {
        let mut ws = WebSocket::connect(server.addr, "/socket.io/?EIO=4&transport=websocket").await;
        assert!(ws.text().await.starts_with('0'));
        ws.send_text("40").await;
        let connected = ws.text().await;
        let id = connected.split('"').nth(3).unwrap().parse().unwrap();
        Self { ws, id, node }
    }

    /// The next packet.
    async fn next(&mut self) -> String {
        loop {
            let packet = self.ws.text().await;
            if packet != "2" {
                return packet;
            }
        }
    }

    async fn expect(&mut self, packet: &str) {
        assert_eq!(self.next().await, packet);
    }

    /// Answers the next event, which must ask for it, with its own node's number.
    async fn answer(&mut self) {
        let packet = self.next().await;
        let id: String = packet
            .chars()
            .skip(2)
            .take_while(char::is_ascii_digit)
            .collect();
        assert!(!id.is_empty(), "{packet} asks for no answer");
        self.ws.send_text(&format!("43{id}[{}]", self.node)).await;
    }
}

/// Checks who gets `case`, each once: then everyone gets the fence.
async fn expect_only(nodes: &Nodes, clients: &mut [Client], expected: &[usize], case: &str) {
    nodes.root(0).emit("fence", case).unwrap();
    for (index, client) in clients.iter_mut().enumerate() {
        if expected.contains(&index) {
            client.expect(&format!(r#"42["news","{case}"]"#)).await;
        }
        assert_eq!(
            client.next().await,
            format!(r#"42["fence","{case}"]"#),
            "client {index}, {case}"
        );
    }
}

#[tokio::test]
async fn every_operator_reaches_all_nodes_and_each_client_once() {
    let nodes = Nodes::start().await;
    let mut clients = nodes.clients().await;
    let root = nodes.root(0);
    let first = nodes.socket(&clients[0]);
    let name = |index: usize| clients[index].id.to_string();
    let cases = [
        ("everyone", root.broadcast(), &[0, 1, 2][..]),
        ("a room", root.to("a"), &[0, 1]),
        ("two rooms, one copy", root.to("a").to("b"), &[0, 1, 2]),
        ("except a room", root.except("b"), &[0]),
        ("a room except another", root.to("b").except("a"), &[2]),
        ("nobody", root.to("c"), &[]),
        ("local", root.broadcast().local(), &[0]),
        ("local room", root.to("b").local(), &[]),
        ("all but me", first.broadcast(), &[1, 2]),
        ("my room but me", first.to("a"), &[1]),
        ("all but me and a room", first.except("b"), &[]),
        ("a socket elsewhere", root.to(name(2)), &[2]),
        ("its neighbour, from a socket", first.to(name(1)), &[1]),
        ("except a socket elsewhere", root.except(name(1)), &[0, 2]),
        ("volatile", root.broadcast().volatile(), &[0, 1, 2]),
        ("uncompressed", root.to("b").compress(false), &[1, 2]),
    ];
    for (case, broadcast, expected) in cases {
        broadcast.emit("news", case).unwrap();
        expect_only(&nodes, &mut clients, expected, case).await;
    }
    assert_eq!(nodes.count(0, |counts| counts.adapter_failures), 0);
}

#[tokio::test]
async fn volatile_is_volatile_on_the_other_node_too() {
    let nodes = Nodes::start().await;
    let mut client = nodes.client(1).await;
    nodes.settle(0).await;
    // Both arrive before the other node's session has its turn: the second finds the first one unwritten.
    for number in [1, 2] {
        let volatile = nodes.root(0).broadcast().volatile();
        volatile.emit("news", number).unwrap();
    }
    nodes.root(0).emit("fence", ()).unwrap();
    client.expect(r#"42["news",1]"#).await;
    client.expect(r#"42["fence"]"#).await;
    assert_eq!(nodes.count(1, |counts| counts.volatile_dropped), 1);
}

#[tokio::test]
async fn binary_goes_along_and_other_namespaces_hear_nothing() {
    let nodes = Nodes::start().await;
    let mut client = nodes.client(1).await;
    let other = nodes.servers[0].server.of("/other");
    other.emit("news", "elsewhere").unwrap();
    let data = (Bytes::from_static(b"\x00\xff"), "text");
    nodes.root(0).emit("news", data).unwrap();
    client
        .expect(r#"451-["news",{"_placeholder":true,"num":0},"text"]"#)
        .await;
    assert_eq!(client.ws.recv().await, Received::Binary(vec![0, 0xff]));
}

/// socket.io #2576: order must not depend on where a client is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_sends_arrives_in_one_order_everywhere() {
    let nodes = Nodes::start().await;
    let mut clients = nodes.clients().await;
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            // Two threads on each of two nodes: what they interleave to is the same for all.
            let root = nodes.root(sender % 2);
            tokio::task::spawn_blocking(move || {
                for number in 0..100 {
                    root.emit("news", (sender % 2, sender, number)).unwrap();
                }
            })
        })
        .collect();
    let mut seen: Vec<HashMap<char, Vec<String>>> = Vec::new();
    for client in &mut clients {
        let mut by_node: HashMap<char, Vec<String>> = HashMap::new();
        for _ in 0..400 {
            let packet = client.next().await;
            let node = packet.chars().nth(10).unwrap();
            by_node.entry(node).or_default().push(packet);
        }
        seen.push(by_node);
    }
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(seen[0].len(), 2);
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

#[tokio::test]
async fn acknowledgements_come_from_all_nodes() {
    let nodes = Nodes::start().await;
    let mut clients = nodes.clients().await;
    let root = nodes.root(0);
    let asked = tokio::spawn(async move {
        let broadcast = root.broadcast().timeout(support::PATIENCE);
        broadcast.emit_with_ack::<u32>("question", ()).await
    });
    for client in &mut clients {
        client.answer().await;
    }
    let answers = asked.await.unwrap().unwrap();
    assert!(answers.missing.is_empty() && answers.missing_nodes.is_empty());
    let mut values = answers.into_values();
    values.sort_unstable();
    assert_eq!(values, [0, 1, 2]);
    nodes.settle(1).await;
    nodes.assert_nothing_waits();
}

#[tokio::test]
async fn nobody_there_is_an_answer_without_waiting() {
    let nodes = Nodes::start().await;
    let _clients = nodes.clients().await;
    let broadcast = nodes.root(0).to("nobody").timeout(Duration::from_secs(600));
    let asked = broadcast.emit_with_ack::<u32>("question", ());
    let answers = within("the answers", asked).await.unwrap();
    assert!(answers.given.is_empty() && answers.missing.is_empty());
    assert!(answers.missing_nodes.is_empty());
}

#[tokio::test]
async fn silent_clients_and_silent_nodes_are_named() {
    let nodes = Nodes::start().await;
    let mut clients = nodes.clients().await;
    let second = nodes.client(1).await;
    let third = nodes.client(1).await;
    nodes.cluster.cut(&nodes.id(2));
    let root = nodes.root(0);
    let asked = tokio::spawn(async move {
        let broadcast = root.broadcast().timeout(Duration::from_secs(1));
        broadcast.emit_with_ack::<u32>("question", ()).await
    });
    clients[0].answer().await;
    clients[1].answer().await;
    // `second` is silent, and `third` leaves.
    let leaving = third.id;
    drop(third);
    let answers = asked.await.unwrap().unwrap();
    assert_eq!(answers.missing, [second.id]);
    assert_eq!(answers.missing_nodes.len(), 1);
    assert_eq!(answers.missing_nodes[0].node, nodes.id(2));
    assert_eq!(answers.missing_nodes[0].why, Missing::TimedOut);
    let of = |id: Sid| answers.given.iter().find(|(each, _)| *each == id).unwrap();
    assert_eq!(of(leaving).1, Err(AckError::Disconnected));
    assert_eq!(of(clients[1].id).1, Ok(1));
    assert_eq!(answers.given.len(), 3);
    assert_eq!(nodes.count(0, |counts| counts.cluster_answers_missing), 1);
    within("node 1 forgets", async {
        while nodes.root(1).acks_pending() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    nodes.assert_nothing_waits();
}

#[tokio::test]
async fn fetched_sockets_are_those_of_all_nodes() {
    let nodes = Nodes::start().await;
    let mut clients = nodes.clients().await;
    nodes.socket(&clients[2]).set_data(Value::from("third"));
    let root = nodes.root(0);
    let found = root.broadcast().fetch_sockets().await;
    assert!(found.missing.is_empty());
    let mut found: HashMap<Sid, _> = found.into_iter().map(|info| (info.id, info)).collect();
    assert_eq!(found.len(), 3);
    assert!(matches!(found[&clients[0].id].socket, AnySocket::Local(_)));
    let third = found.remove(&clients[2].id).unwrap();
    assert_eq!(third.rooms, ["b"]);
    assert_eq!(third.data, Value::from("third"));
    assert_eq!(third.socket.node(), Some(&nodes.id(2)));

    third.socket.emit("news", "for you").unwrap();
    clients[2].expect(r#"42["news","for you"]"#).await;
    let handle = third.socket.clone();
    let asked = tokio::spawn(async move { handle.emit_with_ack::<u32>("question", ()).await });
    clients[2].answer().await;
    assert_eq!(asked.await.unwrap(), Ok(2));

    third.socket.join("c").unwrap();
    third.socket.leave("b");
    // What this node has done to it is seen by what this node asks.
    let found = root.to("c").fetch_sockets().await;
    assert_eq!(found.sockets.len(), 1);
    assert_eq!(found.sockets[0].rooms, ["c"]);
    assert_eq!(root.to("b").fetch_sockets().await.sockets.len(), 1);
    let local = root.broadcast().local().fetch_sockets().await;
    assert_eq!(local.sockets.len(), 1);

    third.socket.disconnect();
    clients[2].expect("41").await;
    let gone = third.socket.emit_with_ack::<u32>("question", ()).await;
    assert_eq!(gone, Err(AckError::Disconnected));
    nodes.assert_nothing_waits();
}

/// socket.io-redis-adapter #367, #527: one silent node must not cost the answers of all others.
#[tokio::test]
async fn a_node_that_is_silent_is_missing_from_what_was_fetched() {
    let nodes = Nodes::with(3, |_, config| {
        config.cluster.as_mut().unwrap().request_timeout = Duration::from_secs(1);
    })
    .await;
    let _clients = nodes.clients().await;
    nodes.cluster.cut(&nodes.id(1));
    let found = nodes.root(0).broadcast().fetch_sockets().await;
    assert_eq!(found.sockets.len(), 2);
    assert_eq!(found.missing.len(), 1);
    assert_eq!(found.missing[0].node, nodes.id(1));
    assert_eq!(found.missing[0].why.code(), "timed_out");
    // As soon as the adapter knows that it is gone, nobody waits for it.
    nodes.cluster.lose(&nodes.id(1));
    let found = nodes.root(0).broadcast().fetch_sockets().await;
    assert_eq!((found.sockets.len(), found.missing.len()), (2, 0));
    nodes.assert_nothing_waits();
}

#[tokio::test]
async fn sockets_of_other_nodes_join_leave_and_are_sent_out() {
    let nodes = Nodes::start().await;
    let mut clients = nodes.clients().await;
    let root = nodes.root(0);
    root.to("b").sockets_join("x").unwrap();
    root.to("x").emit("news", "x").unwrap();
    expect_only(&nodes, &mut clients, &[1, 2], "x").await;
    root.to("a").sockets_leave("x");
    root.to("x").emit("news", "left").unwrap();
    expect_only(&nodes, &mut clients, &[2], "left").await;
    root.broadcast().local().sockets_join("y").unwrap();
    root.to("y").emit("news", "y").unwrap();
    expect_only(&nodes, &mut clients, &[0], "y").await;
    let long = "x".repeat(257);
    assert!(root.broadcast().sockets_join(long).is_err());

    root.to("x").disconnect_sockets();
    clients[2].expect("41").await;
    root.to("b").disconnect_sessions();
    clients[1].expect("41").await;
    assert!(clients[1].ws.close_code().await.is_some());
    root.emit("news", "last").unwrap();
    clients[0].expect(r#"42["news","last"]"#).await;
}

#[tokio::test]
async fn server_events_reach_the_other_servers_and_no_client() {
    let nodes = Nodes::start().await;
    let mut clients = nodes.clients().await;
    let (heard, mut hearing) = mpsc::unbounded_channel();
    for node in 0..3 {
        let heard = heard.clone();
        nodes
            .root(node)
            .on_server_event("refresh", move |event: ServerEvent| {
                let _ = heard.send((node, event.from.clone(), event.data::<u32>().unwrap()));
                async {}
            });
    }
    for number in 0..10 {
        nodes.root(1).server_side_emit("refresh", number).unwrap();
    }
    let mut seen: HashMap<usize, Vec<u32>> = HashMap::new();
    for _ in 0..20 {
        let (node, from, number) = within("a server event", hearing.recv()).await.unwrap();
        assert_eq!(from, nodes.id(1));
        seen.entry(node).or_default().push(number);
    }
    let all: Vec<u32> = (0..10).collect();
    assert_eq!(seen, HashMap::from([(0, all.clone()), (2, all)]));
    assert!(
        nodes.root(1).server_side_emit("connect", ()).is_err(),
        "reserved"
    );
    expect_only(&nodes, &mut clients, &[], "quiet").await;
}

#[tokio::test]
async fn server_events_are_answered_once_by_each_node() {
    let nodes = Nodes::start().await;
    let ask = async |event: &'static str| {
        let root = nodes.root(0);
        let answers = root.server_side_emit_with_ack::<u32>(event, 1, Duration::from_secs(1));
        answers.await.unwrap()
    };
    let first = nodes
        .root(1)
        .on_server_event("sum", |event: ServerEvent| async move {
            Reply(event.data::<u32>().unwrap() + 10)
        });
    nodes
        .root(1)
        .on_server_event("sum", |_: ServerEvent| async { Reply(99) });
    nodes
        .root(2)
        .on_server_event("sum", |_: ServerEvent| async { Reply("text") });
    let answers = ask("sum").await;
    assert!(answers.missing.is_empty());
    let given: HashMap<NodeId, _> = answers.given.into_iter().collect();
    assert_eq!(given[&nodes.id(1)], Ok(11));
    assert!(matches!(
        given[&nodes.id(2)],
        Err(NodeAnswerError::Answer(_))
    ));

    assert!(nodes.root(1).off(first));
    assert!(!nodes.root(1).off(first));
    assert_eq!(ask("sum").await.into_values(), [99]);

    nodes
        .root(1)
        .on_server_event("odd", |event: ServerEvent| async move {
            assert_ne!(event.name, "odd", "a listener that panics");
        });
    let fault = |fault| Err(NodeAnswerError::Fault(fault));
    let given: HashMap<NodeId, _> = ask("odd").await.given.into_iter().collect();
    assert_eq!(given[&nodes.id(1)], fault(Fault::Failed));
    assert_eq!(given[&nodes.id(2)], fault(Fault::NoListener));
    assert_eq!(nodes.count(1, |counts| counts.handler_panics), 1);

    nodes
        .root(1)
        .on_server_event("mute", |_: ServerEvent| async {});
    nodes
        .root(2)
        .on_server_event("mute", |_: ServerEvent| std::future::pending::<()>());
    let answers = ask("mute").await;
    assert_eq!(answers.given, [(nodes.id(1), fault(Fault::NoAnswer))]);
    assert_eq!(answers.missing.len(), 1);
    assert_eq!(answers.missing[0].node, nodes.id(2));
    assert_eq!(answers.missing[0].why, Missing::TimedOut);
    nodes.assert_nothing_waits();
}

#[tokio::test]
async fn server_events_that_wait_are_bounded() {
    let nodes = Nodes::with(2, |_, config| {
        config.cluster.as_mut().unwrap().limits.server_events_max = 1;
    })
    .await;
    let (started, mut starting) = mpsc::unbounded_channel();
    nodes
        .root(1)
        .on_server_event("slow", move |_: ServerEvent| {
            let _ = started.send(());
            std::future::pending::<()>()
        });
    let root = nodes.root(0);
    root.server_side_emit("slow", ()).unwrap();
    within("the listener", starting.recv()).await.unwrap();
    // One runs, one waits, and there is no room for a third.
    root.server_side_emit("slow", ()).unwrap();
    let asked = root.server_side_emit_with_ack::<()>("slow", (), support::PATIENCE);
    let answers = within("the refusal", asked).await.unwrap();
    let busy = Err(NodeAnswerError::Fault(Fault::Busy));
    assert_eq!(answers.given, [(nodes.id(1), busy)]);
    assert_eq!(nodes.count(1, refused), 1);
}

#[tokio::test]
async fn a_node_that_leaves_is_not_waited_for() {
    let mut nodes = Nodes::start().await;
    assert_eq!(nodes.servers[0].server.nodes_count(), 3);
    let left = nodes.id(2);
    nodes
        .root(1)
        .on_server_event("ask", |_: ServerEvent| async { Reply(1) });
    nodes
        .root(2)
        .on_server_event("ask", |_: ServerEvent| std::future::pending::<()>());
    let root = nodes.root(0);
    let asked = tokio::spawn(async move {
        root.server_side_emit_with_ack::<u32>("ask", (), Duration::from_secs(600))
            .await
    });
    nodes.settle(1).await;
    nodes.servers[2].server.shutdown(Duration::ZERO).await;
    let answers = within("the answers", asked).await.unwrap().unwrap();
    assert_eq!(answers.missing.len(), 1);
    assert_eq!(answers.missing[0].node, left);
    assert_eq!(answers.missing[0].why, Missing::Left);
    assert_eq!(answers.into_values(), [1]);
    assert_eq!(nodes.signal(0, "node_left").await, Signal::NodeLeft(left));
    assert_eq!(nodes.servers[0].server.nodes_count(), 2);
    nodes.settle(0).await;
}

#[tokio::test]
async fn a_server_that_is_dropped_leaves() {
    let mut nodes = Nodes::with(2, |_, _| {}).await;
    let gone = nodes.id(1);
    drop(nodes.servers.pop());
    assert_eq!(nodes.signal(0, "node_left").await, Signal::NodeLeft(gone));
}

#[tokio::test]
async fn a_cut_link_is_told_and_counted_and_local_delivery_goes_on() {
    let mut nodes = Nodes::start().await;
    let mut clients = nodes.clients().await;
    let cut = nodes.id(0);
    nodes.cluster.cut(&cut);
    assert!(nodes.signal(0, "link_lost").await.is_loss());
    assert_eq!(nodes.count(0, |counts| counts.cluster_losses), 1);
    nodes.root(0).emit("news", "cut").unwrap();
    clients[0].expect(r#"42["news","cut"]"#).await;
    assert_eq!(nodes.count(0, |counts| counts.adapter_failures), 1);
    let found = within("no waiting", nodes.root(0).broadcast().fetch_sockets()).await;
    assert_eq!(found.sockets.len(), 1, "those of this node are there");
    assert_eq!(found.missing.len(), 2);
    let why = Missing::NotAsked(AdapterError::LinkDown);
    assert!(found.missing.iter().all(|missing| missing.why == why));
    let broadcast = nodes.root(0).broadcast().timeout(support::PATIENCE);
    let asked = tokio::spawn(async move { broadcast.emit_with_ack::<u32>("question", ()).await });
    clients[0].answer().await;
    let answers = within("the answers", asked).await.unwrap().unwrap();
    assert_eq!(answers.missing_nodes.len(), 2);
    assert_eq!(answers.into_values(), [0]);

    nodes.cluster.lose(&cut);
    nodes.signal(1, "node_left").await;
    assert_eq!(nodes.servers[1].server.nodes_count(), 2);
    nodes.cluster.restore(&cut);
    nodes.signal(0, "link_restored").await;
    nodes.signal(1, "node_joined").await;
    nodes.root(0).emit("news", "back").unwrap();
    for client in &mut clients {
        client.expect(r#"42["news","back"]"#).await;
    }
    nodes.settle(0).await;
    nodes.assert_nothing_waits();
}

#[tokio::test]
async fn a_full_queue_is_told_to_the_node_that_lacks_messages() {
    let mut limits = kentongan::MemoryLimits::default();
    limits.queue_messages_max = 10;
    let cluster = MemoryCluster::with_limits(limits);
    let (told, mut signals) = mpsc::unbounded_channel();
    let node = |told: Option<mpsc::UnboundedSender<Signal>>| {
        let mut config = Config::default();
        let settings = ClusterConfig::new(cluster.adapter()).on_signal(move |signal| {
            if let Some(told) = &told {
                let _ = told.send(signal.clone());
            }
        });
        config.cluster = Some(settings);
        Server::new(config).unwrap()
    };
    let (first, second, third) = (node(None), node(None), node(Some(told)));
    // Nobody gets a turn meanwhile, so this node's own queue fills, and says so.
    for number in 0..11 {
        first.of("/").emit("news", number).unwrap();
    }
    assert_eq!(first.metrics().snapshot().adapter_failures, 1);
    // Two senders with ten messages each: the third node has room for ten.
    for number in 0..10 {
        second.of("/").emit("news", number).unwrap();
    }
    let lost = async {
        loop {
            if let Signal::Gap { messages, .. } = signals.recv().await.unwrap() {
                return messages;
            }
        }
    };
    assert_eq!(within("a gap", lost).await, Some(10));
    assert_eq!(third.metrics().snapshot().cluster_losses, 1);
}

/// Counts how often it is closed.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Adapter for Counting {
    fn attach(&self, _: NodeId, _: ClusterLimits, _: Arc<dyn Inbox>) -> Result<(), AdapterError> {
        Ok(())
    }

    fn publish(&self, _: ClusterMessage) -> Result<(), AdapterError> {
        Ok(())
    }

    fn nodes(&self) -> Vec<NodeId> {
        Vec::new()
    }

    fn close(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[tokio::test]
async fn the_last_handle_of_a_server_closes_the_adapter() {
    let adapter = Arc::<Counting>::default();
    let mut config = Config::default();
    config.cluster = Some(ClusterConfig::new(adapter.clone()));
    let server = Server::new(config).unwrap();
    let other = server.clone();
    drop(server);
    assert_eq!(adapter.0.load(Ordering::Acquire), 0);
    drop(other);
    assert_eq!(adapter.0.load(Ordering::Acquire), 1);
}

/// An adapter of somebody else's making.
struct Broken(fn());

impl Adapter for Broken {
    fn attach(&self, _: NodeId, _: ClusterLimits, _: Arc<dyn Inbox>) -> Result<(), AdapterError> {
        Ok(())
    }

    fn publish(&self, _: ClusterMessage) -> Result<(), AdapterError> {
        (self.0)();
        Err(AdapterError::Failed("broken".to_owned()))
    }

    fn nodes(&self) -> Vec<NodeId> {
        (self.0)();
        vec![NodeId::random()]
    }

    fn close(&self) {
        (self.0)();
    }
}

/// socket.io-redis-adapter #190 and its kin: an outage of the broker must not lose what is for this node's clients.
#[tokio::test]
async fn an_adapter_that_fails_or_panics_keeps_nothing_from_local_clients() {
    for fault in [|| {}, || panic!("an adapter that panics")] as [fn(); 2] {
        let mut config = Config::default();
        config.cluster = Some(ClusterConfig::new(Arc::new(Broken(fault))));
        let server = Server::new(config).unwrap();
        let root = server.of("/");
        let served = serve(server).await;
        let mut client = Client::connect(&served, 0).await;
        root.emit("news", 1).unwrap();
        client.expect(r#"42["news",1]"#).await;
        root.broadcast().sockets_join("a").unwrap();
        assert_eq!(root.to("a").fetch_sockets().await.sockets.len(), 1);
        root.server_side_emit("event", ()).unwrap();
        assert!(served.server.metrics().snapshot().adapter_failures >= 3);
        served.server.shutdown(Duration::ZERO).await;
    }
}

fn refused(counts: &kentongan::MetricsSnapshot) -> u64 {
    counts.refused(RefusalCode::ClusterMessage)
}

#[tokio::test]
async fn bad_messages_are_refused_and_counted() {
    let nodes = Nodes::with(2, |_, _| {}).await;
    let mut client = nodes.client(1).await;
    let (own, target) = (nodes.id(0), nodes.id(1));
    let stranger = NodeId::random();
    let body = kentongan::ClusterBody::SocketsJoin {
        audience: Default::default(),
        rooms: vec!["a".into()],
    };
    let message = |from: &NodeId, to: Option<&NodeId>| {
        let message = ClusterMessage::new(from.clone(), to.cloned(), "/".into(), body.clone());
        kentongan::encode_cluster_message(&message, &ClusterLimits::default()).unwrap()
    };
    let bad = [
        Bytes::new(),
        Bytes::from_static(b"\x02"),
        Bytes::from_static(b"\x01nonsense"),
        Bytes::from(vec![1; (8 << 20) + 1]),
        message(&target, None),
        message(&stranger, Some(&own)),
    ];
    let expected = bad.len() as u64;
    for bytes in bad {
        nodes.cluster.inject(&target, bytes);
    }
    nodes.root(0).emit("news", "after").unwrap();
    client.expect(r#"42["news","after"]"#).await;
    assert_eq!(nodes.count(1, refused), expected);
    assert!(nodes.socket(&client).rooms().is_empty());
    nodes.cluster.inject(&target, message(&stranger, None));
    nodes.settle(0).await;
    assert_eq!(
        nodes.socket(&client).rooms(),
        ["a"],
        "the good one is taken"
    );
}

#[tokio::test]
async fn limits_between_nodes_do_not_touch_local_clients() {
    let nodes = Nodes::with(2, |_, config| {
        let limits = &mut config.cluster.as_mut().unwrap().limits;
        limits.message_bytes_max = 10_000;
        limits.message_rooms_max = 2;
        limits.requests_max = 1;
        limits.served_requests_max = 0;
    })
    .await;
    let (mut here, mut there) = (nodes.client(0).await, nodes.client(1).await);
    let root = nodes.root(0);
    let large = "x".repeat(10_000);
    root.emit("news", &large).unwrap();
    assert!(here.next().await.len() > 10_000);
    nodes.socket(&here).join("a").unwrap();
    root.to("a").to("b").to("c").emit("news", "rooms").unwrap();
    here.expect(r#"42["news","rooms"]"#).await;
    assert_eq!(nodes.count(0, |counts| counts.adapter_failures), 2);

    // A node that serves as many requests as it may says so at once.
    let asking = root.broadcast().timeout(support::PATIENCE);
    let asked = tokio::spawn(async move { asking.emit_with_ack::<u32>("question", ()).await });
    here.answer().await;
    let answers = within("the answers", asked).await.unwrap().unwrap();
    assert_eq!(answers.missing_nodes[0].why, Missing::Busy);
    assert_eq!(answers.into_values(), [0]);

    // The second request finds no room, and still has what is on this node.
    let everyone = root.broadcast();
    let (first, second) = tokio::join!(everyone.fetch_sockets(), everyone.fetch_sockets());
    assert_eq!(first.sockets.len(), 2);
    assert_eq!(second.sockets.len(), 1);
    assert_eq!(second.missing[0].why, Missing::TooManyRequests);
    // So has a broadcast that wants answers: this node's clients are asked.
    let asking = root.broadcast().timeout(support::PATIENCE);
    let (_, answers, ()) = tokio::join!(
        everyone.fetch_sockets(),
        asking.emit_with_ack::<u32>("question", ()),
        here.answer()
    );
    let answers = answers.unwrap();
    assert_eq!(answers.missing_nodes[0].why, Missing::TooManyRequests);
    assert_eq!(answers.into_values(), [0]);
    root.emit("news", "fence").unwrap();
    there.expect(r#"42["news","fence"]"#).await;
    nodes.assert_nothing_waits();
}

#[tokio::test]
async fn many_sockets_come_in_parts() {
    let nodes = Nodes::with(2, |_, config| {
        config.cluster.as_mut().unwrap().limits.message_bytes_max = 4_000;
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let client = nodes.client(1).await;
        let data = Value::from("x".repeat(500));
        nodes.socket(&client).set_data(data);
        clients.push(client);
    }
    let found = nodes.root(0).broadcast().fetch_sockets().await;
    assert!(found.missing.is_empty());
    assert_eq!(found.sockets.len(), 20);
}

#[tokio::test]
async fn nodes_may_speak_different_parsers_with_their_clients() {
    let nodes = Nodes::with(2, |node, config| {
        if node == 1 {
            config.parser = Parser::Msgpack;
        }
    })
    .await;
    let mut client = nodes.client(0).await;
    nodes.root(1).emit("news", ("text", 1.5)).unwrap();
    client.expect(r#"42["news","text",1.5]"#).await;
}

#[tokio::test]
async fn recovery_stays_on_its_node_and_says_so() {
    let recovery = kentongan::RecoveryConfig::default();
    // The same key on all nodes: the position can be read, and still belongs to another node's log.
    let nodes = Nodes::with(2, |_, config| config.recovery = Some(recovery.clone())).await;
    let mut ws = Vec::new();
    for server in &nodes.servers {
        let mut socket =
            WebSocket::connect(server.addr, "/socket.io/?EIO=4&transport=websocket").await;
        assert!(socket.text().await.starts_with('0'));
        ws.push(socket);
    }
    ws[0].send_text("40").await;
    let connected = ws[0].text().await;
    let pid = connected.split('"').nth(7).unwrap().to_owned();
    let position = ws[0].text().await;
    let offset = position.rsplit('"').nth(1).unwrap().to_owned();
    // What another node sends has a position of the node that the client is on.
    nodes.root(1).emit("news", "elsewhere").unwrap();
    let event = ws[0].text().await;
    assert!(event.starts_with(r#"42["news","elsewhere",""#), "{event}");
    ws[1]
        .send_text(&format!(r#"40{{"pid":"{pid}","offset":"{offset}"}}"#))
        .await;
    assert!(!ws[1].text().await.contains(&pid));
    let told = ws[1].text().await;
    assert!(told.contains(r#"{"recovery":"unknown"}"#), "{told}");
    assert_eq!(nodes.count(1, |counts| counts.not_recovered), 1);
}

#[tokio::test]
async fn an_adapter_serves_one_server() {
    let cluster = MemoryCluster::new();
    let mut config = Config::default();
    config.cluster = Some(ClusterConfig::new(cluster.adapter()));
    let first = Server::new(config.clone()).unwrap();
    assert_eq!(Server::new(config).unwrap_err().setting, "cluster");
    first.of("/").emit("news", ()).unwrap();
    let failures = first.metrics().snapshot().adapter_failures;
    assert_eq!(failures, 0, "the one that failed must not close it");
}

#[test]
fn a_node_needs_a_runtime() {
    let mut config = Config::default();
    config.cluster = Some(ClusterConfig::new(MemoryCluster::new().adapter()));
    let error = Server::new(config).unwrap_err();
    assert!(error.problem.contains("runtime"));
}
