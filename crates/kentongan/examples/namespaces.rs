//! Namespaces: fixed ones, and ones that are made when a client asks for a fitting name.
//!
//! ```text
//! cargo run -p kentongan --example namespaces
//! ```
//!
//! `io("http://127.0.0.1:3000/news")` only listens. `io("http://127.0.0.1:3000/team-7")` is one of many: what is emitted
//! there stays among the members of team 7. Any other name is refused with `Invalid namespace`.

use std::{error::Error, time::Duration};

use kentongan::{Config, Data, NotFound, Reply, ServeConfig, Server, Socket};
use regex::Regex;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::new(Config::default())?;

    // A fixed namespace.
    let news = server.of("/news");
    news.on_connect(|socket: Socket| async move {
        let _ = socket.emit("headline", "Welcome to the news");
    });

    // All the namespaces that fit a pattern share these listeners, but neither rooms nor clients. The pattern is anchored:
    // without `^` and `$` it would let in every name that merely contains a fitting part.
    let teams = server.of_pattern(Regex::new("^/team-[0-9]{1,4}$")?);
    teams.on(
        "say",
        |socket: Socket, Data(text): Data<String>| async move {
            let _ = socket
                .broadcast()
                .emit("said", (socket.id().to_string(), text));
        },
    );
    teams.on("who", |socket: Socket| async move {
        let team = socket.namespace();
        Reply((team.name().to_owned(), team.sockets_count()))
    });

    // Namespaces can be used from anywhere, not only in handlers.
    tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_secs(10));
        loop {
            every.tick().await;
            let _ = news.emit(
                "headline",
                format!("{} are reading this", news.sockets_count()),
            );
        }
    });

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    server
        .serve(listener, ServeConfig::default(), NotFound, stop)
        .await?;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
