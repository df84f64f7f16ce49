//! Hands of an attacker: sessions from fresh addresses, and packets that need not be valid.

use std::{net::SocketAddr, time::Duration};

use crate::{
    arena::fresh_address,
    support::{
        http::{self, Answer, Connection},
        websocket::{Received, WebSocket},
    },
};

pub(crate) const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
pub(crate) const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A WebSocket with its session open, in no namespace, from `address`.
pub(crate) async fn open_from(
    addr: SocketAddr,
    address: &str,
    more: &[(&str, &str)],
) -> Result<WebSocket, Answer> {
    let mut headers = vec![("X-Forwarded-For", address)];
    headers.extend_from_slice(more);
    let mut websocket = WebSocket::try_connect(addr, WEBSOCKET, &headers).await?;
    assert!(websocket.text().await.starts_with('0'));
    Ok(websocket)
}

/// The same, from an address of its own.
pub(crate) async fn open(addr: SocketAddr) -> WebSocket {
    open_from(addr, &fresh_address(), &[]).await.unwrap()
}

/// In the root namespace.
pub(crate) async fn join(addr: SocketAddr) -> WebSocket {
    joined(open(addr).await).await
}

pub(crate) async fn joined(mut websocket: WebSocket) -> WebSocket {
    websocket.send_text("40").await;
    assert!(until(&mut websocket, "40{").await.is_some());
    websocket
}

/// In the root namespace, with compression.
pub(crate) async fn join_deflated(addr: SocketAddr) -> WebSocket {
    let offer = [("Sec-WebSocket-Extensions", "permessage-deflate")];
    joined(open_from(addr, &fresh_address(), &offer).await.unwrap()).await
}

/// Reads on to the first text that starts like this; `None` when the session ends before.
pub(crate) async fn until(websocket: &mut WebSocket, start: &str) -> Option<String> {
    loop {
        match websocket.recv().await {
            Received::Text(text) if text.starts_with(start) => return Some(text),
            Received::Close(_) | Received::End => return None,
            _ => {}
        }
    }
}

/// Whether the session still answers: it echoes, or it has ended.
pub(crate) async fn is_alive(websocket: &mut WebSocket) -> bool {
    websocket.send_text(r#"429007["echo",1]"#).await;
    until(websocket, "439007").await.is_some()
}

/// The target of a new polling session's requests, in no namespace.
pub(crate) async fn open_polling(addr: SocketAddr) -> String {
    let address = fresh_address();
    let headers = [("X-Forwarded-For", address.as_str())];
    let answer = http::request(addr, "GET", POLLING, &headers, b"").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    target_of(&answer)
}

/// The target of a session's requests, from the answer to its handshake.
pub(crate) fn target_of(handshake: &Answer) -> String {
    let sid = handshake.text().split('"').nth(3).unwrap();
    format!("{POLLING}&sid={sid}")
}

/// In the root namespace.
pub(crate) async fn join_polling(addr: SocketAddr) -> String {
    let target = open_polling(addr).await;
    assert_eq!(http::post(addr, &target, "40").await.text(), "ok");
    let answer = http::get(addr, &target).await;
    assert!(answer.text().starts_with("40{"), "{answer:?}");
    target
}

/// Ends a polling session.
pub(crate) async fn leave(addr: SocketAddr, target: &str) {
    let _ = http::post(addr, target, "1").await;
}

/// Sends these bytes and reads what is said until the server hangs up, or has said nothing for a while.
pub(crate) async fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut connection = Connection::open(addr).await;
    connection.send(bytes).await;
    // A slow machine may take its time for the first byte; what belongs together comes together.
    let mut patience = Duration::from_secs(5);
    while matches!(
        tokio::time::timeout(patience, connection.fill()).await,
        Ok(true)
    ) {
        patience = QUIET;
    }
    String::from_utf8_lossy(&connection.unread).into_owned()
}

/// Whether a polling session still answers, or has ended.
pub(crate) async fn is_polling_alive(addr: SocketAddr, target: &str) -> bool {
    let answer = http::post(addr, target, r#"429007["echo",1]"#).await;
    if answer.status != 200 {
        return false;
    }
    loop {
        let answer = http::get(addr, target).await;
        let packets: Vec<&str> = answer.text().split('\u{1e}').collect();
        if answer.status != 200 || packets.contains(&"1") {
            return false;
        }
        if packets.contains(&"439007[1]") {
            return true;
        }
    }
}

/// Between two answers on one connection.
const QUIET: Duration = Duration::from_millis(200);
