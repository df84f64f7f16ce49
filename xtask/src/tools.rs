//! The programs that steps need, and how they get here when they are missing.
//!
//! Installed is only what is missing, and only where that needs no question: by apt-get as root or through a sudo that
//! asks no password, or into cargo's target folder.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{child, failure::Failure, workspace::Workspace};

/// A prerequisite of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Node.js and npm.
    Node,
    /// A Python 3 that can make virtual environments.
    Python,
    /// A browser that Playwright can drive.
    Chromium,
    /// Counts instructions.
    Valgrind,
    /// Counts system calls.
    Strace,
    /// cargo-deny, of the version that `deny.toml` is written for.
    CargoDeny,
}

/// The oldest Node.js that has a WebSocket of its own (behind a flag), which the stock clients are tested with.
const NODE_VERSION_MIN: (u32, u32) = (20, 10);
/// The Node.js that is fetched where the distribution's is too old (Debian 12 has 18).
const NODE_VERSION_FETCHED: &str = "22";
const CARGO_DENY_VERSION: &str = "0.20.2";
const INSTALL_TIME_MAX: Duration = Duration::from_secs(20 * 60);

const NODE_ADVICE: &str = "Node.js 20.10 or newer and npm are needed: `apt-get install nodejs npm` on Debian 13 and Ubuntu 25.04, \
    `brew install node` on macOS, or the installer of the Node.js project";

/// Makes sure that `tool` is here, installing it when it is not; what the installation prints goes to `log`.
pub(crate) fn ensure(tool: Tool, workspace: &Workspace, log: &Path) -> Result<(), Failure> {
    if is_here(tool, workspace) {
        return Ok(());
    }
    match tool {
        Tool::Node => {
            // The fetched Node.js is unpacked by npm, so npm must be here first.
            if !child::answers("npm", &["--version"]) {
                apt_install(&["nodejs", "npm"], NODE_ADVICE, log)?;
            }
            if !is_here(tool, workspace) {
                fetch_node(workspace, log)?;
            }
        }
        Tool::Python => apt_install(
            &["python3", "python3-venv"],
            "Python 3 with its venv module is needed",
            log,
        )?,
        Tool::Chromium => {
            let advice = "Chromium is needed: install it, or name a browser in the environment variable CHROMIUM";
            apt_install(&["chromium", "fonts-liberation"], advice, log)?;
        }
        Tool::Strace => apt_install(&["strace"], "strace is needed", log)?,
        Tool::Valgrind => apt_install(&["valgrind"], "valgrind is needed", log)?,
        Tool::CargoDeny => {
            let mut command = Command::new("cargo");
            command
                .args([
                    "install",
                    "cargo-deny",
                    "--locked",
                    "--version",
                    CARGO_DENY_VERSION,
                    "--root",
                ])
                .arg(workspace.tools());
            install(&mut command, log)?;
        }
    }
    if is_here(tool, workspace) {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "{tool:?} was installed and still does not answer"
        )))
    }
}

/// For commands that install nothing: says how to get Node.js when it is missing or too old.
pub(crate) fn demand_node() -> Result<(), Failure> {
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    match node_version(&OsString::from("node")) {
        Some(version) if version >= NODE_VERSION_MIN && child::answers(npm, &["--version"]) => {
            Ok(())
        }
        Some((major, minor)) if (major, minor) < NODE_VERSION_MIN => Err(Failure::new(format!(
            "{NODE_ADVICE}. This machine has {major}.{minor}."
        ))),
        _ => Err(Failure::new(format!("{NODE_ADVICE}."))),
    }
}

/// The search path of the steps: what was put into the target folder comes first.
pub(crate) fn search_path(workspace: &Workspace) -> OsString {
    let own = [workspace.tools().join("bin"), fetched_node(workspace)];
    let rest = env::var_os("PATH").unwrap_or_default();
    let folders = own
        .into_iter()
        .filter(|folder| folder.is_dir())
        .chain(env::split_paths(&rest));
    // Only a folder with the separator in its name cannot be joined; then the machine's own path must do.
    env::join_paths(folders).unwrap_or(rest)
}

