//! `cargo xtask bench`: the server of this project beside others, on this machine, under the same load.
//!
//! Owns the order of the runs and the files that come out. What is measured is the table in `bench/scenario.rs`,
//! against whom the one in `bench/peer.rs`, what is asked of us the one in `bench/target.rs`. The load comes from
//! `kentongan-load`, which measures; here it is only counted together. Timings are never tests.

mod figure;
mod machine;
mod markdown;
mod measurement;
mod peer;
mod plot;
mod results;
mod run;
mod scenario;
mod target;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::{Value, json};

pub(crate) use self::run::wait_until_ready;
use crate::{
    bench::{
        machine::Machine,
        peer::{PEERS, Peer},
        results::{Results, Run},
        scenario::{SCENARIOS, Scenario},
    },
    failure::Failure,
    progress::{Progress, seconds},
    tools,
    workspace::Workspace,
};

/// What is to be measured.
#[derive(Debug)]
pub(crate) struct Options {
    /// Names of scenarios, or their first words; all when empty.
    pub(crate) scenarios: Vec<String>,
    /// Names of peers; all when empty.
    pub(crate) peers: Vec<String>,
    /// How often each scenario is run against each peer.
    pub(crate) rounds: u32,
    /// How long each run takes.
    pub(crate) length: Length,
    /// What becomes of the results that are there.
    pub(crate) earlier: Earlier,
    /// Where the results go; decided by `Options::folder` when it is not said.
    pub(crate) into: Option<PathBuf>,
}

/// What becomes of earlier results in the same folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// They are replaced.
    Replace,
    /// Scenarios that are not measured now stay.
    Keep,
}

/// How long each run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// Long enough for figures to be kept.
    Full,
    /// Long enough to see that everything works.
    Quick,
}

impl Options {
    /// Only a whole run replaces the results that are committed.
    fn folder(&self, workspace: &Workspace) -> PathBuf {
        let is_whole =
            self.scenarios.is_empty() && self.peers.is_empty() && self.length == Length::Full;
        match &self.into {
            Some(folder) => folder.clone(),
            None if is_whole => workspace.root.join("benches").join("results"),
            None => workspace.target.join("bench").join("results"),
        }
    }
}

/// Prints the names that `--scenarios` and `--peers` take.
pub(crate) fn list() {
    println!("scenarios (the first word names all that begin with it):");
    for scenario in &SCENARIOS {
        println!("  {:16}{}", scenario.name, scenario.title);
    }
    println!("peers:");
    for peer in &PEERS {
        println!("  {:16}{}", peer.name, peer.title);
    }
}

/// Builds, measures, and writes table, plot and raw data.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    let scenarios = scenario::chosen(&options.scenarios)?;
    let peers = peer::chosen(&options.peers)?;
    let plan = plan(&scenarios, &peers, options.rounds);
    machine::demand_files(scenarios.iter().map(|scenario| scenario.connections).max())?;
    if peers.iter().any(|peer| peer.name == peer::NODE) {
        tools::demand_node()?;
    }
    fs::create_dir_all(workspace.logs())?;
    peer::build(workspace, &peers)?;

    let now = Machine::describe(workspace)?;
    let date = now.date();
    let folder = options.folder(workspace);
    let started = Instant::now();
    let (machine, mut results) = match options.earlier {
        Earlier::Replace => (now, Results::default()),
        Earlier::Keep => earlier(&folder, &scenarios)?,
    };
    for (index, (round, scenario, peer)) in plan.iter().enumerate() {
        let headline = format!(
            "{}/{} {} {}",
            index + 1,
            plan.len(),
            scenario.name,
            peer.name
        );
        let mut progress = Progress::start(headline);
        let begun = Instant::now();
        let load_average = machine::load_average();
        let outcome = run::measure(workspace, scenario, peer, options.length, &mut progress)
            .map_err(|failure| without_paths(workspace, &failure.to_string()));
        let said = match &outcome {
            Ok(measurement) => measurement.in_short(scenario),
            Err(failure) => format!("FAILED: {failure}"),
        };
        progress.finish(&said, begun.elapsed());
        results.runs.push(Run {
            date: date.clone(),
            round: *round,
            scenario: scenario.name,
            peer: peer.name,
            load_average,
            outcome,
        });
        // After every round, so that a run that is interrupted has not been for nothing.
        if plan.get(index + 1).is_none_or(|(next, ..)| next != round) {
            write(&folder, &machine, &results)?;
        }
    }
    println!(
        "{} runs in {}; the results are in {}",
        plan.len(),
        seconds(started.elapsed()),
        folder.display()
    );
    match results.failed() {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{failed} runs failed"))),
    }
}

