//! Clients that do nothing wrong: each asks for echoes without end and follows one broadcast. What they miss, get twice,
//! or get out of order is written down as their complaint.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use kentongan::Server;
use tokio::sync::mpsc;

use crate::support::{
    http::Connection,
    websocket::{Received, WebSocket},
};

const ECHO_INTERVAL: Duration = Duration::from_millis(150);
const NEWS_INTERVAL: Duration = Duration::from_millis(100);
/// How long an echo or a broadcast may take. No test of speed: a server that hangs takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

static NEWS: AtomicU64 = AtomicU64::new(0);

/// All of them.
pub(crate) struct Crowd {
    members: Vec<Arc<Member>>,
}

#[derive(Default)]
struct Member {
    name: String,
    /// The next echo that it waits for.
    echoes: AtomicU64,
    /// The last number of the broadcast.
    news: AtomicU64,
    complaint: Mutex<Option<String>>,
}

/// Sends the numbers that all of them follow.
pub(crate) async fn broadcast(server: Server) {
    let mut tick = tokio::time::interval(NEWS_INTERVAL);
    loop {
        tick.tick().await;
        let number = NEWS.load(Ordering::SeqCst) + 1;
        server.of("/").broadcast().emit("news", number).unwrap();
        NEWS.store(number, Ordering::SeqCst);
    }
}

/// Connects `count` clients, every fourth by polling, each from an address of its own.
pub(crate) async fn connect(addr: SocketAddr, count: usize) -> Crowd {
    let mut members = Vec::new();
    for number in 0..count {
        let forwarded = format!("10.0.{number}.1");
        let is_polling = number % 4 == 0;
        let member = Arc::new(Member {
            name: format!(
                "{} {number}",
                if is_polling { "polling" } else { "websocket" }
            ),
            ..Member::default()
        });
        members.push(Arc::clone(&member));
        if is_polling {
            let polling = Polling::connect(addr, &forwarded).await;
            tokio::spawn(live(member, Wire::Polling(polling)));
        } else {
            let target = "/socket.io/?EIO=4&transport=websocket";
            let headers = [("X-Forwarded-For", forwarded.as_str())];
            let mut websocket = WebSocket::try_connect(addr, target, &headers)
                .await
                .expect("a healthy client is let in");
            assert!(websocket.text().await.starts_with('0'));
            websocket.send_text("40").await;
            tokio::spawn(live(member, Wire::WebSocket(Box::new(websocket))));
        }
    }
    let crowd = Crowd { members };
    let all_hear = async {
        while crowd
            .members
            .iter()
            .any(|member| member.news.load(Ordering::SeqCst) == 0)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_hear)
        .await
        .expect("all are connected");
    crowd
}

impl Crowd {
    /// Panics with the first complaint, if there is one.
    pub(crate) fn content(&self) {
        for member in &self.members {
            if let Some(complaint) = member.complaint.lock().unwrap().as_ref() {
                panic!("(d) {}: {complaint}", member.name);
            }
        }
    }

