//! `cargo xtask syscalls`: how many system calls the server makes for a delivery and for a request.
//!
//! Time varies with the machine, the number of calls hardly: the example `lab` runs under strace while
//! `kentongan-load` sends. A short run is taken off a long one, so what is left is free of connecting. Owns running and
//! counting; the bounds are in the table [`GUARDS`].

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    bench, child,
    child::Background,
    failure::Failure,
    workspace::{PROFILE, Workspace},
};

/// A bound on calls for one operation.
struct Guard {
    name: &'static str,
    /// Scenario of the load program and its options.
    load: &'static [&'static str],
    /// Options of the run.
    long: &'static [&'static str],
    /// Those of the one that is taken off it, if any.
    short: Option<&'static [&'static str]>,
    /// The operations of a run.
    operations: fn(&Value) -> Option<f64>,
    kind: Kind,
    calls_max: f64,
}

/// Calls that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Bytes out. `write` is also how one thread of tokio wakes another.
    Send,
    /// Bytes in.
    Receive,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Send => "send calls",
            Self::Receive => "receive calls",
        }
    }

    fn calls(self) -> &'static [&'static str] {
        match self {
            Self::Send => &["write", "writev", "sendto", "sendmsg"],
            Self::Receive => &["read", "readv", "recvfrom", "recvmsg"],
        }
    }
}

/// `--warm-up 0`, because only measured operations are reported.
const GUARDS: [Guard; 3] = [
    Guard {
        name: "single messages to 200",
        load: &[
            "fanout",
            "--connections",
            "200",
            "--rate",
            "25",
            "--warm-up",
            "0",
        ],
        long: &["--duration", "2.4"],
        short: Some(&["--duration", "0.4"]),
        operations: fanned_out,
        kind: Kind::Send,
        calls_max: 1.05,
    },
    Guard {
        name: "bursts of 100 to 50",
        load: &["burst", "--connections", "50", "--warm-up", "0"],
        // The number of rounds is fixed: a shorter run would have as many, and their writes would be taken off.
        long: &["--messages", "100"],
        short: None,
        operations: reported,
        kind: Kind::Send,
        calls_max: 0.1,
    },
    Guard {
        name: "echo, 1 in flight",
        load: &["echo", "--connections", "20", "--warm-up", "0"],
        long: &["--duration", "2.5"],
        short: Some(&["--duration", "0.5"]),
        operations: reported,
        kind: Kind::Receive,
        calls_max: 2.1,
    },
];

/// Traced besides, for the log alone.
const WAITING: &str = "epoll_wait";
/// A first build on a slow machine is far below it.
const BUILD_TIME_MAX: Duration = Duration::from_secs(1800);
const LOAD_TIME_MAX: Duration = Duration::from_secs(2 * 60);
const END_TIME_MAX: Duration = Duration::from_secs(20);
const SHOWN_LINES_MAX: usize = 5;

/// Builds, counts, and fails when a guard's bound is passed.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Failure> {
    if !cfg!(target_os = "linux") {
        return Err(Failure::new("strace is of Linux"));
    }
    if !child::answers("strace", &["-o", "/dev/null", "true"]) {
        return Err(Failure::new(
            "`strace true` fails: it is missing, or this machine does not allow tracing",
        ));
    }
    fs::create_dir_all(workspace.logs())?;
    let log = workspace.logs().join("syscalls-build.log");
    fs::write(&log, "")?;
    child::run_logged(&mut build(workspace), &log, BUILD_TIME_MAX, &mut |_| {}).map_err(
        |failure| {
            Failure::new(format!(
                "{}\n\n{failure}",
                child::tail(&log, SHOWN_LINES_MAX)
            ))
        },
    )?;
    let mut passed = Vec::new();
    for guard in &GUARDS {
        let short = match guard.short {
            Some(short) => Counted::of(workspace, guard, short)?,
            None => Counted::default(),
        };
        let long = Counted::of(workspace, guard, guard.long)?;
        let operations = long.operations - short.operations;
        let per_operation = |names: &[&str]| {
            let calls = long.calls(names) as f64 - short.calls(names) as f64;
            calls / operations
        };
        if operations < OPERATIONS_MIN {
            return Err(Failure::new(format!(
                "{}: {operations} operations are too few to say anything",
                guard.name
            )));
        }
        let found = per_operation(guard.kind.calls());
        println!(
            "{:24} {:.3} {} for each of {operations} operations (at most {}), {:.3} {WAITING}",
            guard.name,
            found,
            guard.kind.word(),
            guard.calls_max,
            per_operation(&[WAITING]),
        );
        if found > guard.calls_max {
            passed.push(guard.name);
        }
    }
    if passed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "more system calls than allowed: {}",
        passed.join(", ")
    )))
}

/// What one run took.
#[derive(Default)]
struct Counted {
    operations: f64,
    calls: Vec<(String, u64)>,
}

