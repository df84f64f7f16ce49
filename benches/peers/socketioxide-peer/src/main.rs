//! socketioxide with the handlers of the benchmark, on axum as its documentation shows it.

use std::{convert::Infallible, error::Error, io::Write as _, net::Ipv4Addr};

use axum::{Router, serve::ListenerExt as _};
use mimalloc::MiMalloc;
use serde_json::Value;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
    handler::ConnectHandler as _,
};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Packets that may wait for one socket. The default, 128, loses messages in the larger bursts without a word.
const BUFFERED_PACKETS_MAX: usize = 16_384;

fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args()
        .nth(1)
        .ok_or("usage: socketioxide-peer PORT")?
        .parse()?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(port))
}

async fn serve(port: u16) -> Result<(), Box<dyn Error>> {
    let (layer, io) = SocketIo::builder()
        .max_buffer_size(BUFFERED_PACKETS_MAX)
        .build_layer();
    // In the middleware, which runs before the client is told that it is in. A connect handler is a task of its own, and
    // a client's first event may come before that has installed anything.
    let installed = (async || ()).with(async |socket: SocketRef| {
        install(&socket);
        Ok::<_, Infallible>(())
    });
    io.ns("/", installed);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on {}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let listener = listener.tap_io(|stream| {
        // The other peers have it on, too.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, Router::new().layer(layer)).await?;
    Ok(())
}

fn install(socket: &SocketRef) {
    socket.on(
        "echo",
        async |socket: SocketRef, Data::<Value>(payload), ack: AckSender| {
            // A client that cannot be sent to is gone.
            let _ = socket.emit("echo", &payload);
            let _ = ack.send(&payload);
        },
    );
    socket.on(
        "join",
        async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
            socket.join(room);
            let _ = ack.send(&());
        },
    );
    socket.on(
        "bcast",
        async |socket: SocketRef, Data::<(String, Value)>((room, payload))| {
            let _ = socket.within(room).emit("msg", &payload).await;
        },
    );
    socket.on(
        "bcastn",
        async |socket: SocketRef, Data::<(String, Value, u32)>((room, payload, times))| {
            for _ in 0..times {
                let _ = socket.within(room.clone()).emit("msg", &payload).await;
            }
        },
    );
}
