//! Middleware: who may come in, decided on a typed auth payload, and which events they may send.
//!
//! ```text
//! cargo run -p kentongan --example middleware_auth
//! ```
//!
//! `io("http://127.0.0.1:3000", { auth: { token: "ada-secret" } })` comes in; with another token the client sees
//! `connect_error` with the message `unauthorized` and `data.code`; without one, or with a number, `invalid arguments`.
//! Of the events, `whoami` is for everyone and `admin:rename` for those in the room `admins`.

use std::{error::Error, time::Duration};

use kentongan::{
    Auth, Config, Data, EventName, NotFound, Refusal, Reply, ServeConfig, Server, Socket,
};
use serde::Deserialize;
use tokio::net::TcpListener;

/// What clients have to send when they connect.
#[derive(Deserialize)]
struct Credentials {
    token: String,
}

/// Who a socket is. Kept with it once the token was checked.
#[derive(Clone)]
struct User {
    name: &'static str,
    is_admin: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::new(Config::default())?;
    let namespace = server.of("/");

    namespace.middleware(
        |socket: Socket, Auth(credentials): Auth<Credentials>| async move {
            let Some(user) = find_user(&credentials.token).await else {
                return Err(Refusal::new("unauthorized").with_code("bad_token"));
            };
            // With recovery on, nobody else can continue this client's connection.
            socket.set_identity(user.name);
            if user.is_admin {
                // The membership begins when the client is let in; had the next middleware refused it, it would leave nothing.
                socket
                    .join("admins")
                    .map_err(|error| Refusal::new(error.to_string()))?;
            }
            socket.insert(user);
            Ok(())
        },
    );

    namespace.use_event(|socket: Socket, EventName(event): EventName| async move {
        let is_admin = socket.value::<User>().is_some_and(|user| user.is_admin);
        if event.starts_with("admin:") && !is_admin {
            return Err(Refusal::new("only for admins").with_code("forbidden"));
        }
        Ok(())
    });

    namespace.on("whoami", |socket: Socket| async move {
        Reply(socket.value::<User>().map(|user| user.name))
    });
    namespace.on(
        "admin:rename",
        |socket: Socket, Data(title): Data<String>| async move {
            let _ = socket.namespace().emit("renamed", &title);
            Reply(title)
        },
    );

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    server
        .serve(listener, ServeConfig::default(), NotFound, stop)
        .await?;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Stands for a look-up in a session store. Middleware may wait: it is cut off after `Config::middleware_timeout`.
async fn find_user(token: &str) -> Option<User> {
    tokio::time::sleep(Duration::from_millis(1)).await;
    match token {
        "ada-secret" => Some(User {
            name: "Ada",
            is_admin: true,
        }),
        "bob-secret" => Some(User {
            name: "Bob",
            is_admin: false,
        }),
        _ => None,
    }
}