    /// Waits until every member has got an echo that it asked for from now on, and everything broadcast so far.
    pub(crate) fn go_on(&self, patience: Duration) {
        let news = NEWS.load(Ordering::SeqCst);
        let goals: Vec<_> = self
            .members
            .iter()
            .map(|member| member.echoes.load(Ordering::SeqCst) + 2)
            .collect();
        let started = Instant::now();
        for (member, goal) in self.members.iter().zip(goals) {
            loop {
                self.content();
                let seen = (
                    member.echoes.load(Ordering::SeqCst),
                    member.news.load(Ordering::SeqCst),
                );
                if seen.0 >= goal && seen.1 >= news {
                    break;
                }
                assert!(
                    started.elapsed() < patience,
                    "(d) {}: echo and broadcast at {seen:?}, expected {:?}",
                    member.name,
                    (goal, news)
                );
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

enum Wire {
    WebSocket(Box<WebSocket>),
    Polling(Polling),
}

/// GETs run in a task of their own: one may be parked while an event is posted.
struct Polling {
    posts: Connection,
    target: String,
    forwarded: String,
    received: mpsc::UnboundedReceiver<String>,
}

impl Polling {
    async fn connect(addr: SocketAddr, forwarded: &str) -> Self {
        let mut posts = Connection::open(addr).await;
        let headers = [("X-Forwarded-For", forwarded)];
        let target = "/socket.io/?EIO=4&transport=polling";
        posts.request("GET", target, &headers, b"").await;
        let answer = posts.answer().await;
        assert_eq!(answer.status, 200, "a healthy client is let in");
        let sid = answer.text().split('"').nth(3).unwrap().to_owned();
        let target = format!("{target}&sid={sid}");
        posts.request("POST", &target, &headers, b"40").await;
        assert_eq!(posts.answer().await.text(), "ok");
        let mut gets = Connection::open(addr).await;
        let (sender, received) = mpsc::unbounded_channel();
        let path = target.clone();
        tokio::spawn(async move {
            loop {
                gets.request("GET", &path, &[], b"").await;
                let answer = gets.answer().await;
                let packets = if answer.status == 200 {
                    answer.text().to_owned()
                } else {
                    format!("status {}", answer.status)
                };
                for packet in packets.split('\u{1e}') {
                    if sender.send(packet.to_owned()).is_err() {
                        return;
                    }
                }
            }
        });
        Self {
            posts,
            target,
            forwarded: forwarded.to_owned(),
            received,
        }
    }
}

impl Wire {
    async fn send(&mut self, packet: &str) -> Result<(), String> {
        match self {
            Self::WebSocket(websocket) => websocket.send_text(packet).await,
            Self::Polling(polling) => {
                // The server may have closed a connection that was quiet for as long as a head may take.
                let headers = [("X-Forwarded-For", polling.forwarded.as_str())];
                let (target, body) = (&polling.target, packet.as_bytes());
                polling.posts.request("POST", target, &headers, body).await;
                let answer = polling.posts.answer().await;
                if answer.text() != "ok" {
                    return Err(format!("{packet} was answered with {answer:?}"));
                }
            }
        }
        Ok(())
    }

    /// Cancel-safe.
    async fn recv(&mut self) -> Result<String, String> {
        match self {
            Self::WebSocket(websocket) => match websocket.recv().await {
                Received::Text(text) => Ok(text),
                other => Err(format!("disconnected: {other:?}")),
            },
            Self::Polling(polling) => polling
                .received
                .recv()
                .await
                .ok_or_else(|| "its poll failed".to_owned()),
        }
    }
}

async fn live(member: Arc<Member>, mut wire: Wire) {
    let error = loop {
        if let Err(error) = turn(&member, &mut wire).await {
            break error;
        }
    };
    member.complaint.lock().unwrap().get_or_insert(error);
}

/// One echo, and what comes meanwhile.
async fn turn(member: &Member, wire: &mut Wire) -> Result<(), String> {
    let number = member.echoes.load(Ordering::SeqCst);
    let expected = format!("43{number}[{number}]");
    // The CONNECT comes first of all.
    if number == 0 {
        let connected = timely(wire.recv()).await?;
        if !connected.starts_with("40{") {
            return Err(format!("expected to be connected, got {connected}"));
        }
    }
    wire.send(&format!(r#"42{number}["echo",{number}]"#))
        .await?;
    let mut next = std::pin::pin!(tokio::time::sleep(ECHO_INTERVAL));
    let mut is_answered = false;
    let mut is_time = false;
    while !(is_answered && is_time) {
        let packet = tokio::select! {
            () = next.as_mut(), if !is_time => {
                is_time = true;
                continue;
            }
            packet = timely(wire.recv()) => packet?,
        };
        if packet == "2" {
            wire.send("3").await?;
        } else if packet == expected && !is_answered {
            is_answered = true;
        } else if let Some(news) = packet
            .strip_prefix(r#"42["news","#)
            .and_then(|rest| rest.strip_suffix(']'))
        {
            let news: u64 = news.parse().unwrap();
            let last = member.news.swap(news, Ordering::SeqCst);
            if last != 0 && news != last + 1 {
                return Err(format!("broadcast {news} after {last}"));
            }
        } else {
            return Err(format!("waiting for {expected}, got {packet}"));
        }
    }
    member.echoes.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

async fn timely<T>(receive: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(PATIENCE, receive)
        .await
        .unwrap_or_else(|_| Err(format!("nothing came in {PATIENCE:?}")))
}
