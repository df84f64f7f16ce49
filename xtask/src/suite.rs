//! `cargo xtask test`: runs the table of `steps.rs` and reports.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    child,
    failure::Failure,
    progress::Progress,
    report::{Report, Row},
    steps::{Ring, Step, steps},
    tools,
    workspace::{PROFILE, Workspace},
};

/// A command that runs longer than this hangs; the slowest (a first build on two cores) needs a third of it.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(30 * 60);
const SHOWN_LINES_MAX: usize = 60;

/// Runs every step of the ring, also after a failure, and prints how they ended.
pub(crate) fn run(workspace: &Workspace, ring: Ring) -> Result<Report, Failure> {
    let steps: Vec<Step> = steps()
        .into_iter()
        .filter(|step| step.ring == Ring::Fast || ring == Ring::Full)
        .collect();
    fs::create_dir_all(workspace.logs())?;
    let mut report = Report::default();
    for (index, step) in steps.iter().enumerate() {
        let log = workspace.logs().join(log_name(index + 1, step.name));
        fs::write(&log, "")?;
        let mut progress = Progress::start(format!("{}/{} {}", index + 1, steps.len(), step.name));
        let started = Instant::now();
        let result = run_step(workspace, step, &report, &log, &mut progress);
        let time = started.elapsed();
        progress.finish(if result.is_ok() { "passed" } else { "FAILED" }, time);
        if let Err(failure) = &result {
            println!(
                "{}\n{failure}\nthe full log: {}\n",
                child::tail(&log, SHOWN_LINES_MAX),
                log.display()
            );
        }
        report.rows.push(Row {
            name: step.name,
            passed: result.is_ok(),
            time,
        });
    }
    println!("\n{report}\n{}", report.summary());
    Ok(report)
}

fn run_step(
    workspace: &Workspace,
    step: &Step,
    report: &Report,
    log: &Path,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let folder = workspace.root.join(step.folder);
    if !folder.is_dir() {
        return Err(Failure::new(format!("there is no folder {}", step.folder)));
    }
    if let Some(earlier) = step.after.filter(|earlier| !report.has_passed(earlier)) {
        return Err(Failure::new(format!(
            "the step `{earlier}` must pass first"
        )));
    }
    for tool in step.tools {
        tools::ensure(*tool, workspace, log)?;
    }
    let places = Places::of(workspace);
    for line in step.commands {
        let mut words = line.split_whitespace().map(|word| places.fill(word));
        let program = words.next().ok_or_else(|| {
            Failure::new(format!("the step `{}` has an empty command", step.name))
        })?;
        let mut command = Command::new(program);
        command
            .args(words)
            .current_dir(&folder)
            .env("PATH", tools::search_path(workspace));
        command.envs(
            step.env
                .iter()
                .map(|(name, value)| (name, places.fill(value))),
        );
        child::run_logged(&mut command, log, COMMAND_TIME_MAX, &mut |passed| {
            progress.tick(passed)
        })?;
    }
    Ok(())
}

/// What the words in braces of the table stand for.
struct Places([(&'static str, String); 5]);

impl Places {
    fn of(workspace: &Workspace) -> Self {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Self([
            ("{root}", text(&workspace.root)),
            ("{target}", text(&workspace.target)),
            (
                "{examples}",
                text(&workspace.target.join(PROFILE).join("examples")),
            ),
            ("{xtask}", text(&workspace.xtask)),
            (
                "{browser}",
                tools::browser()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
            ),
        ])
    }

    fn fill(&self, word: &str) -> String {
        self.0.iter().fold(word.to_owned(), |word, (place, path)| {
            word.replace(place, path)
        })
    }
}

/// `05-stock-clients-node.log`
fn log_name(number: usize, step: &str) -> String {
    let words: Vec<&str> = step
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    format!("{number:02}-{}.log", words.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_names_are_plain() {
        let check = |number, step, expected: &str| assert_eq!(log_name(number, step), expected);
        check(1, "format", "01-format.log");
        check(12, "stock clients: node", "12-stock-clients-node.log");
    }

    #[test]
    fn every_place_of_the_table_is_known() {
        let workspace = Workspace::locate().unwrap();
        let places = Places::of(&workspace);
        for step in steps() {
            for text in step
                .commands
                .iter()
                .chain(step.env.iter().map(|(_, value)| value))
            {
                let filled = places.fill(text);
                assert!(!filled.contains('{'), "{}: {filled}", step.name);
            }
        }
    }
}
