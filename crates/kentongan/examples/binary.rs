//! Binary data: alone, as one of several arguments, and inside of a struct.
//!
//! ```text
//! cargo run -p kentongan --example binary
//! ```
//!
//! `bytes::Bytes` (or anything that serde knows as bytes) is binary on the wire; a `Vec<u8>` is an array of numbers. A
//! client for it:
//!
//! ```js
//! const socket = io("http://127.0.0.1:3000");
//! const image = new Uint8Array([1, 2, 3]);
//! console.log(await socket.emitWithAck("reverse", image)); // 03 02 01
//! console.log(await socket.emitWithAck("upload", "dot.png", image)); // { name: "dot.png", size: 3, sum: 6 }
//! console.log(await socket.emitWithAck("download", "dot.png")); // { name: "dot.png", data: 01 02 03 }
//! ```

use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use kentongan::{Config, Data, NotFound, Refusal, Reply, ServeConfig, Server};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::net::TcpListener;

#[derive(Serialize)]
struct Receipt {
    name: String,
    size: usize,
    sum: u64,
}

#[derive(Clone, Serialize)]
struct File {
    name: String,
    data: Bytes,
}

/// The uploaded files, by name.
type Files = Arc<Mutex<HashMap<String, File>>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    // The bound on one message, its attachments included. What is larger ends the connection while it arrives.
    config.limits.message_bytes_max = 100_000;
    let server = Server::new(config)?;
    let namespace = server.of("/");

    namespace.on("reverse", |Data(data): Data<Bytes>| async move {
        Reply(data.iter().rev().copied().collect::<Bytes>())
    });

    let files = Files::default();
    let kept = Arc::clone(&files);
    namespace.on(
        "upload",
        move |Data((name, data)): Data<(String, Bytes)>| {
            let files = Arc::clone(&kept);
            async move {
                let receipt = Receipt {
                    name: name.clone(),
                    size: data.len(),
                    sum: data.iter().map(|byte| u64::from(*byte)).sum(),
                };
                let mut files = files.lock();
                if files.len() >= FILES_MAX && !files.contains_key(&name) {
                    return Err(Refusal::new("there is no room for more files"));
                }
                files.insert(name.clone(), File { name, data });
                Ok(Reply(receipt))
            }
        },
    );

    namespace.on("download", move |Data(name): Data<String>| {
        let files = Arc::clone(&files);
        async move {
            files
                .lock()
                .get(&name)
                .cloned()
                .map(Reply)
                .ok_or_else(|| Refusal::new("there is no such file"))
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

const FILES_MAX: usize = 100;
