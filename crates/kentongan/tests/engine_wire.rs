//! Engine.IO as clients see it: every case is a few bytes over loopback TCP and the answer that the protocol wants.

mod support;

use kentongan::Config;
use support::{http, start, websocket::WebSocket};

#[tokio::test]
async fn handshake_polling() {
    let server = start(Config::default()).await;
    let answer = http::get(server.addr, "/socket.io/?EIO=4&transport=polling").await;
    assert_eq!(answer.status, 200);
    let mut ws = WebSocket::connect(server.addr, "/socket.io/?EIO=4&transport=websocket").await;
    assert!(ws.text().await.starts_with("0{"));
}
