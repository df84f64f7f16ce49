//! What the suites of stock clients talk to: `conformance/clients/FIXTURE.md`, on this library.
//!
//! ```text
//! cargo run --release -p kentongan --example fixture -- --listen 127.0.0.1:3000
//! ```

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    io::Write,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use kentongan::{
    Ack, Args, Broadcast, Config, Data, Deflate, DisconnectReason, EventName, Namespace, NotFound,
    Parser, Recovery, RecoveryConfig, Refusal, RoomsLeft, ServeConfig, Server, Socket, Value,
};
use parking_lot::Mutex;
use regex::Regex;
use serde::Deserialize;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let shared = Arc::new(Shared {
        recovery: options.config.recovery.is_some(),
        msgpack: options.config.parser == Parser::Msgpack,
        banned: Mutex::default(),
        ends: watch::Sender::default(),
    });
    let server = Server::new(options.config)?;
    for name in ["/", "/chat", "/welcome"] {
        install(&server.of(name), &shared);
    }
    install(
        &server.of_pattern(Regex::new("^/dyn-[A-Za-z0-9_-]+$")?),
        &shared,
    );
    let allowed = server.of_predicate(|name, auth| async move {
        tokio::task::yield_now().await;
        let auth: Value = auth.argument(0).unwrap_or_default();
        name.starts_with("/auth-") && auth.get("allow").and_then(Value::as_bool) == Some(true)
    });
    install(&allowed, &shared);

    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(&options.listen).await?;
    println!("listening on {}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let stop = async {
        let _ = terminate.recv().await;
    };
    server
        .serve(listener, ServeConfig::default(), NotFound, stop)
        .await?;
    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

struct Options {
    listen: String,
    config: Config,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut listen = "127.0.0.1:0".to_owned();
        let mut config = Config::default();
        while let Some(flag) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{flag} needs a value"))
            };
            match flag.as_str() {
                "--listen" => listen = value()?,
                "--recovery" => config.recovery = Some(RecoveryConfig::default()),
                "--msgpack" => config.parser = Parser::Msgpack,
                "--deflate" => {
                    config.deflate = Some(Deflate { bytes_min: 256 });
                }
                "--ping-interval" => {
                    config.ping_interval = Duration::from_millis(value()?.parse()?)
                }
                "--ping-timeout" => config.ping_timeout = Duration::from_millis(value()?.parse()?),
                "--connect-timeout" => {
                    config.connect_timeout = Duration::from_millis(value()?.parse()?)
                }
                "--max-payload" => config.limits.message_bytes_max = value()?.parse()?,
                _ => return Err(format!("unknown flag {flag}").into()),
            }
        }
        Ok(Self { listen, config })
    }
}

/// What all namespaces share.
struct Shared {
    recovery: bool,
    msgpack: bool,
    banned: Mutex<HashSet<String>>,
    /// How sockets ended, by id.
    ends: watch::Sender<HashMap<String, Value>>,
}

/// What the fixture keeps with a socket.
#[derive(Default)]
struct Own {
    auth: Value,
    recovered: bool,
    pushed: Mutex<Vec<Value>>,
    incoming: Mutex<Vec<String>>,
    outgoing: Mutex<Vec<String>>,
}

fn own(socket: &Socket) -> Arc<Own> {
    socket.value().unwrap_or_default()
}

/// A room name, a list of them, or none.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
    #[default]
    None,
}

impl Names {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name],
            Self::Many(names) => names,
            Self::None => Vec::new(),
        }
    }
}

#[derive(Deserialize)]
struct Sending {
    via: String,
    #[serde(default)]
    to: Names,
    #[serde(default)]
    except: Names,
    volatile: Option<bool>,
    compress: Option<bool>,
    event: String,
    args: Option<Vec<Value>>,
    timeout_ms: Option<u64>,
}

impl Sending {
    fn data(&self, parser: Parser) -> Args {
        several(parser, self.args.as_deref().unwrap_or_default())
    }

