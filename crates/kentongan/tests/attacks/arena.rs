//! One server and its healthy clients for all rows, and the five rules that every row is held to.
//!
//! The server has a thread of its own, because allocations are counted per thread: what a row costs the server is then
//! known to the byte, whatever the attackers hold. Rows run one at a time.

use std::{
    future::Future,
    net::SocketAddr,
    panic,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU16, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use allocation_counter::{AllocationInfo, measure};
use kentongan::{
    BodyRate, Config, Data, Deflate, MetricsSnapshot, NotFound, Parser, RateLimits, RefusalCode,
    Reply, ServeConfig, Server, Socket, UnauthenticatedLimits, Value,
};
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    sync::mpsc as async_mpsc,
};

use crate::healthy::{self, Crowd};

/// Healthy clients beside every attack.
pub(crate) const HEALTHY: usize = 200;
/// Heap that a row may take on the server's thread at its height.
const PEAK_BYTES_MAX: u64 = 16 << 20;
/// Heap that may be left when its sessions are gone: tables keep their size, and healthy traffic is under way.
const LEFT_BYTES_MAX: i64 = 1 << 20;
/// Descriptors that may differ when a row is over.
const DESCRIPTORS_SLACK: usize = 5;
/// How long anything may take that takes no time on a machine at rest.
const PATIENCE: Duration = Duration::from_secs(20);
const SERVER_THREAD: &str = "server under attack";

static ARENA: OnceLock<Arena> = OnceLock::new();
static ONE_ROW: Mutex<()> = Mutex::new(());
static PANICS: AtomicU64 = AtomicU64::new(0);
static NEXT_ADDRESS: AtomicU16 = AtomicU16::new(0);

/// The server under attack.
pub(crate) struct Arena {
    pub(crate) addr: SocketAddr,
    /// A second server on the same thread, which speaks msgpack.
    pub(crate) msgpack: SocketAddr,
    pub(crate) server: Server,
    clients: Runtime,
    crowd: Crowd,
    phases: Phases,
}

/// Marks between which the server's allocations are counted.
struct Phases {
    mark: async_mpsc::UnboundedSender<()>,
    counted: Mutex<mpsc::Receiver<AllocationInfo>>,
}

impl Phases {
    /// Ends a phase and begins the next.
    fn mark(&self) -> AllocationInfo {
        self.mark.send(()).unwrap();
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted
            .recv_timeout(PATIENCE)
            .expect("the server's thread is alive")
    }
}

/// A counter that a row must move: rule (e).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moves {
    Refusals(RefusalCode),
    AcksUnexpected,
    ReadsPaused,
    SocketsConnected,
}

impl Moves {
    fn read(self, metrics: &MetricsSnapshot) -> u64 {
        match self {
            Self::Refusals(code) => metrics.refused(code),
            Self::AcksUnexpected => metrics.acks_unexpected,
            Self::ReadsPaused => metrics.reads_paused,
            Self::SocketsConnected => metrics.sockets_connected,
        }
    }
}

/// An address that no row has used, alone in its /24, as a trusted proxy reports it.
pub(crate) fn fresh_address() -> String {
    let [high, low] = NEXT_ADDRESS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    format!("100.{high}.{low}.1")
}