/// The results in `folder`, without those of `scenarios`, and what they were measured on.
fn earlier(folder: &Path, scenarios: &[&'static Scenario]) -> Result<(Machine, Results), Failure> {
    let path = folder.join("latest.json");
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::new(format!("{} cannot be read: {why}", path.display()))
    };
    let text = fs::read_to_string(&path).map_err(|error| unreadable(&error))?;
    let raw: Value = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    let machine = raw.get("machine").and_then(Machine::from_raw);
    let machine = machine.ok_or_else(|| unreadable(&"it tells of no machine"))?;
    let runs = raw.get("runs").and_then(Value::as_array);
    let mut results = Results::from_raw(runs.ok_or_else(|| unreadable(&"it holds no runs"))?);
    let is_kept = |run: &Run| {
        scenarios
            .iter()
            .all(|scenario| scenario.name != run.scenario)
    };
    results.runs.retain(is_kept);
    Ok((machine, results))
}

/// The results are committed: they must not tell where the project lies on this machine.
fn without_paths(workspace: &Workspace, text: &str) -> String {
    let (root, target) = (&workspace.root, &workspace.target);
    text.replace(&*target.to_string_lossy(), "target")
        .replace(&*root.to_string_lossy(), ".")
}

/// Every round takes each scenario against each peer in turn, so that a noisy minute hits all alike.
fn plan(
    scenarios: &[&'static Scenario],
    peers: &[&'static Peer],
    rounds: u32,
) -> Vec<(u32, &'static Scenario, &'static Peer)> {
    let mut plan = Vec::new();
    for round in 1..=rounds {
        for scenario in scenarios {
            let takes_part = peers.iter().filter(|peer| scenario.peers.include(peer));
            plan.extend(takes_part.map(|peer| (round, *scenario, *peer)));
        }
    }
    plan
}

fn write(folder: &Path, machine: &Machine, results: &Results) -> Result<(), Failure> {
    let scenarios: Vec<&'static Scenario> = SCENARIOS
        .iter()
        .filter(|scenario| results.date(scenario.name).is_some())
        .collect();
    fs::create_dir_all(folder)?;
    let raw = json!({
        "machine": machine.raw(),
        "runs": results.raw(),
    });
    let raw = serde_json::to_string_pretty(&raw)
        .map_err(|error| Failure::new(format!("the results cannot be written: {error}")))?;
    fs::write(folder.join("latest.json"), raw + "\n")?;
    let document = markdown::document(machine, &scenarios, results);
    fs::write(folder.join("latest.md"), document)?;
    fs::write(
        folder.join("latest.svg"),
        plot::picture(&scenarios, results),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_take_turns_within_a_round() {
        let scenarios = scenario::chosen(&["echo-1".to_owned(), "polling".to_owned()]).unwrap();
        let peers = peer::chosen(&["floor".to_owned(), "node".to_owned()]).unwrap();
        let names: Vec<_> = plan(&scenarios, &peers, 2)
            .iter()
            .map(|(round, scenario, peer)| format!("{round} {} {}", scenario.name, peer.name))
            .collect();
        let expected = ["echo-1 floor", "echo-1 node", "polling-1k node"];
        let expected: Vec<_> = (1..=2)
            .flat_map(|round| expected.map(|name| format!("{round} {name}")))
            .collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn failures_do_not_tell_where_the_project_lies() {
        let workspace = Workspace {
            root: "/a/b".into(),
            target: "/a/b/target".into(),
            xtask: "/a/b/target/debug/xtask".into(),
        };
        let text = "`/a/b/target/release/kentongan-load` and /a/b/benches";
        assert_eq!(
            without_paths(&workspace, text),
            "`target/release/kentongan-load` and ./benches"
        );
    }

    #[test]
    fn only_a_whole_run_replaces_the_committed_results() {
        let workspace = Workspace::locate().unwrap();
        let folder = |scenarios: &[&str], length| {
            let options = Options {
                scenarios: scenarios.iter().map(|name| (*name).to_owned()).collect(),
                peers: Vec::new(),
                rounds: 3,
                length,
                earlier: Earlier::Replace,
                into: None,
            };
            options.folder(&workspace)
        };
        let committed = workspace.root.join("benches").join("results");
        assert_eq!(folder(&[], Length::Full), committed);
        assert_ne!(folder(&[], Length::Quick), committed);
        assert_ne!(folder(&["echo"], Length::Full), committed);
    }
}
