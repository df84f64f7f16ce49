//! The floor: one thread, one epoll, one prepared frame for all sockets.
//!
//! What every server has to pay on this machine: one read for what arrived, one send for each socket that is written
//! to. What a client sends is answered by the crate `messages`.

mod server;

use std::{error::Error, io::Write as _, net::Ipv4Addr, net::TcpListener};

fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args()
        .nth(1)
        .ok_or("usage: floor PORT")?
        .parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    println!("listening on {}", listener.local_addr()?);
    std::io::stdout().flush()?;
    server::run(&listener)?;
    Ok(())
}
