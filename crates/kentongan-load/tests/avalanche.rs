//! The avalanche, with this very program as the server that is killed: hence no test harness, and a `main` of two minds.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::{env, net::SocketAddr};

use kentongan::{Config, NotFound, ServeConfig, Server};
use kentongan_load::Faults;
use tokio::{net::TcpListener, runtime::Runtime};

use support::{Mischief, install, options};

fn main() {
    match env::args().nth(1).as_deref() {
        Some("serve") => serve(env::args().nth(2).unwrap().parse().unwrap()),
        // Asked for a list of tests, as `cargo test -- --list` does.
        Some("--list") => println!("avalanche: test"),
        _ => {
            everyone_comes_back();
            a_server_that_does_not_start_is_no_riddle();
            println!("avalanche: ok");
        }
    }
}

fn serve(port: u16) {
    Runtime::new().unwrap().block_on(async {
        let server = Server::new(Config::default()).unwrap();
        install(&server.of("/"), Mischief::None);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind(addr).await.unwrap();
        server
            .serve(
                listener,
                ServeConfig::default(),
                NotFound,
                std::future::pending(),
            )
            .await
            .unwrap();
    });
}

fn everyone_comes_back() {
    let addr = free_addr();
    let mut options = options(addr, "avalanche --connections 20 --duration 30");
    let program = env::current_exe().unwrap();
    options.command = Some(format!("'{}' serve {}", program.display(), addr.port()));
    let report = kentongan_load::run(&options).unwrap();
    assert_eq!(report.faults, Faults::default());
    let json = report.json();
    assert_eq!(json["back"], 20);
    assert!(json["attempts"].as_u64() >= Some(20), "{json}");
    // Nobody is back before the server is.
    assert!(json["back_us"]["p50"].as_f64() > Some(2e6), "{json}");
}

fn a_server_that_does_not_start_is_no_riddle() {
    let mut options = options(free_addr(), "avalanche --connections 1");
    assert_eq!(kentongan_load::run(&options).unwrap_err().code(), "usage");
    options.command = Some("false".into());
    assert_eq!(kentongan_load::run(&options).unwrap_err().code(), "connect");
}

/// Free a moment ago.
fn free_addr() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
