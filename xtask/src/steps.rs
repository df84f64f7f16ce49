//! What a test run consists of: one row per step. To add a check to the project, add a row.
//!
//! Knows nothing of how a step is run; that is `suite.rs`.

use crate::tools::Tool;

/// Which runs a step belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    /// Every run: needs nothing but Rust and valgrind.
    Fast,
    /// Only a full run.
    Full,
}

/// One row of the table.
///
/// Commands and values of the environment are split at blanks (commands only), then these are replaced: `{root}` the
/// repository, `{target}` cargo's target folder, `{examples}` the optimized examples, `{xtask}` this program,
/// `{browser}` the browser that was found.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) ring: Ring,
    /// Where the commands run, from the root. A folder that is not there fails the step.
    pub(crate) folder: &'static str,
    /// One after the other; the first that fails ends the step.
    pub(crate) commands: &'static [&'static str],
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// Installed when they are missing.
    pub(crate) tools: &'static [Tool],
    /// The step that makes what this one uses. It must have passed, else old results would be tested.
    pub(crate) after: Option<&'static str>,
}

/// All steps in the order in which they run: what fails most often and costs least comes first.
// One row for one step, however long: rustfmt would make a column of each.
#[rustfmt::skip]
pub(crate) fn steps() -> Vec<Step> {
    const EXAMPLES: &str = "optimized examples";
    vec![
        step("format", "", &["cargo fmt --all --check"]),
        step("tidy", "", &["{xtask} tidy"]),
        step("clippy", "", &["cargo clippy --workspace --all-targets --locked -- -D warnings"]),
        step("tests", "", &["cargo test --workspace --all-targets --locked --no-fail-fast"]),
        step("doc tests", "", &["cargo test --workspace --doc --locked"]),
        step("codec costs", "", &["{xtask} codec-costs"]).with(&[Tool::Valgrind]),
        step(EXAMPLES, "", &["cargo build --profile optimized --locked -p kentongan -p kentongan-protocol -p kentongan-load --examples --bins"]).full(),
        step("system calls", "", &["{xtask} syscalls"]).full().with(&[Tool::Strace]).after(EXAMPLES),
        step("stock clients: node", "conformance/clients", &["npm ci --no-audit --no-fund", "node run.mjs"])
            .full().with(&[Tool::Node]).after(EXAMPLES).env(&[("FIXTURE_CMD", "{examples}/fixture")]),
        step("stock clients: python", "conformance/clients/python", &["python3 -m venv {target}/venv/clients", "{target}/venv/clients/bin/pip install --quiet -r requirements.txt", "{target}/venv/clients/bin/python run.py"])
            .full().with(&[Tool::Python]).after(EXAMPLES).env(&[("FIXTURE_CMD", "{examples}/fixture")]),
        step("autobahn: codec", "conformance/autobahn", &["python3 -m venv {target}/venv/autobahn", "{target}/venv/autobahn/bin/pip install --quiet -r requirements.txt", "{target}/venv/autobahn/bin/python run.py -- {examples}/websocket_echo --listen 127.0.0.1:0 --deflate"])
            .full().with(&[Tool::Python]).after(EXAMPLES),
        step("chat page in a browser", "web/chat", &["npm ci --no-audit --no-fund", "npm run check", "npm run build", "npm test"])
            .full().with(&[Tool::Node, Tool::Chromium]).after(EXAMPLES).env(&[("CHAT_CMD", "{examples}/chat --web {root}/web/chat/dist"), ("CHROMIUM", "{browser}")]),
        step("licences and sources", "", &["{target}/tools/bin/cargo-deny --locked check bans licenses sources"]).full().with(&[Tool::CargoDeny]),
    ]
}

fn step(name: &'static str, folder: &'static str, commands: &'static [&'static str]) -> Step {
    Step {
        name,
        ring: Ring::Fast,
        folder,
        commands,
        env: &[],
        tools: &[],
        after: None,
    }
}

impl Step {
    fn full(self) -> Self {
        Self {
            ring: Ring::Full,
            ..self
        }
    }

    fn with(self, tools: &'static [Tool]) -> Self {
        Self { tools, ..self }
    }

    fn after(self, step: &'static str) -> Self {
        Self {
            after: Some(step),
            ..self
        }
    }

    fn env(self, env: &'static [(&'static str, &'static str)]) -> Self {
        Self { env, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_waits_for_runs_before_it_and_in_the_same_ring() {
        let steps = steps();
        for (index, step) in steps.iter().enumerate() {
            assert!(!step.commands.is_empty(), "{} does nothing", step.name);
            let Some(wanted) = step.after else { continue };
            let earlier = steps[..index].iter().find(|earlier| earlier.name == wanted);
            let earlier =
                earlier.unwrap_or_else(|| panic!("{wanted} must come before {}", step.name));
            assert!(earlier.ring == Ring::Fast || step.ring == Ring::Full);
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = steps().iter().map(|step| step.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
