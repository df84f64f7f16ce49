//! Sending at the client's pace: who has too much waiting is left out and named, and says when it has caught up.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use kentongan::{Config, Sid, Socket};
use support::{TestServer, http, start, within};
use tokio::sync::mpsc;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A client on polling, which reads when the test says so, and its socket.
struct Client {
    target: String,
    socket: Socket,
}

struct Bench {
    server: TestServer,
    sockets: mpsc::UnboundedReceiver<Socket>,
}

impl Bench {
    async fn start(config: Config) -> Self {
        let server = start(config).await;
        let (tx, sockets) = mpsc::unbounded_channel();
        server.server.of("/").on_connect(move |socket: Socket| {
            let tx = tx.clone();
            async move {
                socket.join("news").unwrap();
                tx.send(socket).unwrap();
            }
        });
        Self { server, sockets }
    }

    async fn join(&mut self) -> Client {
        let answer = http::get(self.server.addr, POLLING).await;
        let sid = answer.text().split('"').nth(3).unwrap().to_owned();
        let target = format!("{POLLING}&sid={sid}");
        http::post(self.server.addr, &target, "40").await;
        let socket = within("a socket", self.sockets.recv()).await.unwrap();
        assert!(self.read(&target).await.starts_with("40{"));
        Client { target, socket }
    }

    async fn read(&self, target: &str) -> String {
        http::get(self.server.addr, target).await.text().to_owned()
    }

    fn emit(&self, data: &str, queued_max: usize) -> (usize, Vec<Sid>) {
        let news = self.server.server.of("/").to("news");
        let paced = news.emit_paced("n", data, queued_max).unwrap();
        (paced.sent, paced.left_out.iter().map(Socket::id).collect())
    }
}

#[tokio::test]
async fn who_has_too_much_waiting_is_left_out_and_named() {
    let mut bench = Bench::start(Config::default()).await;
    let (quick, slow) = (bench.join().await, bench.join().await);
    assert_eq!(bench.emit("one", 10), (2, vec![]));
    assert_eq!(bench.read(&quick.target).await, r#"42["n","one"]"#);
    // 15 bytes wait for the slow one (2 of them the header of a WebSocket frame): one more than allowed, and as many.

    assert_eq!(slow.socket.queued_bytes(), 15);
    assert_eq!(bench.emit("two", 14), (1, vec![slow.socket.id()]));
    assert_eq!(bench.read(&quick.target).await, r#"42["n","two"]"#);
    assert_eq!(bench.emit("six", 15), (2, vec![]));
    assert_eq!(
        bench.read(&slow.target).await,
        "42[\"n\",\"one\"]\u{1e}42[\"n\",\"six\"]"
    );
    assert_eq!(slow.socket.queued_bytes(), 0);
    assert!(slow.socket.is_connected());
}

/// An ordinary broadcast closes a session whose outbox it would overfill.
#[tokio::test]
async fn a_paced_broadcast_overfills_no_outbox() {
    let mut config = Config::default();
    config.limits.message_bytes_max = 1000;
    config.held.outbox_bytes_max = 1000;
    let mut bench = Bench::start(config).await;
    let client = bench.join().await;
    let long = "x".repeat(600);
    assert_eq!(bench.emit(&long, 900), (1, vec![]));
    assert_eq!(bench.emit(&long, 900), (0, vec![client.socket.id()]));
    assert!(client.socket.is_connected());
    assert!(bench.read(&client.target).await.contains(&long));
}

#[tokio::test]
async fn drained_is_told_when_the_client_has_read() {
    let mut bench = Bench::start(Config::default()).await;
    let client = bench.join().await;
    assert!(client.socket.drained(0).await, "nothing waits");
    client.socket.emit("n", "one").unwrap();
    assert!(client.socket.drained(15).await, "as much as allowed");
    let drained = tokio::spawn(client.socket.drained(14));
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    // More comes meanwhile; the mail of the session's task must not let go of who waits.
    client.socket.join("other").unwrap();
    bench.read(&client.target).await;
    assert!(within("drained", drained).await.unwrap());
}

/// Both waited with the same waker, and the second one took the place of the first.
#[tokio::test]
async fn one_task_may_wait_for_two_bounds() {
    let mut bench = Bench::start(Config::default()).await;
    let client = bench.join().await;
    // One more than a polling body takes.
    for _ in 0..17 {
        client.socket.emit("n", "one").unwrap();
    }
    let (some, all) = (client.socket.drained(15), client.socket.drained(0));
    let told = tokio::spawn(async {
        tokio::select! {
            biased;
            is_connected = some => ("some", is_connected),
            is_connected = all => ("all", is_connected),
        }
    });
    tokio::task::yield_now().await;
    bench.read(&client.target).await;
    assert_eq!(client.socket.queued_bytes(), 15);
    assert_eq!(within("told", told).await.unwrap(), ("some", true));
}

#[tokio::test]
async fn drained_is_told_when_the_client_has_left() {
    let mut bench = Bench::start(Config::default()).await;
    for how in 0..3 {
        let client = bench.join().await;
        client.socket.emit("n", "one").unwrap();
        let drained = tokio::spawn(client.socket.drained(0));
        tokio::task::yield_now().await;
        match how {
            0 => client.socket.disconnect(),
            1 => client.socket.close_connection(),
            _ => {
                http::post(bench.server.addr, &client.target, "1").await;
            }
        }
        assert!(!within("the end", drained).await.unwrap(), "{how}");
        assert!(!client.socket.drained(0).await, "{how}");
    }
}

#[tokio::test]
async fn a_volatile_broadcast_counts_whom_it_reached() {
    let mut bench = Bench::start(Config::default()).await;
    let (reading, _away) = (bench.join().await, bench.join().await);
    let parked = {
        let (addr, target) = (bench.server.addr, reading.target.clone());
        tokio::spawn(async move { http::get(addr, &target).await.text().to_owned() })
    };
    let news = || bench.server.server.of("/").to("news");
    within("a parked GET", async {
        while news().emit_volatile("v", 1).unwrap().sent == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(parked.await.unwrap(), r#"42["v",1]"#);
    let reached = news().emit_volatile("v", 2).unwrap();
    assert_eq!((reached.sent, reached.dropped), (0, 2));
}
