//! `cargo xtask sim`: the seeded simulator of the testkit, over many seeds.

use std::process::Command;

use crate::{failure::Failure, workspace::Workspace};

/// Runs the simulator test with the seeds in its environment.
pub(crate) fn run(workspace: &Workspace, seeds: u64, seed: Option<u64>) -> Result<(), Failure> {
    let mut command = Command::new("cargo");
    command.args([
        "test",
        "--locked",
        "-p",
        "kentongan-testkit",
        "--test",
        "simulator",
        "--",
        "--nocapture",
    ]);
    command
        .current_dir(&workspace.root)
        .env("SIM_SEEDS", seeds.to_string());
    if let Some(seed) = seed {
        command.env("SIM_SEED", seed.to_string());
    }
    if command.status()?.success() {
        Ok(())
    } else {
        Err(Failure::new(
            "the simulator test failed; where a seed is printed above, `--seeds 1 --seed S` replays it",
        ))
    }
}