/// The browser of the page tests.
pub(crate) fn browser() -> Option<OsString> {
    if let Some(named) = env::var_os("CHROMIUM") {
        return Some(named);
    }
    let path = env::var_os("PATH")?;
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
        .map(PathBuf::into_os_string)
}

fn is_here(tool: Tool, workspace: &Workspace) -> bool {
    match tool {
        Tool::Node => {
            let fetched = fetched_node(workspace).join("node");
            let node = if fetched.is_file() {
                fetched.into_os_string()
            } else {
                OsString::from("node")
            };
            node_version(&node).is_some_and(|version| version >= NODE_VERSION_MIN)
                && child::answers("npm", &["--version"])
        }
        Tool::Python => child::answers("python3", &["-c", "import venv, ensurepip"]),
        Tool::Chromium => browser().is_some(),
        Tool::Strace => child::answers("strace", &["--version"]),
        Tool::Valgrind => child::answers("valgrind", &["--version"]),
        Tool::CargoDeny => {
            let program = workspace.tools().join("bin").join("cargo-deny");
            let version = child::output(&program.to_string_lossy(), &["--version"]);
            version.is_some_and(|text| {
                text.split_whitespace()
                    .any(|word| word == CARGO_DENY_VERSION)
            })
        }
    }
}

fn node_version(program: &OsString) -> Option<(u32, u32)> {
    parse_node_version(&child::output(&program.to_string_lossy(), &["--version"])?)
}

fn parse_node_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn node_package() -> String {
    let machine = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x64"
    };
    format!("node-linux-{machine}")
}

fn fetched_node(workspace: &Workspace) -> PathBuf {
    workspace
        .tools()
        .join("node")
        .join("node_modules")
        .join(node_package())
        .join("bin")
}

fn fetch_node(workspace: &Workspace, log: &Path) -> Result<(), Failure> {
    if !cfg!(target_os = "linux") {
        return Err(Failure::new(NODE_ADVICE));
    }
    let mut command = Command::new("npm");
    command
        .args([
            "install",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--prefix",
        ])
        .arg(workspace.tools().join("node"));
    command.arg(format!("{}@{NODE_VERSION_FETCHED}", node_package()));
    install(&mut command, log)
}

fn apt_install(packages: &[&str], advice: &str, log: &Path) -> Result<(), Failure> {
    let refused = |why: &str| {
        Err(Failure::new(format!(
            "{advice}; it cannot be installed from here: {why}"
        )))
    };
    if !child::answers("apt-get", &["--version"]) {
        return refused("there is no apt-get");
    }
    let is_root = child::output("id", &["-u"]).is_some_and(|id| id.trim() == "0");
    if !is_root && !child::answers("sudo", &["-n", "true"]) {
        return refused("this is not root, and sudo asks for a password");
    }
    // env, because sudo drops the environment.
    let words = [
        "sudo",
        "-n",
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
    ];
    let apt = |args: &[&str]| {
        let words = words.get(if is_root { 2 } else { 0 }..).unwrap_or_default();
        let mut command = Command::new(words.first().unwrap_or(&"apt-get"));
        command.args(words.iter().skip(1)).args(args);
        install(&mut command, log)
    };
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], packages].concat())
}

fn install(command: &mut Command, log: &Path) -> Result<(), Failure> {
    println!("  installing: {}", child::shown(command));
    child::run_logged(command, log, INSTALL_TIME_MAX, &mut |_| {})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_versions_are_read_and_compared() {
        let check = |text, expected| assert_eq!(parse_node_version(text), expected, "{text}");
        check("v20.20.2\n", Some((20, 20)));
        check("v18.20.4", Some((18, 20)));
        check("20.1.1", None);
        check("v20", None);
        check("", None);
        assert!(
            (18, 20) < NODE_VERSION_MIN
                && NODE_VERSION_MIN <= (20, 20)
                && NODE_VERSION_MIN <= (22, 0)
        );
    }
}
