//! The machine that is measured on: what must be said with every figure, and what a run needs of it.

use std::{fs, path::Path, thread};

use serde_json::{Value, json};

use crate::{bench::peer, child, failure::Failure, workspace::Workspace};

/// Files that a program has open besides its connections.
const FILES_BESIDES: u32 = 200;
/// What a peer is made of, by the names in its lock file.
const CRATES: [&str; 6] = [
    "socketioxide",
    "engineioxide",
    "tungstenite",
    "axum",
    "tokio",
    "mimalloc",
];
const PACKAGES: [&str; 3] = ["socket.io", "engine.io", "ws"];

const DATE: &str = "date";

/// What figures were measured on.
#[derive(Debug)]
pub(crate) struct Machine {
    lines: Vec<(String, String)>,
}

/// The cores of server and client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) client: usize,
}

impl Machine {
    /// Asks the machine; what does not answer is left out.
    pub(crate) fn describe(workspace: &Workspace) -> Result<Self, Failure> {
        let asked = |program, args: &[&str]| {
            child::output(program, args).map(|text| text.trim().to_owned())
        };
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let root = workspace.root.to_string_lossy();
        let commit = asked("git", &["-C", &root, "rev-parse", "--short", "HEAD"]);
        let pinning = match cores_apart() {
            Some(Cores { server, client }) => {
                format!("server on core {server}, client on core {client}")
            }
            None => "none".to_owned(),
        };
        let lines = [
            (DATE, asked("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
            ("commit", commit),
            ("CPU", field(&read("/proc/cpuinfo"), "model name")),
            ("cores", Some(cores().to_string())),
            ("pinning", Some(pinning)),
            ("memory", memory(&read("/proc/meminfo"))),
            ("kernel", asked("uname", &["-sr"])),
            ("compiler", asked("rustc", &["--version"])),
            ("Node.js", asked("node", &["--version"])),
            ("crates of the peers", Some(crates(workspace)?)),
            (
                "packages of the peer on Node.js",
                Some(packages(workspace)?),
            ),
        ];
        let lines = lines
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        Ok(Self { lines })
    }

    /// What `raw` wrote.
    pub(crate) fn from_raw(raw: &Value) -> Option<Self> {
        let line = |line: &Value| {
            let text = |place: usize| Some(line.get(place)?.as_str()?.to_owned());
            Some((text(0)?, text(1)?))
        };
        let lines = raw.as_array()?.iter().map(line).collect::<Option<_>>()?;
        Some(Self { lines })
    }

    /// Name and value of each property.
    pub(crate) fn raw(&self) -> Value {
        json!(self.lines)
    }

    /// When it was asked.
    pub(crate) fn date(&self) -> String {
        let mut lines = self.lines.iter();
        lines
            .find(|(name, _)| *name == DATE)
            .map_or_else(String::new, |(_, date)| date.clone())
    }

    /// Name and value of each property.
    pub(crate) fn lines(&self) -> &[(String, String)] {
        &self.lines
    }
}

/// How many cores there are.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A core for the server and one for the client, where there are two and they can be chosen.
pub(crate) fn cores_apart() -> Option<Cores> {
    let can_choose = child::answers("taskset", &["--version"]);
    (can_choose && cores() > 1).then_some(Cores {
        server: 1,
        client: 0,
    })
}

/// Load average of the last minute.
pub(crate) fn load_average() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Fails when a program may not open as many files as there will be connections.
pub(crate) fn demand_files(connections: Option<u32>) -> Result<(), Failure> {
    let needed = connections.unwrap_or(0) + FILES_BESIDES;
    // "unlimited" is no number, and enough.
    let allowed: Option<u32> =
        child::output("sh", &["-c", "ulimit -n"]).and_then(|text| text.trim().parse().ok());
    match allowed {
        Some(allowed) if allowed < needed => Err(Failure::new(format!(
            "{needed} open files are needed and {allowed} are allowed; try `ulimit -n {needed}`"
        ))),
        _ => Ok(()),
    }
}

/// The value behind `name` and a colon.
fn field(text: &str, name: &str) -> Option<String> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}

fn memory(text: &str) -> Option<String> {
    let kib: f64 = field(text, "MemTotal")?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    Some(format!("{:.1} GiB", kib / (1024.0 * 1024.0)))
}

fn crates(workspace: &Workspace) -> Result<String, Failure> {
    let lock = read(&peer::peers_folder(workspace).join("Cargo.lock"))?;
    let version = |name: &str| {
        let from = lock
            .split_once(&format!("name = \"{name}\"\nversion = \""))?
            .1;
        Some(format!("{name} {}", from.split_once('"')?.0))
    };
    Ok(CRATES
        .into_iter()
        .filter_map(version)
        .collect::<Vec<_>>()
        .join(", "))
}

fn packages(workspace: &Workspace) -> Result<String, Failure> {
    let lock = read(
        &peer::peers_folder(workspace)
            .join("node")
            .join("package-lock.json"),
    )?;
    let lock: Value = serde_json::from_str(&lock)
        .map_err(|error| Failure::new(format!("package-lock.json cannot be read: {error}")))?;
    let version = |name: &str| {
        let entry = lock.get("packages")?.get(format!("node_modules/{name}"))?;
        Some(format!("{name} {}", entry.get("version")?.as_str()?))
    };
    Ok(PACKAGES
        .into_iter()
        .filter_map(version)
        .collect::<Vec<_>>()
        .join(", "))
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("{} cannot be read: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 17\nmodel name\t: A CPU: fast\n";
        assert_eq!(field(text, "model name").unwrap(), "A CPU: fast");
        assert_eq!(field("model name: A\nmodel: 17", "model").unwrap(), "17");
        assert_eq!(field(text, "cache"), None);
        assert_eq!(memory("MemTotal:       25165824 kB\n").unwrap(), "24.0 GiB");
    }

    #[test]
    fn what_was_written_is_read_again() {
        let machine = Machine {
            lines: vec![(DATE.to_owned(), "today".to_owned())],
        };
        let again = Machine::from_raw(&machine.raw()).unwrap();
        assert_eq!(
            (again.lines(), again.date()),
            (machine.lines(), "today".to_owned())
        );
        assert!(Machine::from_raw(&json!([["date"]])).is_none());
    }

    #[test]
    fn the_lock_files_name_all_parts_of_the_peers() {
        let workspace = Workspace::locate().unwrap();
        let crates = crates(&workspace).unwrap();
        assert_eq!(crates.split(", ").count(), CRATES.len(), "{crates}");
        let packages = packages(&workspace).unwrap();
        assert_eq!(packages.split(", ").count(), PACKAGES.len(), "{packages}");
    }

    #[test]
    fn too_few_files_are_said_before_anything_runs() {
        demand_files(None).unwrap();
        let failure = demand_files(Some(u32::MAX - FILES_BESIDES)).map_err(|f| f.to_string());
        let is_unlimited = child::output("sh", &["-c", "ulimit -n"])
            .is_some_and(|text| text.trim().parse::<u32>().is_err());
        assert!(is_unlimited || failure.unwrap_err().contains("ulimit -n"));
    }
}
