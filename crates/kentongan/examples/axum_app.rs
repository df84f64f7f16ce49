//! Socket.IO next to the routes of an axum application, with shared state.
//!
//! ```text
//! cargo run -p kentongan --example axum_app
//! curl -X POST http://127.0.0.1:3000/announce -d 'the kettle is on'
//! curl http://127.0.0.1:3000/stats
//! ```
//!
//! Every connected client gets `announcement` from the first request; an event `count` of any client is counted.
//!
//! With the folder of the stock client, the server gives it to browsers, and <http://127.0.0.1:3000> is a page that uses it:
//!
//! ```text
//! npm install --prefix /tmp/client socket.io-client
//! cargo run -p kentongan --example axum_app -- /tmp/client/node_modules/socket.io-client/dist
//! ```

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::Html,
    routing::{get, post},
};
use kentongan::{ClientBundles, Config, Namespace, Reply, Server};
use tokio::net::TcpListener;

/// What routes and event handlers share.
#[derive(Clone)]
struct App {
    clients: Namespace,
    counted: Arc<AtomicU64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    if let Some(folder) = std::env::args().nth(1) {
        config.client_bundles = Some(ClientBundles::from_folder(folder)?);
    }
    let server = Server::new(config)?;
    let app = App {
        clients: server.of("/"),
        counted: Arc::default(),
    };

    let counted = Arc::clone(&app.counted);
    app.clients.on("count", move || {
        let counted = Arc::clone(&counted);
        async move { Reply(counted.fetch_add(1, Ordering::Relaxed) + 1) }
    });

    let router = Router::new()
        .route("/announce", post(announce))
        .route("/stats", get(stats))
        .route("/", get(|| async { Html(PAGE) }))
        .route_service("/socket.io/", server.service())
        // The files of the client, such as /socket.io/socket.io.js.
        .route_service("/socket.io/{file}", server.service())
        .with_state(app);

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    // axum waits for open requests when it stops, and a poll is one: so the sessions have to end at the same time.
    let closing = server.clone();
    let stop = async move {
        let _ = tokio::signal::ctrl_c().await;
        tokio::spawn(async move { closing.shutdown(Duration::from_secs(5)).await });
    };
    axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await?;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Sends the body to every client.
async fn announce(
    State(app): State<App>,
    text: String,
) -> Result<StatusCode, (StatusCode, String)> {
    app.clients
        .emit("announcement", text)
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    Ok(StatusCode::ACCEPTED)
}

async fn stats(State(app): State<App>) -> String {
    format!(
        "clients {}\ncounted {}\n",
        app.clients.sockets_count(),
        app.counted.load(Ordering::Relaxed)
    )
}

const PAGE: &str = r#"<!doctype html>
<title>announcements</title>
<ul id="list"></ul>
<script src="/socket.io/socket.io.min.js"></script>
<script>
  io().on("announcement", (text) => {
    const item = document.createElement("li");
    item.textContent = text;
    document.getElementById("list").append(item);
  });
</script>
"#;
