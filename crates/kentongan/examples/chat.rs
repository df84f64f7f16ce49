//! A chat with three rooms: rooms, acknowledgements, volatile events, and connection state recovery, with its web page.
//!
//! ```text
//! cargo run --release -p kentongan --example chat
//! ```
//!
//! and open <http://127.0.0.1:8080> in two windows. `--listen ADDRESS:PORT` listens elsewhere (port 0 takes a free one),
//! `--web DIR` serves the page from a folder instead of the copy in the program. What page and server say to each other is
//! in `web/chat/PROTOCOL.md`.

use std::{
    collections::VecDeque,
    convert::Infallible,
    error::Error,
    future::{Ready, ready},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use kentongan::{Ack, Config, Data, Namespace, RecoveryConfig, ServeConfig, Server, Socket, Value};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let page = match &options.web {
        None => Page::embedded(),
        Some(folder) => Page::read(folder.as_ref())?,
    };

    let mut config = Config::default();
    // A dead line is noticed within ten seconds, so that the page can say so.
    config.ping_interval = Duration::from_secs(5);
    config.ping_timeout = Duration::from_secs(5);
    config.recovery = Some(RecoveryConfig::default());
    let server = Server::new(config)?;
    install(&server.of("/"), &Arc::new(Chat::new()));

    let listener = TcpListener::bind(&options.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    server
        .serve(listener, ServeConfig::default(), page, stop_signal())
        .await?;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

// --- the chat ---

/// All that the server knows. It is gone with the process, which is why clients are told the `epoch`.
struct Chat {
    epoch: String,
    connections: AtomicU64,
    rooms: [Room; 3],
}

struct Room {
    name: &'static str,
    /// Held while something is numbered, kept and sent, so that everyone sees one order.
    state: Mutex<RoomState>,
}

#[derive(Default)]
struct RoomState {
    seq: u64,
    log: VecDeque<Message>,
    joins: u64,
    present: Vec<Presence>,
}

/// A window that is in a room.
struct Presence {
    connection: Connection,
    /// Grows with every join: who joined last has the higher number.
    joined: u64,
    member: Member,
}

/// Names one connection of one socket. Not the socket's id: a client that recovers gets its id back, and its new
/// connection may be here before the old one has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Connection(u64);

#[derive(Clone, Serialize)]
struct Member {
    user: String,
    name: String,
}

#[derive(Clone, Serialize)]
struct Message {
    room: &'static str,
    id: String,
    seq: u64,
    user: String,
    name: String,
    text: String,
    at: u64,
}

#[derive(Serialize)]
struct Joined<'a> {
    ok: bool,
    epoch: &'a str,
    history: Vec<&'a Message>,
    members: &'a [Member],
}

#[derive(Serialize)]
struct Posted {
    ok: bool,
    seq: u64,
    at: u64,
}

#[derive(Serialize)]
struct Members<'a> {
    room: &'static str,
    members: &'a [Member],
}

#[derive(Serialize)]
struct Typing<'a> {
    room: &'static str,
    #[serde(flatten)]
    member: &'a Member,
    on: bool,
}

#[derive(Serialize)]
struct Refused {
    ok: bool,
    error: Problem,
}

#[derive(Serialize)]
struct Problem {
    code: &'static str,
    message: &'static str,
}

/// Tells the namespace what to do.
fn install(namespace: &Namespace, chat: &Arc<Chat>) {
    let state = Arc::clone(chat);
    namespace.on_connect(move |socket: Socket| {
        socket.insert(Connection(
            state.connections.fetch_add(1, Ordering::Relaxed),
        ));
        ready(())
    });
    let state = Arc::clone(chat);
    namespace.on(
        "join",
        move |socket: Socket, Data(request): Data<Value>, ack: Ack| {
            let chat = Arc::clone(&state);
            async move {
                if let Err(problem) = chat.join(&socket, &request, &ack) {
                    ack.send(Refused {
                        ok: false,
                        error: problem,
                    });
                }
            }
        },
    );
    let state = Arc::clone(chat);
    namespace.on(
        "post",
        move |socket: Socket, Data(request): Data<Value>, ack: Ack| {
            let chat = Arc::clone(&state);
            async move {
                match chat.post(&socket, &request) {
                    Ok(posted) => ack.send(posted),
                    Err(problem) => ack.send(Refused {
                        ok: false,
                        error: problem,
                    }),
                }
            }
        },
    );
    let state = Arc::clone(chat);
    namespace.on(
        "typing",
        move |socket: Socket, Data(request): Data<Value>| {
            let chat = Arc::clone(&state);
            async move { chat.typing(&socket, &request) }
        },
    );
    let state = Arc::clone(chat);
    namespace.on_disconnect(move |socket: Socket| {
        let chat = Arc::clone(&state);
        async move { chat.left(&socket) }
    });
}