    fn into_broadcast(self, socket: &Socket) -> Broadcast {
        let mut broadcast = match self.via.as_str() {
            "all" => socket.namespace().broadcast(),
            "self" => return socket.namespace().to(socket.id().to_string()),
            _ => socket.broadcast(),
        };
        for room in self.to.into_vec() {
            broadcast = broadcast.to(room);
        }
        for room in self.except.into_vec() {
            broadcast = broadcast.except(room);
        }
        if self.volatile == Some(true) {
            broadcast = broadcast.volatile();
        }
        broadcast.compress(self.compress.unwrap_or(true))
    }
}

#[derive(Deserialize)]
struct Asking {
    id: Option<String>,
    event: String,
    args: Option<Vec<Value>>,
    timeout_ms: u64,
}

#[derive(Deserialize)]
struct Burst {
    event: String,
    count: u64,
    binary_every: Option<u64>,
}

/// Each value as one argument.
fn several(parser: Parser, values: &[Value]) -> Args {
    Args::from_values(parser, values).unwrap_or_else(|_| Args::empty(parser))
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(
        entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

fn texts(texts: impl IntoIterator<Item = impl Into<String>>) -> Value {
    Value::Array(
        texts
            .into_iter()
            .map(|text| Value::String(text.into()))
            .collect(),
    )
}

fn rooms(socket: &Socket) -> Vec<String> {
    let mut rooms: Vec<String> = socket.rooms().iter().map(ToString::to_string).collect();
    rooms.sort();
    rooms
}

fn pattern(length: u64) -> Bytes {
    (0..length).map(|index| index.to_le_bytes()[0]).collect()
}

fn select(socket: &Socket, room: Option<String>) -> Broadcast {
    match room {
        Some(room) => socket.namespace().to(room),
        None => socket.namespace().broadcast(),
    }
}

fn find(socket: &Socket, id: Option<String>) -> Option<Socket> {
    match id {
        Some(id) => socket.namespace().socket(id.parse().ok()?),
        None => Some(socket.clone()),
    }
}

fn install(namespace: &Namespace, shared: &Arc<Shared>) {
    admit(namespace, shared);
    values(namespace, shared);
    acks(namespace);
    sending(namespace);
    membership(namespace);
    endings(namespace, shared);
    watching(namespace);
}

fn admit(namespace: &Namespace, shared: &Arc<Shared>) {
    let state = Arc::clone(shared);
    namespace.middleware(move |socket: Socket, Data(auth): Data<Value>| {
        let state = Arc::clone(&state);
        async move {
            if let Some(delay) = auth.get("delay").and_then(Value::as_u64) {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            if auth
                .get("user")
                .and_then(Value::as_str)
                .is_some_and(|user| state.banned.lock().contains(user))
            {
                return Err(Refusal::new("banned").with_data(object([("code", "banned".into())])));
            }
            if let Some(refuse) = auth.get("refuse").filter(|refuse| !refuse.is_null()) {
                let message = refuse
                    .get("message")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                return Err(Refusal {
                    message: message.to_owned(),
                    data: refuse.get("data").cloned(),
                });
            }
            for room in auth
                .get("join")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                let _ = socket.join(room);
            }
            Ok(())
        }
    });
    namespace.on_connect(
        |socket: Socket, Data(auth): Data<Value>, recovery: Recovery| async move {
            let own = Arc::new(Own {
                auth,
                recovered: recovery.is_complete(),
                ..Own::default()
            });
            let seen = Arc::clone(&own);
            socket.on_any_outgoing(move |name, _| seen.outgoing.lock().push(name.to_owned()));
            socket.insert(own);
            if socket.namespace().name() == "/welcome" {
                let _ = socket.emit("welcome", socket.id().to_string());
                let _ = socket.emit("welcome", pattern(4));
            }
        },
    );
    let state = Arc::clone(shared);
    namespace.on_disconnect(
        move |socket: Socket, reason: DisconnectReason, RoomsLeft(left): RoomsLeft| {
            let mut left: Vec<String> = left.iter().map(ToString::to_string).collect();
            left.sort();
            let end = object([
                ("reason", reason.as_str().into()),
                ("rooms", texts(left)),
                ("namespace", socket.namespace().name().into()),
            ]);
            state
                .ends
                .send_modify(|ends| drop(ends.insert(socket.id().to_string(), end)));
            std::future::ready(())
        },
    );
}

fn values(namespace: &Namespace, shared: &Arc<Shared>) {
    let state = Arc::clone(shared);
    namespace.on("fixture", move |ack: Ack| {
        let options = object([
            ("recovery", state.recovery.into()),
            ("msgpack", state.msgpack.into()),
        ]);
        ack.send(object([
            ("server", "kentongan".into()),
            ("options", options),
        ]));
        std::future::ready(())
    });
    namespace.on("handshake", |socket: Socket, ack: Ack| async move {
        ack.send(handshake(&socket))
    });
    namespace.on("echo", |socket: Socket, args: Args, ack: Ack| async move {
        if ack.is_expected() {
            ack.send(args);
        } else {
            let _ = socket.emit("echo", args);
        }
    });
    namespace.on("count", |args: Args, ack: Ack| async move {
        ack.send(args.len())
    });
    namespace.on("type_of", |Data(value): Data<Value>, ack: Ack| async move {
        ack.send(match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Binary(_) => "binary",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        });
    });
    namespace.on("digest", |Data(bytes): Data<Bytes>, ack: Ack| async move {
        let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
        ack.send(object([
            ("length", bytes.len().into()),
            ("sum", sum.into()),
        ]));
    });
    namespace.on(
        "make_bytes",
        |Data(length): Data<u64>, ack: Ack| async move { ack.send(pattern(length)) },
    );
    namespace.on(
        "make_text",
        |Data(length): Data<usize>, ack: Ack| async move { ack.send("x".repeat(length)) },
    );
    namespace.on("emit", |socket: Socket, args: Args| async move {
        let Ok(values) = args.values() else { return };
        let Some((Value::String(name), rest)) = values.split_first() else {
            return;
        };
        let _ = socket.emit(name, several(args.parser(), rest));
    });
    namespace.on("push", |socket: Socket, Data(value): Data<Value>| async move { own(&socket).pushed.lock().push(value) });
    namespace.on("pushed", |socket: Socket, ack: Ack| async move {
        ack.send(own(&socket).pushed.lock().clone())
    });
    namespace.on(
        "remember",
        |socket: Socket, Data(value): Data<Value>, ack: Ack| async move {
            socket.set_data(value);
            ack.send("ok");
        },
    );
    namespace.on("recall", |socket: Socket, ack: Ack| async move {
        ack.send(socket.data())
    });
}

fn handshake(socket: &Socket) -> Value {
    let handshake = socket.handshake();
    let own = own(socket);
    let raw = handshake
        .uri()
        .split_once('?')
        .map_or("", |(_, query)| query);
    let query = raw.split('&').filter_map(|pair| {
        let name = pair.split('=').next()?;
        Some((name.to_owned(), Value::from(handshake.query(name)?)))
    });
    let issued = handshake
        .time()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            since.as_secs() * 1000 + u64::from(since.subsec_millis())
        });
    object([
        ("id", socket.id().to_string().into()),
        ("namespace", socket.namespace().name().into()),
        ("recovered", own.recovered.into()),
        (
            "auth",
            if own.auth.is_null() {
                object([])
            } else {
                own.auth.clone()
            },
        ),
        (
            "query",
            Value::Object(query.collect::<HashMap<_, _>>().into_iter().collect()),
        ),
        ("header", handshake.header("x-test").into()),
        ("secure", handshake.is_secure().into()),
        ("xdomain", handshake.is_cross_domain().into()),
        ("issued", issued.into()),
        (
            "address",
            handshake
                .address()
                .map(|address| address.to_string())
                .into(),
        ),
        ("url", handshake.uri().into()),
    ])
}

