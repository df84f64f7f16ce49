//! Two servers of one process as one cluster: what a client of one says reaches the clients of both.
//!
//! ```text
//! cargo run -p kentongan --example cluster
//! ```
//!
//! Connect stock clients to `http://127.0.0.1:3000` and `http://127.0.0.1:3001`. `emit("say", "hello")` is heard by all of
//! them; `emit("who", (answer) => …)` is answered with the ids of all of them; `emit("nodes", (answer) => …)` with how many
//! clients each other server has, as that server says.

use std::{error::Error, time::Duration};

use kentongan::{
    ClusterConfig, Config, Data, MemoryCluster, NotFound, Reply, ServeConfig, Server, ServerEvent,
    Socket,
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let cluster = MemoryCluster::new();
    let (first, second) = (node(&cluster)?, node(&cluster)?);
    let (one, two) = tokio::join!(
        serve(&first, "127.0.0.1:3000"),
        serve(&second, "127.0.0.1:3001")
    );
    one.and(two)
}

fn node(cluster: &MemoryCluster) -> Result<Server, Box<dyn Error>> {
    let mut config = Config::default();
    let settings = ClusterConfig::new(cluster.adapter());
    config.cluster = Some(settings.on_signal(|signal| println!("{signal:?}")));
    let server = Server::new(config)?;
    let root = server.of("/");

    root.on(
        "say",
        |socket: Socket, Data(text): Data<String>| async move {
            let _ = socket.broadcast().emit("said", text);
        },
    );
    root.on("who", |socket: Socket| async move {
        let found = socket.namespace().broadcast().fetch_sockets().await;
        let ids: Vec<String> = found.into_iter().map(|info| info.id.to_string()).collect();
        Reply(ids)
    });
    root.on("nodes", |socket: Socket| async move {
        let timeout = Duration::from_secs(1);
        let asked = socket
            .namespace()
            .server_side_emit_with_ack::<usize>("count", (), timeout)
            .await;
        Reply(
            asked
                .map(|answers| answers.into_values())
                .unwrap_or_default(),
        )
    });
    let counted = root.clone();
    root.on_server_event("count", move |_: ServerEvent| {
        let count = counted.sockets_count();
        async move { Reply(count) }
    });
    Ok(server)
}

async fn serve(server: &Server, addr: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    server
        .serve(listener, ServeConfig::default(), NotFound, stop)
        .await?;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
