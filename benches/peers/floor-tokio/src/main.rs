//! The floor of tokio: what a server pays that has one task for each connection, and nothing else.
//!
//! One thread, one read buffer for all tasks, answers and broadcasts written at once by whoever makes them. What a
//! client sends is answered by the crate `messages`.

mod connection;
mod rooms;

use std::{
    error::Error,
    io::{self, Write as _},
    net::Ipv4Addr,
};

use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args()
        .nth(1)
        .ok_or("usage: floor-tokio PORT")?
        .parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        println!("listening on {}", listener.local_addr()?);
        std::io::stdout().flush()?;
        // A task of its own: the future of `block_on` is polled at every turn of the loop.
        tokio::spawn(accept(listener)).await??;
        Ok(())
    })
}

async fn accept(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(connection::serve(stream));
    }
}