impl Counted {
    fn of(workspace: &Workspace, guard: &Guard, length: &[&str]) -> Result<Self, Failure> {
        let summary = workspace.logs().join("syscalls-strace.txt");
        let server_log = workspace.logs().join("syscalls-server.log");
        let _ = fs::remove_file(&summary);
        let mut server = Background::start(&mut traced_server(workspace, &summary), &server_log)?;
        let port = bench::wait_until_ready(&mut server, &server_log)?;
        let report = load(workspace, guard, length, port)?;
        end_traced(&mut server)?;
        let faults = report.get("faults").and_then(Value::as_object);
        let faults = faults.into_iter().flatten();
        let faults: Vec<_> = faults.filter(|(_, count)| **count != 0).collect();
        if !faults.is_empty() {
            return Err(Failure::new(format!("{}: faults {faults:?}", guard.name)));
        }
        let operations = (guard.operations)(&report)
            .ok_or_else(|| Failure::new("the load program does not say how much it did"))?;
        Ok(Self {
            operations,
            calls: parse(&fs::read_to_string(&summary)?),
        })
    }

    fn calls(&self, names: &[&str]) -> u64 {
        let counted = self.calls.iter();
        counted
            .filter(|(name, _)| names.contains(&name.as_str()))
            .map(|(_, calls)| calls)
            .sum()
    }
}

/// Builds the server and the load program, unless the step before has.
fn build(workspace: &Workspace) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(["build", "--locked", "--profile", PROFILE])
        .args(["-p", "kentongan", "-p", "kentongan-load"])
        .args(["--example", "lab", "--bin", "kentongan-load"])
        .current_dir(&workspace.root);
    command
}

fn traced_server(workspace: &Workspace, summary: &Path) -> Command {
    let mut names = [Kind::Send.calls(), Kind::Receive.calls()].concat();
    names.push(WAITING);
    let mut command = Command::new("strace");
    command
        // Only the calls that are counted stop the server.
        .args(["-f", "-c", "--seccomp-bpf", "-e"])
        .arg(format!("trace={}", names.join(",")))
        .arg("-o")
        .arg(summary)
        .arg(workspace.target.join(PROFILE).join("examples/lab"))
        // One thread does all, so that none has to wake another.
        .args(["0", "--workers", "1"]);
    command
}

fn load(
    workspace: &Workspace,
    guard: &Guard,
    length: &[&str],
    port: u16,
) -> Result<Value, Failure> {
    let file = workspace.logs().join("syscalls-load.json");
    let log = workspace.logs().join("syscalls-load.log");
    let _ = fs::remove_file(&file);
    fs::write(&log, "")?;
    let mut command = Command::new(workspace.target.join(PROFILE).join("kentongan-load"));
    command
        .args(guard.load)
        .args(length)
        .args(["--url", &format!("http://127.0.0.1:{port}"), "--json"])
        .arg(&file);
    child::run_logged(&mut command, &log, LOAD_TIME_MAX, &mut |_| {}).map_err(|failure| {
        let shown = child::tail(&log, SHOWN_LINES_MAX);
        Failure::new(format!("{}: {failure}: {shown}", guard.name))
    })?;
    serde_json::from_str(&fs::read_to_string(&file)?)
        .map_err(|error| Failure::new(format!("the load program's report: {error}")))
}

/// Ends the server, not strace: that one then writes its summary.
fn end_traced(strace: &mut Background) -> Result<(), Failure> {
    let id = strace.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
    for server in children.split_whitespace() {
        Command::new("kill")
            .args(["-s", "TERM", "--", server])
            .status()?;
    }
    let began = Instant::now();
    while strace.ended()?.is_none() {
        if began.elapsed() > END_TIME_MAX {
            return Err(Failure::new("the traced server does not end"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The calls in a summary of `strace -c`: share, seconds, microseconds for a call, calls, errors if any, name.
fn parse(summary: &str) -> Vec<(String, u64)> {
    let rows = summary.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [share, _, _, calls, .., name] = words.as_slice() else {
            return None;
        };
        share.parse::<f64>().ok()?;
        Some(((*name).to_owned(), calls.parse().ok()?))
    });
    rows.filter(|(name, _)| name != "total").collect()
}

/// Operations as the load program counts them.
fn reported(report: &Value) -> Option<f64> {
    report.get("operations")?.as_f64()
}

/// Deliveries of the whole run: every connection gets every message.
fn fanned_out(report: &Value) -> Option<f64> {
    let messages = report.get("messages_sent")?.as_f64()?;
    Some(messages * report.get("connections")?.as_f64()?)
}

/// Below it the difference of two runs is noise.
const OPERATIONS_MIN: f64 = 1_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_strace_are_read() {
        let summary = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.20    0.012345          12      1000           writev
 38.80    0.007890           7      1100       100 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.020235           9      2100       100 total
";
        let counted = Counted {
            operations: 1.0,
            calls: parse(summary),
        };
        assert_eq!(counted.calls(Kind::Send.calls()), 1_000);
        assert_eq!(counted.calls(Kind::Receive.calls()), 1_100);
        assert_eq!(counted.calls(&["total"]), 0);
    }
}
