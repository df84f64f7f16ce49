//! Acknowledgements: the client asks the server, the server asks one client, and the server asks many.
//!
//! ```text
//! cargo run -p kentongan --example acks
//! ```
//!
//! A client for it:
//!
//! ```js
//! const socket = io("http://127.0.0.1:3000");
//! socket.on("age", (name, answer) => answer(name.length));
//! socket.on("vote", (question, answer) => answer(Math.random() < 0.5));
//! console.log(await socket.emitWithAck("add", 1, 2)); // 3
//! console.log(await socket.emitWithAck("divide", 1, 0)); // { ok: false, error: { code: "division_by_zero", … } }
//! console.log(await socket.emitWithAck("ask me", "Ada")); // "Ada is 3"
//! console.log(await socket.emitWithAck("poll", "tea?")); // { yes: …, no: …, silent: … }
//! ```

use std::{error::Error, time::Duration};

use kentongan::{
    Ack, AckError, Config, Data, NotFound, Refusal, Reply, ServeConfig, Server, Socket,
};
use serde::Serialize;
use tokio::net::TcpListener;

#[derive(Serialize)]
struct Outcome {
    yes: usize,
    no: usize,
    silent: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::new(Config::default())?;
    let namespace = server.of("/");

    // What the handler returns is the answer.
    namespace.on("add", |Data((a, b)): Data<(i64, i64)>| async move {
        Reply(a.wrapping_add(b))
    });

    // An `Err` is an answer too.
    namespace.on("divide", |Data((a, b)): Data<(i64, i64)>| async move {
        a.checked_div(b)
            .map(Reply)
            .ok_or_else(|| Refusal::new("there is no such number").with_code("division_by_zero"))
    });

    // The server asks the one who asked. Events of one client wait for each other, so what takes long goes to a task of its
    // own, and takes the `Ack` along.
    namespace.on(
        "ask me",
        |socket: Socket, Data(name): Data<String>, ack: Ack| async move {
            tokio::spawn(async move {
                let age: Result<u32, AckError> = socket
                    .timeout(Duration::from_secs(5))
                    .emit_with_ack("age", &name)
                    .await;
                match age {
                    Ok(age) => ack.send(format!("{name} is {age}")),
                    Err(error) => ack.send(format!("nobody knows: {error}")),
                }
            });
        },
    );

    // The server asks everyone. Whoever is silent for two seconds is counted, not waited for.
    namespace.on(
        "poll",
        |socket: Socket, Data(question): Data<String>, ack: Ack| async move {
            tokio::spawn(async move {
                let everyone = socket
                    .namespace()
                    .broadcast()
                    .timeout(Duration::from_secs(2));
                match everyone.emit_with_ack::<bool>("vote", question).await {
                    Ok(answers) => {
                        let asked = answers.given.len() + answers.missing.len();
                        let votes = answers.into_values();
                        let yes = votes.iter().filter(|vote| **vote).count();
                        ack.send(Outcome {
                            yes,
                            no: votes.len() - yes,
                            silent: asked - votes.len(),
                        });
                    }
                    Err(error) => tracing::error!(%error, "the question cannot be sent"),
                }
            });
        },
    );

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    server
        .serve(listener, ServeConfig::default(), NotFound, stop)
        .await?;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
