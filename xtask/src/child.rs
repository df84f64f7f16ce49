//! Running other programs: output into a log file, a time limit, and nothing left behind.
//!
//! A step may start servers and browsers of its own. When it ends, however it ends, all of them are ended: by process
//! group, and on Linux also by a mark in their environment, because a test runner may put a server in its own group.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::failure::Failure;

/// The environment variable that marks everything started by this run.
const MARK: &str = "KENTONGAN_XTASK_RUN";
/// How often a running program is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The process group that runs now; 0 when there is none. For the interrupt handler only.
static CURRENT_GROUP: AtomicU32 = AtomicU32::new(0);
/// Numbers the programs that this run started, so that ending one leaves the others alone.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// Runs `command` with its output appended to `log`, calling `tick` with the time passed while it runs.
///
/// Fails when the program cannot be started, ends with anything but success, or is still running after `limit`.
pub(crate) fn run_logged(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    tick: &mut dyn FnMut(Duration),
) -> Result<(), Failure> {
    let shown = shown(command);
    let mut file = File::options().create(true).append(true).open(log)?;
    writeln!(file, "$ {shown}")?;
    let mark = next_mark();
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .env(MARK, &mark);
    lead_own_group(command);
    let mut child = command
        .spawn()
        .map_err(|error| Failure::new(format!("cannot start `{shown}`: {error}")))?;
    CURRENT_GROUP.store(child.id(), Ordering::SeqCst);
    let ended = wait(&mut child, limit, tick);
    end_group(child.id());
    end_marked(&mark);
    CURRENT_GROUP.store(0, Ordering::SeqCst);
    if ended.as_ref().is_ok_and(Option::is_none) {
        // The group is ended already; this collects the exit status.
        child.kill()?;
        child.wait()?;
    }
    match ended? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Failure::new(format!("`{shown}` ended with {status}"))),
        None => Err(Failure::new(format!(
            "`{shown}` was still running after {} minutes",
            limit.as_secs() / 60
        ))),
    }
}

/// A program that runs beside others, until it is dropped.
pub(crate) struct Background {
    child: Child,
    mark: String,
}

impl Background {
    /// Starts `command` with its output in `log`, which is emptied before.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self, Failure> {
        let file = File::create(log)?;
        let mark = next_mark();
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .env(MARK, &mark);
        lead_own_group(command);
        let child = command
            .spawn()
            .map_err(|error| Failure::new(format!("cannot start `{}`: {error}", shown(command))))?;
        Ok(Self { child, mark })
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        end_group(self.child.id());
        end_marked(&self.mark);
        // Collects the exit status; where there are no groups, this is what ends it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last `count` lines of a log.
pub(crate) fn tail(log: &Path, count: usize) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(count)..)
        .unwrap_or_default()
        .join("\n")
}

/// True when `program` can be started from the search path.
pub(crate) fn answers(program: &str, args: &[&str]) -> bool {
    output(program, args).is_some()
}

/// What `program` prints, or nothing when it cannot be started or fails.
pub(crate) fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// On an interrupt (Ctrl-C, SIGTERM, SIGHUP) first ends what runs, then this program.
pub(crate) fn end_on_interrupt() -> Result<(), Failure> {
    #[expect(
        clippy::exit,
        reason = "an interrupt handler has no caller to return to"
    )]
    ctrlc::set_handler(|| {
        end_group(CURRENT_GROUP.load(Ordering::SeqCst));
        end_marked(&mark());
        // 128 + SIGINT, as shells have it.
        std::process::exit(130);
    })
    .map_err(|error| Failure::new(format!("cannot set the interrupt handler: {error}")))
}

/// A command line as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

fn wait(
    child: &mut Child,
    limit: Duration,
    tick: &mut dyn FnMut(Duration),
) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            return Ok(None);
        }
        tick(started.elapsed());
        thread::sleep(LOOK_INTERVAL);
    }
}

/// The mark of this run, behind that of the run which started it: a nested run ends with the outer one.
fn mark() -> String {
    let outer = std::env::var(MARK).unwrap_or_default();
    format!("{outer}/{}", std::process::id())
}

/// A mark for one more program of this run.
fn next_mark() -> String {
    format!("{}-{}", mark(), RUNS.fetch_add(1, Ordering::Relaxed))
}

