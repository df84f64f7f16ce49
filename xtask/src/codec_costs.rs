//! `cargo xtask codec-costs`: how many instructions each codec operation takes, held against the counts that are
//! checked in.
//!
//! Time varies from run to run, instructions do not: the example `codec_costs` of the protocol crate runs one operation
//! under callgrind, twice, and the difference of the two runs is free of all that happens once. What the counts mean is
//! in `baseline.rs`. Owns the running; must not know what the operations do.

mod baseline;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use self::baseline::{Baseline, Counts, Environment, TOLERANCE, TOLERANCE_ELSEWHERE, Verdict};
use crate::{child, failure::Failure, workspace::Workspace};

const BASELINE: &str = "crates/kentongan-protocol/codec-costs.json";
/// The profile of `Cargo.toml` that the example is built with, which is also its folder in the target folder.
const PROFILE: &str = "codec-costs";
const TIMES_FEW: u64 = 100;
const TIMES_MANY: u64 = 1100;

/// What is done with the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// They are held against the baseline.
    Compare,
    /// They become the baseline.
    Update,
}

/// Builds the example, counts, and compares or writes down.
pub(crate) fn run(workspace: &Workspace, usage: Use) -> Result<(), Failure> {
    let example = build(workspace)?;
    let environment = environment()?;
    let counts = count_all(&example)?;
    let file = workspace.root.join(BASELINE);
    if usage == Use::Update {
        let counted = Baseline {
            environment,
            instructions: counts,
        };
        fs::write(&file, counted.text())?;
        println!(
            "{} counts written to {BASELINE}",
            counted.instructions.len()
        );
        return Ok(());
    }
    let text = fs::read_to_string(&file)
        .map_err(|error| Failure::new(format!("{BASELINE}: {error}; {UPDATE_ADVICE}")))?;
    report(&Baseline::parse(&text)?, &environment, &counts)
}

const UPDATE_ADVICE: &str =
    "`cargo xtask codec-costs --update` writes the counts of this machine down";

fn report(baseline: &Baseline, here: &Environment, counts: &Counts) -> Result<(), Failure> {
    let same = baseline.environment == *here;
    let tolerance = if same { TOLERANCE } else { TOLERANCE_ELSEWHERE };
    let rows = baseline::compare(&baseline.instructions, counts, tolerance);
    println!("instructions for one operation:\n");
    for row in &rows {
        println!("{row}");
    }
    println!();
    if !same {
        println!(
            "The baseline was counted with {}, and here is {here}. Counts of different compilers, C libraries and \
             processors differ, so here only a rise above {TOLERANCE_ELSEWHERE} % fails. If the project has moved to \
             this compiler, {UPDATE_ADVICE}.\n",
            baseline.environment
        );
    }
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    if count(Verdict::Cheaper) > 0 {
        println!("Cheaper than the baseline: keep it so. {UPDATE_ADVICE}.\n");
    }
    let dearer = count(Verdict::Dearer);
    let unmatched = count(Verdict::Unmatched);
    if dearer > 0 {
        return Err(Failure::new(format!(
            "{dearer} operations take over {tolerance} % more instructions than the baseline. If that is what the change \
             is worth, {UPDATE_ADVICE}, and its commit says why"
        )));
    }
    if unmatched > 0 {
        return Err(Failure::new(format!(
            "{unmatched} operations stand only in {BASELINE} or only in the example; {UPDATE_ADVICE}"
        )));
    }
    Ok(())
}

fn build(workspace: &Workspace) -> Result<PathBuf, Failure> {
    // Alone: together with other packages the dependencies might be built with more features.
    let built = Command::new("cargo")
        .args(["build", "--locked", "--profile", PROFILE])
        .args(["-p", "kentongan-protocol", "--example", "codec_costs"])
        .current_dir(&workspace.root)
        .env_remove("RUSTFLAGS")
        .status()?;
    if !built.success() {
        return Err(Failure::new("the example codec_costs does not build"));
    }
    let folder = workspace.target.join(PROFILE).join("examples");
    Ok(folder.join("codec_costs"))
}

fn count_all(example: &Path) -> Result<Counts, Failure> {
    let program = example.to_string_lossy();
    let names = child::output(&program, &["--list"])
        .ok_or_else(|| Failure::new("the example codec_costs does not run"))?;
    names
        .lines()
        .map(|name| {
            let few = count(&program, name, TIMES_FEW)?;
            let many = count(&program, name, TIMES_MANY)?;
            let times = TIMES_MANY - TIMES_FEW;
            Ok((name.to_owned(), many.saturating_sub(few).div_ceil(times)))
        })
        .collect()
}

fn count(program: &str, operation: &str, times: u64) -> Result<u64, Failure> {
    let times = times.to_string();
    let args = [
        "--tool=callgrind",
        // The total is all that is wanted; it is printed.
        "--callgrind-out-file=/dev/null",
        "--log-fd=1",
        program,
        operation,
        &times,
    ];
    child::output("valgrind", &args)
        .as_deref()
        .and_then(collected)
        .ok_or_else(|| {
            Failure::new(format!(
                "valgrind does not count `codec_costs {operation}`; is it installed (`apt-get install valgrind`)?"
            ))
        })
}

/// The total in what callgrind prints: `==7== Collected : 123`.
fn collected(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, total)| total.trim().parse().ok())
}

fn environment() -> Result<Environment, Failure> {
    let rustc = child::output("rustc", &["--version"])
        .ok_or_else(|| Failure::new("rustc does not answer"))?;
    // Which copy loop libc takes, and which instructions the dependencies take, depends on these.
    let libc = child::output("getconf", &["GNU_LIBC_VERSION"]).unwrap_or_default();
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let avx2 = processor.split_whitespace().any(|word| word == "avx2");
    Ok(Environment {
        rustc: rustc.trim().to_owned(),
        machine: format!(
            "{} {}, {}",
            std::env::consts::ARCH,
            if avx2 { "with avx2" } else { "without avx2" },
            libc.trim()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_callgrind_is_read() {
        let printed = "==12== Callgrind, a call-graph generating cache profiler\n==12== \n==12== Events    : Ir\n\
            ==12== Collected : 5972365\n==12== \n==12== I   refs:      5,972,365\n";
        assert_eq!(collected(printed), Some(5_972_365));
        assert_eq!(collected("==12== Collected : many\n"), None);
        assert_eq!(collected(""), None);
    }

    fn environment(rustc: &str) -> Environment {
        Environment {
            rustc: rustc.to_owned(),
            machine: "one".to_owned(),
        }
    }

    fn counts(now: u64) -> Counts {
        Counts::from([("decode".to_owned(), now)])
    }

    #[test]
    fn another_compiler_widens_the_tolerance_and_does_not_lift_it() {
        let baseline = Baseline {
            environment: environment("rustc 1.95.0"),
            instructions: counts(1000),
        };
        let check = |rustc, now, passes| {
            let result = report(&baseline, &environment(rustc), &counts(now));
            assert_eq!(result.is_ok(), passes, "{rustc} {now}: {result:?}");
        };
        check("rustc 1.95.0", 1030, true);
        check("rustc 1.95.0", 1031, false);
        check("rustc 1.95.0", 500, true);
        check("rustc 1.96.0", 1250, true);
        check("rustc 1.96.0", 1251, false);
    }

    #[test]
    fn an_operation_without_a_baseline_fails() {
        let here = environment("rustc 1.95.0");
        let baseline = Baseline {
            environment: here.clone(),
            instructions: Counts::new(),
        };
        assert!(report(&baseline, &here, &counts(1)).is_err());
    }
}
