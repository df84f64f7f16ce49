//! Row A13 of the attacks: a server without descriptors goes on serving those that it has, does not spin, and recovers.
//!
//! The limit is one of a process, so the server runs in a process of its own: this test binary, started once more.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use kentongan::{Config, Data, NotFound, Reply, ServeConfig, Server};
use support::{
    http::{self, Connection},
    websocket::WebSocket,
};

const IS_SERVER: &str = "KENTONGAN_TEST_SERVER_OF_A13";
const DESCRIPTORS_MAX: usize = 64;
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// The server's process; it ends with its standard input.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Clock ticks (a hundredth of a second) that the process has used.
fn ticks(process: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let field = |at: usize| fields.get(at).unwrap().parse::<u64>().unwrap();
    field(11) + field(12)
}

fn spawn() -> (Served, SocketAddr) {
    let limited = format!("ulimit -n {DESCRIPTORS_MAX}; exec \"$0\" \"$@\"");
    let child = Command::new("sh")
        .args(["-c", &limited])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a13_no_descriptors_left", "--nocapture"])
        .env(IS_SERVER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut served = Served(child);
    let mut lines = BufReader::new(served.0.stdout.take().unwrap()).lines();
    let addr = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("listening on ")?.parse().ok())
        .expect("the server starts");
    // Read on, so that it can say how its test went.
    std::thread::spawn(move || lines.count());
    (served, addr)
}

async fn serve() {
    let server = Server::new(Config::default()).unwrap();
    server.of("/").on(
        "echo",
        |Data(number): Data<u32>| async move { Reply(number) },
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\nlistening on {}", listener.local_addr().unwrap());
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(ended);
    });
    let stop = async {
        let _ = end.await;
    };
    server
        .serve(listener, ServeConfig::default(), NotFound, stop)
        .await
        .unwrap();
}

#[tokio::test]
async fn a13_no_descriptors_left() {
    if std::env::var_os(IS_SERVER).is_some() {
        return serve().await;
    }
    let (served, addr) = spawn();
    let mut healthy = WebSocket::connect(addr, WEBSOCKET).await;
    assert!(healthy.text().await.starts_with('0'));
    healthy.send_text("40").await;
    assert!(healthy.text().await.starts_with("40{"));

    // More than it can accept: the kernel takes the rest, up to its backlog.
    let mut silent = Vec::new();
    for _ in 0..2 * DESCRIPTORS_MAX {
        silent.push(Connection::open(addr).await);
    }
    let before = ticks(&served.0);
    for number in 0..20 {
        healthy
            .send_text(&format!(r#"42{number}["echo",{number}]"#))
            .await;
        assert_eq!(healthy.text().await, format!("43{number}[{number}]"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let used = ticks(&served.0) - before;
    // A server that tries to accept again and again uses the whole second.
    assert!(used < 20, "{used} hundredths of a second in one second");
    drop(silent);
    assert_eq!(
        http::get(addr, POLLING).await.status,
        200,
        "there is room again"
    );
}