impl Chat {
    fn new() -> Self {
        let room = |name| Room {
            name,
            state: Mutex::default(),
        };
        Self {
            epoch: unix_millis().to_string(),
            connections: AtomicU64::new(0),
            rooms: ["square", "market", "night-watch"].map(room),
        }
    }

    fn room(&self, request: &Value) -> Option<&Room> {
        let name = request.get("room")?.as_str()?;
        self.rooms.iter().find(|room| room.name == name)
    }

    fn join(&self, socket: &Socket, request: &Value, ack: &Ack) -> Result<(), Problem> {
        let room = self.room(request).ok_or(NO_SUCH_ROOM)?;
        let user = text(request, "user", USER_UNITS_MAX).ok_or(BAD_NAME)?;
        let name = text(request, "name", NAME_UNITS_MAX).ok_or(BAD_NAME)?;
        // A window that has just gone has no answer to wait for.
        let Some(connection) = socket.value::<Connection>() else {
            return Ok(());
        };
        if socket.join(room.name).is_err() {
            return Ok(());
        }
        let mut state = room.state.lock();
        state.enter(connection, Member { user, name });
        let members = state.members();
        let history = state
            .log
            .iter()
            .skip(state.log.len().saturating_sub(HISTORY_SENT))
            .collect();
        ack.clone().send(Joined {
            ok: true,
            epoch: &self.epoch,
            history,
            members: &members,
        });
        tell_members(&socket.namespace(), room.name, &members);
        Ok(())
    }

    fn post(&self, socket: &Socket, request: &Value) -> Result<Posted, Problem> {
        let room = self.room(request).ok_or(NOT_JOINED)?;
        let mut state = room.state.lock();
        let member = state.member(socket).cloned().ok_or(NOT_JOINED)?;
        let id = text(request, "id", ID_UNITS_MAX).ok_or(BAD_MESSAGE)?;
        let text = text(request, "text", TEXT_UNITS_MAX).ok_or(BAD_MESSAGE)?;
        // The page posts again what it has no answer for, after the line was down.
        if let Some(known) = state
            .log
            .iter()
            .find(|message| message.id == id && message.user == member.user)
        {
            return Ok(Posted {
                ok: true,
                seq: known.seq,
                at: known.at,
            });
        }
        state.seq += 1;
        let Member { user, name } = member;
        let message = Message {
            room: room.name,
            id,
            seq: state.seq,
            user,
            name,
            text,
            at: unix_millis(),
        };
        let posted = Posted {
            ok: true,
            seq: message.seq,
            at: message.at,
        };
        // Fails only for what can never be sent, such as a reserved name.
        let _ = socket.to(room.name).emit("message", &message);
        state.log.push_back(message);
        if state.log.len() > HISTORY_KEPT {
            state.log.pop_front();
        }
        Ok(posted)
    }

    fn typing(&self, socket: &Socket, request: &Value) {
        let Some(room) = self.room(request) else {
            return;
        };
        let state = room.state.lock();
        let Some(member) = state.member(socket) else {
            return;
        };
        let on = request.get("on").and_then(Value::as_bool).unwrap_or(false);
        let _ = socket.to(room.name).volatile().emit(
            "typing",
            Typing {
                room: room.name,
                member,
                on,
            },
        );
    }

    fn left(&self, socket: &Socket) {
        let Some(connection) = socket.value::<Connection>() else {
            return;
        };
        for room in &self.rooms {
            let mut state = room.state.lock();
            let before = state.present.len();
            state
                .present
                .retain(|presence| presence.connection != connection);
            if state.present.len() < before {
                tell_members(&socket.namespace(), room.name, &state.members());
            }
        }
    }
}

impl RoomState {
    fn enter(&mut self, connection: Connection, member: Member) {
        self.joins += 1;
        let joined = self.joins;
        match self
            .present
            .iter_mut()
            .find(|presence| presence.connection == connection)
        {
            Some(presence) => {
                *presence = Presence {
                    connection,
                    joined,
                    member,
                }
            }
            None => self.present.push(Presence {
                connection,
                joined,
                member,
            }),
        }
    }