/// Runs `row` beside the healthy clients and holds it to the rules. The attacker's checks of what it is told are in `row`.
pub(crate) fn attack<F>(moves: &[Moves], row: impl FnOnce(&'static Arena) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let _alone = ONE_ROW.lock().unwrap_or_else(PoisonError::into_inner);
    let arena = ARENA.get_or_init(Arena::new);
    let started = Instant::now();
    arena.settled("before the attack", usize::MAX);
    let descriptors = descriptors();
    let metrics = arena.server.metrics().snapshot();
    let panics = PANICS.load(Ordering::SeqCst);
    arena.phases.mark();

    let attack = row(arena);
    arena.clients.block_on(async {
        tokio::time::timeout(PATIENCE, attack)
            .await
            .expect("the attack is over in time")
    });

    let after = arena.server.metrics().snapshot();
    arena.settled("after the attack", descriptors);
    arena.crowd.go_on(PATIENCE);
    let heap = arena.phases.mark();
    assert_eq!(PANICS.load(Ordering::SeqCst), panics, "(a) a panic");
    println!(
        "{}: {:.1} s, peak {} KiB, left {} KiB",
        thread::current().name().unwrap_or_default(),
        started.elapsed().as_secs_f64(),
        heap.bytes_max / 1024,
        heap.bytes_current / 1024
    );
    assert!(
        heap.bytes_max <= PEAK_BYTES_MAX,
        "(b) {} bytes of heap",
        heap.bytes_max
    );
    assert!(
        heap.bytes_current <= LEFT_BYTES_MAX,
        "(b) {} bytes of heap are left",
        heap.bytes_current
    );
    for counter in moves {
        assert!(
            counter.read(&after) > counter.read(&metrics),
            "(e) {counter:?} did not move"
        );
    }
}

/// Open descriptors of this process: ours and those of all clients.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

impl Arena {
    fn new() -> Self {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name() == Some(SERVER_THREAD) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(info);
        }));
        let (started, ready) = mpsc::channel();
        let (mark, marks) = async_mpsc::unbounded_channel();
        let (count, counted) = mpsc::channel();
        thread::Builder::new()
            .name(SERVER_THREAD.to_owned())
            .spawn(move || serve(&started, marks, &count))
            .unwrap();
        let (server, addr, msgpack) = ready.recv().unwrap();
        let clients = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let crowd = clients.block_on(healthy::connect(addr, HEALTHY));
        Self {
            addr,
            msgpack,
            server,
            clients,
            crowd,
            phases: Phases {
                mark,
                counted: Mutex::new(counted),
            },
        }
    }

    /// Waits until only the healthy clients are left, with no more descriptors than before.
    fn settled(&self, when: &str, before: usize) {
        let limit = before.saturating_add(DESCRIPTORS_SLACK);
        let started = Instant::now();
        loop {
            let (sessions, open) = (self.server.sessions_count(), descriptors());
            if sessions == HEALTHY && open <= limit {
                return;
            }
            self.crowd.content();
            assert!(
                started.elapsed() < PATIENCE,
                "{when}: (c) {open} descriptors, {before} before; {sessions} sessions, (d) {HEALTHY} are healthy"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn serve(
    started: &mpsc::Sender<(Server, SocketAddr, SocketAddr)>,
    mut marks: async_mpsc::UnboundedReceiver<()>,
    counted: &mpsc::Sender<AllocationInfo>,
) {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let server = Server::new(config()).unwrap();
    prepare(&server);
    let mut binary = config();
    binary.parser = Parser::Msgpack;
    let msgpack = Server::new(binary).unwrap();
    prepare(&msgpack);
    let addr = listen(&runtime, &server);
    let msgpack = listen(&runtime, &msgpack);
    runtime.spawn(healthy::broadcast(server.clone()));
    started.send((server, addr, msgpack)).unwrap();
    loop {
        let mut goes_on = true;
        let info = measure(|| goes_on = runtime.block_on(marks.recv()).is_some());
        if !goes_on || counted.send(info).is_err() {
            return;
        }
    }
}

fn listen(runtime: &Runtime, server: &Server) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    let server = server.clone();
    let mut limits = ServeConfig::default();
    limits.head_timeout = Duration::from_secs(1);
    runtime.spawn(async move {
        server
            .serve(listener, limits, NotFound, std::future::pending())
            .await
    });
    addr
}

/// What we recommend to a public server, with times shortened so that the whole file takes less than a minute.
fn config() -> Config {
    let mut config = Config::default();
    config.rates = RateLimits::recommended();
    config.unauthenticated = UnauthenticatedLimits::recommended();
    config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    config.deflate = Some(Deflate::default());
    config.connect_timeout = Duration::from_secs(2);
    config.attachments_timeout = Duration::from_millis(500);
    config.upgrade_timeout = Duration::from_millis(500);
    config.close_timeout = Duration::from_millis(500);
    config.ack_timeout = Duration::from_millis(500);
    config.body_rate = Some(BodyRate {
        bytes_per_second_min: 1024,
        grace: Duration::from_millis(500),
    });
    config
}

fn prepare(server: &Server) {
    let root = server.of("/");
    root.on(
        "echo",
        |Data(value): Data<Value>| async move { Reply(value) },
    );
    root.on(
        "join",
        |socket: Socket, Data(room): Data<String>| async move { Reply(socket.join(room).is_ok()) },
    );
    root.on(
        "call",
        |socket: Socket, Data(times): Data<usize>| async move {
            for _ in 0..times.min(100) {
                let socket = socket.clone();
                tokio::spawn(async move { socket.emit_with_ack::<Value>("called", ()).await });
            }
        },
    );
    for number in 0..40 {
        let _ = server.of(&format!("/n{number}"));
    }
}