fn acks(namespace: &Namespace) {
    namespace.on("ack_late", |args: Args, ack: Ack| async move {
        let values = args.values().unwrap_or_default();
        let delay =
            Duration::from_millis(values.first().and_then(Value::as_u64).unwrap_or_default());
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            ack.send(several(args.parser(), values.get(1..).unwrap_or_default()));
        });
    });
    namespace.on("slow", |Data(delay): Data<u64>, ack: Ack| async move {
        tokio::time::sleep(Duration::from_millis(delay)).await;
        ack.send("done");
    });
    namespace.on("ack_never", || async {});
    namespace.on("ack_twice", |ack: Ack| async move {
        ack.clone().send("first");
        ack.send("second");
    });
    namespace.on(
        "request",
        |socket: Socket, args: Args, Data(asking): Data<Asking>, ack: Ack| async move {
            let Some(target) = find(&socket, asking.id) else {
                return ack.send(object([("outcome", "missing".into())]));
            };
            let data = several(args.parser(), &asking.args.unwrap_or_default());
            tokio::spawn(async move {
                // A tuple takes all arguments; `null` and missing ones are the same here.
                type All = (Value, Value, Value, Value, Value, Value, Value, Value);
                let request = target.timeout(Duration::from_millis(asking.timeout_ms));
                ack.send(
                    match request.emit_with_ack::<All>(&asking.event, data).await {
                        Ok((a, b, c, d, e, f, g, h)) => {
                            let mut all = vec![a, b, c, d, e, f, g, h];
                            while all.last().is_some_and(Value::is_null) {
                                all.pop();
                            }
                            object([("outcome", "ack".into()), ("args", all.into())])
                        }
                        Err(_) => object([("outcome", "timeout".into())]),
                    },
                );
            });
        },
    );
    namespace.on(
        "broadcast_request",
        |socket: Socket, args: Args, Data(sending): Data<Sending>, ack: Ack| async move {
            let data = sending.data(args.parser());
            let (event, timeout) = (
                sending.event.clone(),
                Duration::from_millis(sending.timeout_ms.unwrap_or(1000)),
            );
            tokio::spawn(async move {
                let Ok(answers) = sending
                    .into_broadcast(&socket)
                    .timeout(timeout)
                    .emit_with_ack::<Value>(&event, data)
                    .await
                else {
                    return;
                };
                let timed_out = !answers.missing.is_empty();
                ack.send(object([
                    ("timed_out", timed_out.into()),
                    ("responses", answers.into_values().into()),
                ]));
            });
        },
    );
}

