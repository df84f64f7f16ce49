//! One run: a fresh server, the load program against it, what that measured.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    bench::{
        Length, machine,
        measurement::Measurement,
        peer::{self, Peer},
        scenario::{Placement, Scenario},
    },
    child::{self, Background},
    failure::Failure,
    progress::Progress,
    workspace::Workspace,
};

/// A server that has not said that it listens by then never will.
const START_TIME_MAX: Duration = Duration::from_secs(20);
/// Node needs about half a minute for the largest scenario.
const LOAD_TIME_MAX: Duration = Duration::from_secs(3 * 60);
const SHOWN_LINES_MAX: usize = 3;

/// Starts `peer`, puts `scenario` on it, ends it.
pub(crate) fn measure(
    workspace: &Workspace,
    scenario: &Scenario,
    peer: &Peer,
    length: Length,
    progress: &mut Progress,
) -> Result<Measurement, Failure> {
    let cores = match scenario.placement {
        Placement::Apart => machine::cores_apart(),
        Placement::Free { .. } => None,
    };
    let log = workspace.logs().join("bench-server.log");
    let words = peer.command(workspace, scenario);
    let mut command = pinned(cores.map(|cores| cores.server), &words);
    let mut server = Background::start(&mut command, &log)?;
    let port = wait_until_ready(&mut server, &log)?;

    let file = workspace.logs().join("bench-load.json");
    // What an earlier run left must not be taken for this one's.
    let _ = fs::remove_file(&file);
    let mut words = vec![peer::load_program(workspace).to_string_lossy().into_owned()];
    words.extend(scenario.arguments(length));
    words.extend(scenario.reach(port));
    words.extend(["--pid".to_owned(), server.id().to_string()]);
    words.extend(["--json".to_owned(), file.to_string_lossy().into_owned()]);
    let mut command = pinned(cores.map(|cores| cores.client), &words);
    let log = workspace.logs().join("bench-load.log");
    fs::write(&log, "")?;
    let ended = child::run_logged(&mut command, &log, LOAD_TIME_MAX, &mut |passed| {
        progress.tick(passed);
    });
    // The load program may end with an error for faults, and say all the same what it measured.
    match (fs::read_to_string(&file), ended) {
        (Ok(text), _) => Measurement::parse(&text),
        (Err(_), ended) => {
            let shown = child::tail(&log, SHOWN_LINES_MAX);
            let why = ended.err().map_or_else(
                || "the load program wrote no result".to_owned(),
                |failure| failure.to_string(),
            );
            Err(Failure::new(format!("{why}: {shown}")))
        }
    }
}

/// The command on one core, where that is wanted. `taskset` becomes the program, so the process id stays the same.
fn pinned(core: Option<usize>, words: &[String]) -> Command {
    let prefix = core.map(|core| ["taskset".to_owned(), "-c".to_owned(), core.to_string()]);
    let mut words = prefix.iter().flatten().chain(words);
    let mut command = Command::new(words.next().map_or("", String::as_str));
    command.args(words);
    command
}

pub(crate) fn wait_until_ready(server: &mut Background, log: &Path) -> Result<u16, Failure> {
    let started = Instant::now();
    loop {
        let text = fs::read_to_string(log)?;
        if let Some(port) = port(&text) {
            return Ok(port);
        }
        if let Some(status) = server.ended()? {
            return Err(Failure::new(format!(
                "the server ended with {status}: {text}"
            )));
        }
        if started.elapsed() > START_TIME_MAX {
            return Err(Failure::new("the server does not say that it listens"));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The port in the first line, when that line is complete.
fn port(text: &str) -> Option<u16> {
    let (line, _) = text.split_once('\n')?;
    line.trim_end().rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_first_whole_line() {
        assert_eq!(port("listening on 127.0.0.1:8080\n"), Some(8080));
        assert_eq!(port("listening on 127.0.0.1:80"), None);
        assert_eq!(port("error\nlistening on 127.0.0.1:8080\n"), None);
    }

    #[test]
    fn pinning_goes_before_the_command() {
        let words = ["server".to_owned(), "0".to_owned()];
        assert_eq!(
            child::shown(&pinned(Some(1), &words)),
            "taskset -c 1 server 0"
        );
        assert_eq!(child::shown(&pinned(None, &words)), "server 0");
    }
}