    fn member(&self, socket: &Socket) -> Option<&Member> {
        let connection = socket.value::<Connection>()?;
        self.present
            .iter()
            .find(|presence| presence.connection == connection)
            .map(|presence| &presence.member)
    }

    /// One entry per person, in the order of coming, with the name that was chosen last.
    fn members(&self) -> Vec<Member> {
        let mut people: Vec<&Presence> = Vec::new();
        for presence in &self.present {
            match people
                .iter_mut()
                .find(|each| each.member.user == presence.member.user)
            {
                None => people.push(presence),
                Some(known) if known.joined < presence.joined => *known = presence,
                Some(_) => {}
            }
        }
        people
            .into_iter()
            .map(|presence| presence.member.clone())
            .collect()
    }
}

fn tell_members(namespace: &Namespace, room: &'static str, members: &[Member]) {
    let _ = namespace
        .to(room)
        .emit("members", Members { room, members });
}

/// The trimmed text under `key`, if it has 1 to `units_max` UTF-16 units: the page's fields count those.
fn text(request: &Value, key: &str, units_max: usize) -> Option<String> {
    let text = request.get(key)?.as_str()?.trim();
    let fits = !text.is_empty() && text.encode_utf16().count() <= units_max;
    fits.then(|| text.to_owned())
}

fn unix_millis() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

const HISTORY_SENT: usize = 50;
const HISTORY_KEPT: usize = 500;
const USER_UNITS_MAX: usize = 64;
const NAME_UNITS_MAX: usize = 32;
const ID_UNITS_MAX: usize = 64;
const TEXT_UNITS_MAX: usize = 2000;

const NO_SUCH_ROOM: Problem = Problem {
    code: "no_such_room",
    message: "There is no such room.",
};
const BAD_NAME: Problem = Problem {
    code: "bad_name",
    message: "A name has 1 to 32 characters.",
};
const NOT_JOINED: Problem = Problem {
    code: "not_joined",
    message: "You are not in this room.",
};
const BAD_MESSAGE: Problem = Problem {
    code: "bad_message",
    message: "A message has 1 to 2000 characters.",
};

// --- the page ---

/// A tower service with the three files of the page.
#[derive(Clone)]
struct Page {
    files: [(&'static str, &'static str, Bytes); 3],
}

impl Page {
    fn embedded() -> Self {
        Self::new([
            Bytes::from_static(include_bytes!("../../../web/chat/dist/index.html")),
            Bytes::from_static(include_bytes!("../../../web/chat/dist/chat.js")),
            Bytes::from_static(include_bytes!("../../../web/chat/dist/chat.css")),
        ])
    }

    fn read(folder: &Path) -> std::io::Result<Self> {
        let file = |name| std::fs::read(folder.join(name)).map(Bytes::from);
        Ok(Self::new([
            file("index.html")?,
            file("chat.js")?,
            file("chat.css")?,
        ]))
    }

    fn new([html, script, style]: [Bytes; 3]) -> Self {
        Self {
            files: [
                ("/", "text/html; charset=utf-8", html),
                ("/chat.js", "text/javascript; charset=utf-8", script),
                ("/chat.css", "text/css; charset=utf-8", style),
            ],
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        match self.files.iter().find(|(name, ..)| *name == path) {
            None => *response.status_mut() = StatusCode::NOT_FOUND,
            Some(_) if *method != Method::GET && *method != Method::HEAD => {
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                response
                    .headers_mut()
                    .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Some((_, content_type, body)) => {
                *response.body_mut() = Full::new(body.clone());
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            }
        }
        for (name, value) in PAGE_HEADERS {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl tower_service::Service<Request<Incoming>> for Page {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        ready(Ok(self.answer(request.method(), request.uri().path())))
    }
}

const PAGE_HEADERS: [(header::HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-cache"),
];

// --- the command line ---

struct Options {
    listen: String,
    web: Option<String>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            listen: "127.0.0.1:8080".to_owned(),
            web: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--listen" => options.listen = value()?,
                "--web" => options.web = Some(value()?),
                _ => {
                    return Err(format!(
                        "unknown argument {word}; usage: chat [--listen ADDRESS:PORT] [--web DIR]"
                    ));
                }
            }
        }
        Ok(options)
    }
}

/// Resolves at SIGINT or SIGTERM.
async fn stop_signal() {
    #[cfg(unix)]
    if let Ok(mut terminate) =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
    {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}