#[cfg(unix)]
fn lead_own_group(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn lead_own_group(_: &mut Command) {}

#[cfg(unix)]
fn end_group(group: u32) {
    if group != 0 {
        kill(&format!("-{group}"));
    }
}

#[cfg(not(unix))]
fn end_group(_: u32) {}

#[cfg(target_os = "linux")]
fn end_marked(mark: &str) {
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    for process in processes.flatten() {
        let Ok(environment) = fs::read(process.path().join("environ")) else {
            continue;
        };
        if environment
            .split(|byte| *byte == 0)
            .any(|variable| bears(variable, mark))
        {
            kill(&process.file_name().to_string_lossy());
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn end_marked(_: &str) {}

/// True for the variable of a program that was started under `mark`, directly or by a nested run.
#[cfg(target_os = "linux")]
fn bears(variable: &[u8], mark: &str) -> bool {
    let value = std::str::from_utf8(variable)
        .ok()
        .and_then(|text| text.strip_prefix(MARK)?.strip_prefix('='));
    let rest = value.and_then(|value| value.strip_prefix(mark));
    // `/7-1` is not the mark of `/7-12`, but `/7` is that of both.
    rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

/// The program instead of the system call: a call would need unsafe code or one more dependency.
#[cfg(unix)]
fn kill(process: &str) {
    // An error means that it is gone already.
    let _ = Command::new("kill")
        .args(["-s", "KILL", "--", process])
        .stderr(Stdio::null())
        .status();
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{env, process};

    use super::*;

    fn run(script: &str, name: &str, limit: Duration) -> (Result<(), Failure>, String) {
        let log = env::temp_dir().join(format!("xtask-child-{name}-{}.log", process::id()));
        let _ = fs::remove_file(&log);
        let result = run_logged(
            Command::new("sh").args(["-c", script]),
            &log,
            limit,
            &mut |_| {},
        );
        let text = tail(&log, 2);
        fs::remove_file(&log).unwrap();
        (result, text)
    }

    /// A killed process is there until the kernel has had the time to end it: on a busy machine a check at once found one
    /// that was still marked as running. A zombie is one that has ended.
    fn assert_ends(process: &str) {
        let started = Instant::now();
        loop {
            let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "the process still runs: {state}"
            );
            thread::sleep(LOOK_INTERVAL);
        }
    }

    #[test]
    fn output_of_both_streams_reaches_the_log() {
        let (result, text) = run(
            "echo one; echo two >&2; echo three",
            "streams",
            Duration::from_secs(60),
        );
        result.unwrap();
        assert_eq!(text, "two\nthree");
    }

    #[test]
    fn a_failure_names_the_command_and_its_status() {
        let (result, _) = run("exit 7", "status", Duration::from_secs(60));
        assert_eq!(
            result.unwrap_err().to_string(),
            "`sh -c exit 7` ended with exit status: 7"
        );
    }

    #[test]
    fn a_program_over_its_limit_is_ended_with_its_children() {
        let started = Instant::now();
        let (result, child) = run(
            "sleep 1000 & echo $!; wait",
            "limit",
            Duration::from_millis(200),
        );
        assert!(result.unwrap_err().to_string().contains("still running"));
        assert!(started.elapsed() < Duration::from_secs(100));
        assert_ends(child.lines().last().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_mark_covers_nested_runs_and_no_others() {
        let check = |variable: &str, mark, expected| {
            assert_eq!(
                bears(variable.as_bytes(), mark),
                expected,
                "{variable} {mark}"
            )
        };
        check("KENTONGAN_XTASK_RUN=/7-1", "/7-1", true);
        check("KENTONGAN_XTASK_RUN=/7-1/9-0", "/7-1", true);
        check("KENTONGAN_XTASK_RUN=/7-12", "/7-1", false);
        check("KENTONGAN_XTASK_RUN=/7-12", "/7", true);
        check("KENTONGAN_XTASK_RUN=/71-2", "/7", false);
        check("OTHER=/7-1", "/7-1", false);
    }

    #[test]
    fn a_program_in_the_background_ends_when_it_is_dropped() {
        let log = env::temp_dir().join(format!("xtask-child-background-{}.log", process::id()));
        // One child in the group of the program, one that has left it.
        let script = "setsid sleep 1000 & echo $!; sleep 1000";
        let mut background =
            Background::start(Command::new("sh").args(["-c", script]), &log).unwrap();
        let started = Instant::now();
        let left = loop {
            let text = fs::read_to_string(&log).unwrap();
            if let Some(line) = text.strip_suffix('\n') {
                break line.to_owned();
            }
            assert!(started.elapsed() < Duration::from_secs(20));
            thread::sleep(LOOK_INTERVAL);
        };
        assert!(background.ended().unwrap().is_none());
        let id = background.id();
        drop(background);
        fs::remove_file(&log).unwrap();
        assert_ends(&id.to_string());
        assert_ends(&left);
    }

    #[test]
    fn a_server_left_behind_in_the_background_is_ended() {
        let (result, child) = run(
            "setsid sleep 1000 & echo $!",
            "left",
            Duration::from_secs(60),
        );
        result.unwrap();
        assert_ends(child.lines().last().unwrap());
    }
}