fn sending(namespace: &Namespace) {
    namespace.on(
        "broadcast",
        |socket: Socket, args: Args, Data(sending): Data<Sending>, ack: Ack| async move {
            let data = sending.data(args.parser());
            let event = sending.event.clone();
            if sending.via == "self" {
                let flags = socket.compress(sending.compress.unwrap_or(true));
                let flags = if sending.volatile == Some(true) {
                    flags.volatile()
                } else {
                    flags
                };
                let _ = flags.emit(&event, data);
            } else {
                let _ = sending.into_broadcast(&socket).emit(&event, data);
            }
            ack.send("sent");
        },
    );
    namespace.on(
        "burst",
        |socket: Socket, Data(burst): Data<Burst>| async move {
            let Burst {
                event,
                count,
                binary_every,
            } = burst;
            for index in 0..count {
                let _ = match binary_every {
                    Some(every) if every > 0 && index % every == 0 => {
                        socket.emit(&event, (index, pattern(index % 64)))
                    }
                    _ => socket.emit(&event, index),
                };
            }
            let _ = socket.emit("burst_end", count);
        },
    );
    namespace.on(
        "volatile",
        |socket: Socket, Data((event, count)): Data<(String, u64)>| async move {
            for index in 0..count {
                let _ = socket.volatile().emit(&event, index);
            }
            let _ = socket.emit("volatile_end", count);
        },
    );
}

