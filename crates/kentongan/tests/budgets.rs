//! Budgets of memory that the library holds itself to: what an idle connection costs, and what a broadcast allocates.
//!
//! The server runs on the test's own thread and the clients on another one, because allocations are counted per thread.

#![expect(clippy::unwrap_used, reason = "the bench is only ever part of a test")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use allocation_counter::measure;
use kentongan::{
    Config, Deflate, HandshakeRetention, NotFound, Parser, ServeConfig, Server, Socket,
};
use tokio::{net::TcpListener, runtime, sync::Notify};

/// A server on a current-thread runtime, with clients that only hold their end of the connection.
struct Bench {
    runtime: runtime::Runtime,
    server: Server,
    addr: SocketAddr,
    connected: Arc<AtomicUsize>,
    changed: Arc<Notify>,
    clients: Vec<TcpStream>,
}

impl Bench {
    fn new() -> Self {
        Self::with(None)
    }

    /// With `deflate`, which the clients offer.
    fn with(deflate: Option<Deflate>) -> Self {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut config = Config::default();
        config.handshake_retention = HandshakeRetention::WithoutHeaders;
        config.parser = Parser::Json;
        config.deflate = deflate;
        let server = Server::new(config).unwrap();
        let (connected, changed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (count, notify) = (Arc::clone(&connected), Arc::clone(&changed));
        server.of("/").on_connect(move |socket: Socket| {
            let (count, notify) = (Arc::clone(&count), Arc::clone(&notify));
            async move {
                socket.join("everyone").unwrap();
                socket.join("a room").unwrap();
                count.fetch_add(1, Ordering::AcqRel);
                notify.notify_one();
            }
        });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let serving = server.clone();
        runtime.spawn(async move {
            serving
                .serve(
                    listener,
                    ServeConfig::default(),
                    NotFound,
                    std::future::pending(),
                )
                .await
        });
        Self {
            runtime,
            server,
            addr,
            connected,
            changed,
            clients: Vec::new(),
        }
    }

    /// Lets every task take its turn, so that all outboxes are empty.
    fn settle(&self) {
        self.runtime.block_on(async {
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Connects `more` clients and returns the live bytes that this added on the server's thread.
    fn connect(&mut self, more: usize) -> i64 {
        let addr = self.addr;
        let goal = self.connected.load(Ordering::Acquire) + more;
        let clients =
            thread::spawn(move || (0..more).map(|_| connect(addr)).collect::<Vec<TcpStream>>());
        let counted = measure(|| {
            self.runtime.block_on(async {
                while self.connected.load(Ordering::Acquire) < goal || !clients.is_finished() {
                    // Woken by connects; yields let the last writes through.
                    if self.connected.load(Ordering::Acquire) < goal {
                        self.changed.notified().await;
                    } else {
                        tokio::task::yield_now().await;
                    }
                }
            });
        });
        self.clients.extend(clients.join().unwrap());
        counted.bytes_current
    }
}

/// A WebSocket that has joined `/`, by hand: a client library would need memory of its own.
fn connect(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    // A server without compression passes over the extension.
    let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    read_until(&mut stream, b"\"maxPayload\":1000000}");
    // "40" under a mask of zeros.
    stream
        .write_all(&[0x81, 0x82, 0, 0, 0, 0, b'4', b'0'])
        .unwrap();
    read_until(&mut stream, b"40{\"sid\"");
    stream
}

fn read_until(stream: &mut TcpStream, expected: &[u8]) {
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    while !seen
        .windows(expected.len())
        .any(|window| window == expected)
    {
        let length = stream.read(&mut buffer).unwrap();
        assert!(
            length > 0,
            "closed after {}",
            String::from_utf8_lossy(&seen)
        );
        seen.extend_from_slice(&buffer[..length]);
    }
}

#[test]
fn an_idle_websocket_in_one_namespace_and_two_rooms_costs_at_most_2500_bytes() {
    let mut bench = Bench::new();
    // Tables grow by doubling: from here on the average is what counts.
    bench.connect(200);
    let more: u32 = 400;
    let bytes = bench.connect(more as usize);
    let per_connection = bytes as f64 / f64::from(more);
    println!("heap per idle connection: {per_connection:.0} B");
    assert!(
        per_connection <= 2500.0,
        "{per_connection:.0} B per idle connection"
    );
}

#[test]
fn a_broadcast_allocates_the_same_whatever_the_number_of_recipients() {
    let mut bench = Bench::new();
    let mut counts = Vec::new();
    for more in [10, 190, 300] {
        bench.connect(more);
        bench.settle();
        let root = bench.server.of("/");
        // The first one warms up what is made once per thread.
        root.to("everyone").emit("news", "x".repeat(100)).unwrap();
        bench.settle();
        let payload = "y".repeat(100);
        let counted = measure(|| root.to("everyone").emit("news", &payload).unwrap());
        counts.push(counted.count_total);
    }
    println!("allocations per broadcast to 10, 200 and 500: {counts:?}");
    assert!(counts.iter().all(|count| *count <= 8), "{counts:?}");
    assert_eq!(counts.first(), counts.last(), "they must not grow");
}

#[test]
fn a_broadcast_is_compressed_once_for_all() {
    // Half of it is left when it is compressed, so every further compression would show.
    let payload: String = (0_u32..2_048)
        .map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761)))
        .collect();
    let allocated = |deflate| {
        let mut bench = Bench::with(deflate);
        let written = |bench: &Bench| bench.server.metrics().snapshot().bytes_out;
        let mut found = Vec::new();
        for more in [10, 190] {
            bench.connect(more);
            bench.settle();
            let root = bench.server.of("/");
            // The first one warms up what is made once per thread.
            root.to("everyone").emit("news", &payload).unwrap();
            bench.settle();
            let before = written(&bench);
            let counted = measure(|| {
                root.to("everyone").emit("news", &payload).unwrap();
                bench.settle();
            });
            let each = (written(&bench) - before) / bench.clients.len() as u64;
            found.push((each, counted.bytes_total, counted.count_total));
        }
        found
    };
    let plain = allocated(None);
    let compressed = allocated(Some(Deflate { bytes_min: 0 }));
    println!(
        "bytes for each, bytes and allocations to 10 and 200: plain {plain:?}, compressed {compressed:?}"
    );
    let length = payload.len() as u64;
    for (plain, compressed) in plain.iter().zip(&compressed) {
        assert!(
            plain.0 >= length && compressed.0 <= length * 3 / 4,
            "it is compressed"
        );
        let (more_bytes, more_allocations) = (
            compressed.1.saturating_sub(plain.1),
            compressed.2.saturating_sub(plain.2),
        );
        assert!(more_bytes <= 3 * length, "{more_bytes} B more");
        assert!(
            more_allocations <= 20,
            "{more_allocations} allocations more"
        );
    }
}
