//! The tasks of this workspace, reached by `cargo xtask …` (the alias lives in `.cargo/config.toml`).
//!
//! Owns the command line. Each command is one module; what a test run consists of is the table in `steps.rs`,
//! what a tidy tree is are the rules in `tidy/`. Knows nothing of how the library works.

mod bench;
mod child;
mod codec_costs;
mod demo;
mod failure;
mod fuzz;
mod progress;
mod report;
mod sim;
mod steps;
mod suite;
mod syscalls;
mod tidy;
mod toolchain;
mod tools;
mod workspace;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{failure::Failure, workspace::Workspace};

/// The tasks of the Kentongan workspace.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "\
Where to start:
  cargo xtask demo          see the library at work in a browser
  cargo xtask test --fast   before every commit: format, lints, unit tests, tidy, codec costs (a few minutes)
  cargo xtask test          before every merge: the same, and stock clients, Autobahn, a real browser, licences
  cargo xtask bench         on a quiet machine: how much CPU time and memory the server needs, beside others

Logs of every step are kept in target/xtask-logs/."
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds the chat page and the chat server and runs them
    ///
    /// Needs Node.js 20 and npm for the page. The first run compiles an optimized server, which takes a few
    /// minutes; later runs start in seconds. Stop with Ctrl-C.
    Demo {
        /// Where the server listens
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// Leave the browser alone; only print the address
        #[arg(long)]
        no_open: bool,
    },
    /// Runs every check of the project and prints a table of results
    ///
    /// A missing program is installed with apt-get where that is possible (root, or sudo without a password). A step
    /// that cannot run fails; no step is ever skipped. The last line reads `N passed, N failed`.
    Test {
        /// Only format, lints, Rust tests, tidy and codec costs: nothing that needs Node, Python or a browser
        #[arg(long)]
        fast: bool,
    },
    /// Checks what the compiler does not: crate arrows, words, file sizes, lock files, links, attack tests
    Tidy,
    /// Counts the instructions of each codec operation with valgrind and compares them with the baseline
    ///
    /// Fails when one takes over 3 % more than crates/kentongan-protocol/codec-costs.json says. With another compiler or
    /// machine than the baseline's, counts differ by themselves: then only a rise above 25 % fails.
    CodecCosts {
        /// Write the counts down as the new baseline
        #[arg(long)]
        update: bool,
    },
    /// Counts the server's system calls for each delivery and each request with strace, and fails when they are too many
    Syscalls,
    /// Runs the seeded simulator of kentongan-testkit
    ///
    /// Every run prints its seed; `--seeds 1 --seed S` replays one.
    Sim {
        /// How many seeds to run
        #[arg(long, value_name = "N")]
        seeds: u64,
        /// The first seed; the following ones are counted up from it
        #[arg(long, value_name = "S")]
        seed: Option<u64>,
    },
    /// Measures the server beside others and writes a table and a plot
    ///
    /// Needs Linux, and Node.js with npm for one of the peers. A whole run takes about half an hour and replaces
    /// benches/results/; a part of one (`--scenarios`, `--peers`, `--quick`) goes to target/bench/results/.
    Bench(BenchArguments),
    /// Runs one fuzz target of fuzz/ with libFuzzer, on the stable toolchain
    Fuzz {
        /// A file name of fuzz/fuzz_targets, without `.rs`
        target: String,
        /// How many inputs to try
        #[arg(long, value_name = "N")]
        runs: u64,
    },
}

#[derive(clap::Args)]
struct BenchArguments {
    /// Only these scenarios; `echo` stands for all that begin with it
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Only these peers; without `floor` there are no ratios
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    peers: Vec<String>,
    /// How often each scenario is run against each peer [default: 3, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Short runs, to see that all works; the figures mean little
    #[arg(long)]
    quick: bool,
    /// Keep the earlier results of scenarios that are not measured now
    #[arg(long)]
    keep: bool,
    /// Where the results go
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
    /// Only print the names of scenarios and peers
    #[arg(long)]
    list: bool,
}

impl From<&BenchArguments> for bench::Options {
    fn from(arguments: &BenchArguments) -> Self {
        let (length, preset) = if arguments.quick {
            (bench::Length::Quick, 1)
        } else {
            (bench::Length::Full, 3)
        };
        Self {
            scenarios: arguments.scenarios.clone(),
            peers: arguments.peers.clone(),
            rounds: arguments.rounds.unwrap_or(preset),
            length,
            earlier: if arguments.keep {
                bench::Earlier::Keep
            } else {
                bench::Earlier::Replace
            },
            into: arguments.into.clone(),
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse().task) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<ExitCode, Failure> {
    let workspace = Workspace::locate()?;
    child::end_on_interrupt()?;
    match task {
        Task::Demo { listen, no_open } => {
            let browser = if *no_open {
                demo::Browser::Leave
            } else {
                demo::Browser::Open
            };
            demo::run(&workspace, *listen, browser)?;
        }
        Task::Test { fast } => {
            let ring = if *fast {
                steps::Ring::Fast
            } else {
                steps::Ring::Full
            };
            // The report has said it all; its summary stays the last line.
            if suite::run(&workspace, ring)?.failed() > 0 {
                return Ok(ExitCode::FAILURE);
            }
        }
        Task::Tidy => tidy::run(&workspace)?,
        Task::CodecCosts { update } => {
            let usage = if *update {
                codec_costs::Use::Update
            } else {
                codec_costs::Use::Compare
            };
            codec_costs::run(&workspace, usage)?;
        }
        Task::Syscalls => syscalls::run(&workspace)?,
        Task::Sim { seeds, seed } => sim::run(&workspace, *seeds, *seed)?,
        Task::Bench(options) if options.list => bench::list(),
        Task::Bench(options) => bench::run(&workspace, &options.into())?,
        Task::Fuzz { target, runs } => fuzz::run(&workspace, target, *runs)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Arguments::command().debug_assert();
    }
}