fn membership(namespace: &Namespace) {
    namespace.on(
        "join",
        |socket: Socket, Data(names): Data<Names>, ack: Ack| async move {
            for name in names.into_vec() {
                let _ = socket.join(name);
            }
            ack.send(rooms(&socket));
        },
    );
    namespace.on(
        "leave",
        |socket: Socket, Data(name): Data<String>, ack: Ack| async move {
            socket.leave(&name);
            ack.send(rooms(&socket));
        },
    );
    namespace.on("rooms", |socket: Socket, ack: Ack| async move {
        let id = socket.id().to_string();
        let mut all = rooms(&socket);
        all.push(id.clone());
        all.sort();
        ack.send(object([("id", id.into()), ("rooms", texts(all))]));
    });
    namespace.on(
        "sockets",
        |socket: Socket, Data(room): Data<Option<String>>, ack: Ack| async move {
            let mut ids: Vec<String> = select(&socket, room)
                .fetch_sockets()
                .await
                .into_iter()
                .map(|info| info.id.to_string())
                .collect();
            ids.sort();
            ack.send(ids);
        },
    );
    namespace.on(
        "sockets_join",
        |socket: Socket, Data((room, names)): Data<(Option<String>, Names)>, ack: Ack| async move {
            for name in names.into_vec() {
                let _ = select(&socket, room.clone()).sockets_join(name);
            }
            ack.send("ok");
        },
    );
    namespace.on(
        "sockets_leave",
        |socket: Socket, Data((room, names)): Data<(Option<String>, Names)>, ack: Ack| async move {
            for name in names.into_vec() {
                select(&socket, room.clone()).sockets_leave(&name);
            }
            ack.send("ok");
        },
    );
    namespace.on("disconnect_sockets", |socket: Socket, Data((room, close)): Data<(Option<String>, Option<bool>)>, ack: Ack| async move {
        let selected = select(&socket, room);
        if close == Some(true) {
            selected.disconnect_sessions();
        } else {
            selected.disconnect_sockets();
        }
        ack.send("ok");
    });
}

fn endings(namespace: &Namespace, shared: &Arc<Shared>) {
    namespace.on(
        "disconnect_me",
        |socket: Socket, Data(close): Data<Option<bool>>| async move {
            if close == Some(true) {
                socket.disconnect_session();
            } else {
                socket.disconnect();
            }
        },
    );
    namespace.on(
        "cut",
        |socket: Socket, Data(id): Data<Option<String>>, ack: Ack| async move {
            if let Some(target) = find(&socket, id) {
                target.close_connection();
            }
            ack.send("ok");
        },
    );
    let state = Arc::clone(shared);
    namespace.on("ended", move |Data(id): Data<String>, ack: Ack| {
        let mut ends = state.ends.subscribe();
        tokio::spawn(async move {
            let ended = ends.wait_for(|ends| ends.contains_key(&id));
            let end = match tokio::time::timeout(Duration::from_secs(10), ended).await {
                Ok(Ok(ends)) => ends.get(&id).cloned(),
                _ => None,
            };
            ack.send(end.unwrap_or_else(|| {
                object([
                    ("reason", Value::Null),
                    ("rooms", Value::Array(Vec::new())),
                    ("namespace", "".into()),
                ])
            }));
        });
        std::future::ready(())
    });
    let state = Arc::clone(shared);
    namespace.on("ban", move |Data(user): Data<String>, ack: Ack| {
        state.banned.lock().insert(user);
        ack.send("ok");
        std::future::ready(())
    });
}

fn watching(namespace: &Namespace) {
    namespace.on_any(|socket: Socket, EventName(name): EventName| async move {
        own(&socket).incoming.lock().push(name.to_string())
    });
    namespace.on("tail", |socket: Socket, ack: Ack| async move {
        let own = own(&socket);
        let last =
            |names: &[String]| texts(names[names.len().saturating_sub(20)..].iter().cloned());
        let incoming = last(&own.incoming.lock());
        let outgoing = last(&own.outgoing.lock());
        ack.send(object([("incoming", incoming), ("outgoing", outgoing)]));
    });
    namespace.use_event(|socket: Socket, EventName(name): EventName| async move {
        if name != "blocked" {
            return Ok(());
        }
        let _ = socket.emit("refused", "blocked by middleware");
        Err(Refusal::new("blocked by middleware"))
    });
    namespace.on("blocked", |socket: Socket| async move {
        drop(socket.emit("not_blocked", ()))
    });
}
