//! `cargo xtask demo`: from a fresh clone to the chat in a browser.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    child,
    failure::Failure,
    progress::Progress,
    tools,
    workspace::{PROFILE, Workspace},
};

/// Whether to open the browser once the server answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Browser {
    Open,
    Leave,
}

/// A step of the build; a first optimized build on a slow machine is far below it.
const BUILD_TIME_MAX: Duration = Duration::from_secs(60 * 60);
const SERVER_START_MAX: Duration = Duration::from_secs(20);
const SHOWN_LINES_MAX: usize = 60;

/// Builds page and server, then runs the server until it is stopped.
pub(crate) fn run(
    workspace: &Workspace,
    listen: SocketAddr,
    browser: Browser,
) -> Result<(), Failure> {
    tools::demand_node()?;
    let page = workspace.root.join("web").join("chat");
    let log = workspace.logs().join("demo.log");
    fs::create_dir_all(workspace.logs())?;
    fs::write(&log, "")?;

    let build = |headline: &str, command: &mut Command| {
        let mut progress = Progress::start(headline.to_owned());
        let started = Instant::now();
        let result = child::run_logged(command, &log, BUILD_TIME_MAX, &mut |passed| {
            progress.tick(passed)
        });
        progress.finish(
            if result.is_ok() { "done" } else { "failed" },
            started.elapsed(),
        );
        result.map_err(|failure| {
            Failure::new(format!(
                "{}\n\n{failure}\nthe full log: {}",
                child::tail(&log, SHOWN_LINES_MAX),
                log.display()
            ))
        })
    };
    build(
        "1/3 fetching what the page needs",
        npm()
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&page),
    )?;
    build(
        "2/3 building the page",
        npm().args(["run", "build"]).current_dir(&page),
    )?;
    build(
        "3/3 compiling the server (the first time takes minutes)",
        Command::new("cargo")
            .args([
                "build",
                "--profile",
                PROFILE,
                "--locked",
                "-p",
                "kentongan",
                "--example",
                "chat",
            ])
            .current_dir(&workspace.root),
    )?;

    let server = workspace
        .target
        .join(PROFILE)
        .join("examples")
        .join(if cfg!(windows) { "chat.exe" } else { "chat" });
    if browser == Browser::Open {
        thread::spawn(move || open_when_ready(listen));
    }
    let status = Command::new(server)
        .arg("--listen")
        .arg(listen.to_string())
        .arg("--web")
        .arg(page.join("dist"))
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("the server ended with {status}")))
    }
}

fn npm() -> Command {
    Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

fn open_when_ready(listen: SocketAddr) {
    let near = reachable(listen);
    let started = Instant::now();
    while TcpStream::connect(near).is_err() {
        if started.elapsed() > SERVER_START_MAX {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    let url = format!("http://{near}/");
    let (program, args): (&str, &[&str]) = match std::env::consts::OS {
        "macos" => ("open", &[]),
        "windows" => ("cmd", &["/c", "start", ""]),
        // Without a display there is no browser to open; the address is on the terminal.
        _ if std::env::var_os("DISPLAY")
            .or_else(|| std::env::var_os("WAYLAND_DISPLAY"))
            .is_none() =>
        {
            return;
        }
        _ => ("xdg-open", &[]),
    };
    // The address is printed anyway: a browser that does not open is no failure.
    let _ = Command::new(program)
        .args(args)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// The address under which a server that listens on `listen` is reached from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port())
    } else {
        listen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_address_is_reached_on_the_loopback() {
        let check = |listen: &str, expected: &str| {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected)
        };
        check("127.0.0.1:8080", "127.0.0.1:8080");
        check("0.0.0.0:8080", "127.0.0.1:8080");
        check("[::]:80", "127.0.0.1:80");
        check("192.0.2.1:9", "192.0.2.1:9");
    }
}
