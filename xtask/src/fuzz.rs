//! `cargo xtask fuzz`: libFuzzer on the stable toolchain.
//!
//! Sanitizers need nightly, coverage does not: the instrumentation is an LLVM pass that stable rustc can be told to
//! run. What the flags mean is told in `fuzz/README.md`.

use std::{fs, path::Path, process::Command};

use crate::{failure::Failure, toolchain, workspace::Workspace};

/// What cargo-fuzz passes when it is told to use no sanitizer.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";
/// Memory that one input may use, in MiB: every decoder is bounded far below it.
const MEMORY_MAX_MIB: u32 = 1024;
/// Time that one input may take, in seconds.
const INPUT_TIME_MAX_S: u32 = 10;

/// Builds and runs one target; new inputs and crashes are kept under `target/fuzz`.
pub(crate) fn run(workspace: &Workspace, target: &str, runs: u64) -> Result<(), Failure> {
    let folder = workspace.root.join("fuzz");
    let targets = targets(&folder.join("fuzz_targets"))?;
    if !targets.iter().any(|known| known == target) {
        return Err(Failure::new(format!(
            "no fuzz target `{target}`; there are: {}",
            targets.join(", ")
        )));
    }
    let host = toolchain::host()?;
    let host = host.as_str();

    let work = workspace.target.join("fuzz");
    let build = work.join("build");
    // With --target the flags reach the fuzzed code only, not build scripts.
    let built = Command::new("cargo")
        .args([
            "build",
            "--release",
            "--target",
            host,
            "--bin",
            target,
            "--manifest-path",
        ])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&build)
        .env("RUSTFLAGS", RUSTFLAGS)
        .status()?;
    if !built.success() {
        return Err(Failure::new("the fuzz target does not build"));
    }

    let corpus = work.join("corpus").join(target);
    let crashes = work.join("crashes").join(target);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&crashes)?;
    let mut fuzzer = Command::new(build.join(host).join("release").join(target));
    fuzzer.args([
        format!("-runs={runs}"),
        format!("-rss_limit_mb={MEMORY_MAX_MIB}"),
        format!("-timeout={INPUT_TIME_MAX_S}"),
    ]);
    fuzzer.arg(format!("-artifact_prefix={}/", crashes.display()));
    // The first folder is where new inputs go; the seeds of the repository are only read.
    fuzzer.arg(&corpus);
    let seeds = folder.join("corpus").join(target);
    if seeds.is_dir() {
        fuzzer.arg(seeds);
    }
    if fuzzer.status()?.success() {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "a failing input was kept in {}",
            crashes.display()
        )))
    }
}

fn targets(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    Ok(names)
}
