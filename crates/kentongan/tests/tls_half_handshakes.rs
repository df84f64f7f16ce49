//! Peers that begin a TLS handshake and say no more: cut in time, and nothing is kept of them.
//!
//! A test program of its own, because it counts what the whole process holds.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::time::{Duration, Instant};

use kentongan::Config;
use support::{
    tls::{Identity, echo, refused, start, until},
    within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A12 of the reference: 1,000 peers begin a handshake and say no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_half_handshakes_are_cut_in_time_and_leave_nothing() {
    const PEERS: usize = 1_000;
    const DEADLINE: Duration = Duration::from_secs(1);
    /// Of the busy machine, and of reading a thousand ends.
    const SLACK: Duration = Duration::from_secs(3);
    /// Half of what 2,000 peers leave that keep 12 KiB each, which is less than one handshake holds.
    const KEPT_BYTES_MAX: u64 = 12 << 20;

    support::raise_open_files();
    let identity = Identity::new();
    let tls = identity.tls().with_handshake_timeout(DEADLINE);
    let server = start(Config::default(), tls, echo).await;
    let mut client = identity.join(server.addr).await;
    let (mut descriptors, mut memory) = (0, 0);
    // What the first round leaves is what the allocator and the runtime keep.
    for round in 1..=3 {
        if round == 2 {
            (descriptors, memory) = (open_files(), resident_bytes());
        }
        let mut peers = Vec::new();
        for _ in 0..PEERS {
            let mut peer = TcpStream::connect(server.addr).await.unwrap();
            // A record that announces 512 bytes of ClientHello, and its first ones.
            peer.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252])
                .await
                .unwrap();
            peers.push(peer);
        }
        let began = Instant::now();
        // Others are served meanwhile.
        client.send(r#"42["echo",1]"#).await;
        assert_eq!(client.text().await, r#"42["echo",1]"#);
        for peer in &mut peers {
            let mut rest = Vec::new();
            // An end or a reset: there is nobody to be polite to.
            let _ = within("the end of a half handshake", peer.read_to_end(&mut rest)).await;
        }
        assert!(began.elapsed() < DEADLINE + SLACK, "{:?}", began.elapsed());
        drop(peers);
        let wanted = (round * PEERS) as u64;
        until("all are counted", || refused(&server) == wanted).await;
    }
    let what = format!("no more than {descriptors} open files, as before");
    until(&what, || open_files() <= descriptors).await;
    let kept = resident_bytes().saturating_sub(memory);
    assert!(
        kept <= KEPT_BYTES_MAX,
        "{kept} B are kept of 2,000 half handshakes"
    );
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}
