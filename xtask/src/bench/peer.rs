//! Who is measured, and how each is built and started.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    bench::scenario::{Placement, Scenario},
    child,
    failure::Failure,
    progress::Progress,
    workspace::Workspace,
};

pub(crate) const KENTONGAN: &str = "kentongan";
pub(crate) const FLOOR: &str = "floor";
pub(crate) const FLOOR_TOKIO: &str = "floor-tokio";
pub(crate) const SOCKETIOXIDE: &str = "socketioxide";
pub(crate) const NODE: &str = "node";

/// A server that is measured.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    program: Program,
}

#[derive(Clone, Copy, Debug)]
enum Program {
    /// An example of the library.
    Example(&'static str),
    /// A program of the workspace in `benches/peers`.
    Peer(&'static str),
    /// A script for Node.js in `benches/peers/node`.
    Script(&'static str),
}

/// Every peer, in the order in which they take turns.
pub(crate) static PEERS: [Peer; 5] = [
    Peer {
        name: KENTONGAN,
        title: "this project: the example `lab`",
        program: Program::Example("lab"),
    },
    Peer {
        name: FLOOR,
        title: "one epoll thread that knows only the messages of the benchmark",
        program: Program::Peer("floor"),
    },
    Peer {
        name: FLOOR_TOKIO,
        title: "the same on tokio, with one task for each connection",
        program: Program::Peer("floor-tokio"),
    },
    Peer {
        name: SOCKETIOXIDE,
        title: "socketioxide on axum",
        program: Program::Peer("socketioxide-peer"),
    },
    Peer {
        name: NODE,
        title: "socket.io of Node.js",
        program: Program::Script("server.mjs"),
    },
];

/// A first build on two busy cores is far below it.
const BUILD_TIME_MAX: Duration = Duration::from_secs(60 * 60);
const SHOWN_LINES_MAX: usize = 60;

/// The peers of these names, in the order of the table; all when there are none.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Peer>, Failure> {
    for name in names {
        if !PEERS.iter().any(|peer| peer.name == name) {
            return Err(Failure::new(format!(
                "no peer `{name}`; `cargo xtask bench --list` shows them"
            )));
        }
    }
    let meant = PEERS
        .iter()
        .filter(|peer| names.is_empty() || names.iter().any(|name| peer.name == name));
    Ok(meant.collect())
}

/// Builds the load program and the peers that are asked for, all in release mode.
pub(crate) fn build(workspace: &Workspace, peers: &[&'static Peer]) -> Result<(), Failure> {
    let mut builds = vec![(
        "compiling the load program and the server".to_owned(),
        cargo(
            workspace.root.clone(),
            workspace.target.clone(),
            &["-p", "kentongan-load"],
        ),
    )];
    let mut ours = cargo(workspace.root.clone(), workspace.target.clone(), &[]);
    ours.args(["-p", "kentongan", "--example", "lab"]);
    builds.push(("compiling the server".to_owned(), ours));
    for peer in peers {
        match peer.program {
            // Ours is always built: it is what everything is compared for.
            Program::Example(_) => {}
            Program::Peer(name) => builds.push((
                format!("compiling {name}"),
                cargo(
                    peers_folder(workspace),
                    peers_target(workspace),
                    &["-p", name],
                ),
            )),
            Program::Script(_) => {
                let mut npm = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
                npm.args(["ci", "--no-audit", "--no-fund"])
                    .current_dir(peers_folder(workspace).join("node"));
                builds.push((format!("fetching what {} needs", peer.name), npm));
            }
        }
    }
    let log = workspace.logs().join("bench-build.log");
    std::fs::write(&log, "")?;
    for (headline, command) in &mut builds {
        let mut progress = Progress::start(headline.clone());
        let started = Instant::now();
        let result = child::run_logged(command, &log, BUILD_TIME_MAX, &mut |passed| {
            progress.tick(passed);
        });
        let outcome = if result.is_ok() { "done" } else { "failed" };
        progress.finish(outcome, started.elapsed());
        result.map_err(|failure| {
            let shown = child::tail(&log, SHOWN_LINES_MAX);
            Failure::new(format!("{shown}\n\n{failure}"))
        })?;
    }
    Ok(())
}

impl Peer {
    /// Program and arguments that start it on a free port.
    pub(crate) fn command(&self, workspace: &Workspace, scenario: &Scenario) -> Vec<String> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut words = match self.program {
            Program::Example(name) => {
                vec![text(
                    workspace.target.join("release").join("examples").join(name),
                )]
            }
            Program::Peer(name) => vec![text(peers_target(workspace).join("release").join(name))],
            Program::Script(name) => vec![
                "node".to_owned(),
                text(peers_folder(workspace).join("node").join(name)),
            ],
        };
        words.push("0".to_owned());
        if let Program::Example(_) = self.program {
            if let Placement::Free { workers } = scenario.placement {
                words.extend(["--workers".to_owned(), workers.to_string()]);
            }
            words.extend(
                scenario
                    .server_options()
                    .iter()
                    .map(|word| (*word).to_owned()),
            );
        }
        words
    }

    /// True for a floor, which is no server that anybody could use.
    pub(crate) fn is_floor(&self) -> bool {
        [FLOOR, FLOOR_TOKIO].contains(&self.name)
    }
}

/// The load program, as `build` leaves it.
pub(crate) fn load_program(workspace: &Workspace) -> PathBuf {
    workspace.target.join("release").join("kentongan-load")
}

/// The folder of the peers' own workspace.
pub(crate) fn peers_folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("benches").join("peers")
}

fn peers_target(workspace: &Workspace) -> PathBuf {
    workspace.target.join("bench")
}

fn cargo(folder: PathBuf, target: PathBuf, what: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(["build", "--release", "--locked"])
        .args(what)
        .arg("--target-dir")
        .arg(target)
        .current_dir(folder);
    // `cargo xtask` sets these for itself. Build scripts that look at them would run again after every other cargo.
    for (name, _) in std::env::vars_os() {
        let is_ours =
            |text: &str| text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::scenario;

    #[test]
    fn only_our_server_is_told_its_workers_and_its_options() {
        let workspace = Workspace::locate().unwrap();
        let check = |name: &str, scenario: &str, expected: &str| {
            let peers = chosen(&[name.to_owned()]).unwrap();
            let scenarios = scenario::chosen(&[scenario.to_owned()]).unwrap();
            let words = peers
                .first()
                .unwrap()
                .command(&workspace, scenarios.first().unwrap());
            assert!(words.join(" ").ends_with(expected), "{words:?}");
        };
        check(KENTONGAN, "echo-1", "examples/lab 0");
        check(KENTONGAN, "workers-2", "lab 0 --workers 2");
        check(KENTONGAN, "fanout-1k-tls", "lab 0 --tls");
        check(NODE, "workers-2", "server.mjs 0");
        check(FLOOR, "jitter", "release/floor 0");
    }

    #[test]
    fn an_unknown_peer_is_refused() {
        assert!(chosen(&["flor".to_owned()]).is_err());
        assert_eq!(chosen(&[]).unwrap().len(), PEERS.len());
    }
}
