//! The smallest server: it greets, and tells the others.
//!
//! ```text
//! cargo run -p kentongan --example minimal
//! ```
//!
//! Then, with the stock client: `io("http://127.0.0.1:3000").emit("greet", "Ada", (answer) => console.log(answer))`.

use kentongan::{Config, Data, NotFound, Reply, ServeConfig, Server, Socket};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::new(Config::default())?;
    server.of("/").on(
        "greet",
        |socket: Socket, Data(name): Data<String>| async move {
            let _ = socket.broadcast().emit("greeted", &name);
            Reply(format!("hello {name}"))
        },
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    server
        .serve(listener, ServeConfig::default(), NotFound, stop)
        .await?;
    server.shutdown(std::time::Duration::from_secs(5)).await;
    Ok(())
}
