//! Load for Socket.IO servers, and a judgement on every delivery.
//!
//! Owns the command `kentongan-load`: scenarios that open connections, send, and check that each message came exactly once
//! and in order, at a cost that leaves the machine to the server. It knows the wire, but nothing of a particular server.

mod chance;
mod check;
mod clock;
mod control;
mod crew;
mod error;
mod limits;
mod link;
mod options;
mod payload;
mod polling;
mod process;
mod report;
mod scenario;
mod stream;
mod tally;
mod target;
mod tls;
mod websocket;
mod wire;
mod worker;

use std::{fs, io::Write, path::Path, process::ExitCode};

use clap::Parser;

pub use crate::{
    check::{Faults, Sequence},
    error::LoadError,
    options::{Options, Scenario, Transport},
    payload::{SIZE_MIN, Stamp},
    process::Sample,
    report::{Report, Usage},
};

use crate::target::Target;

/// Runs a scenario to its end.
///
/// # Errors
/// There is nothing to report: see [`LoadError`].
pub fn run(options: &Options) -> Result<Report, LoadError> {
    options.check()?;
    let target = Target::new(options)?;
    limits::raise(options.sockets())?;
    match options.scenario {
        Scenario::Idle => scenario::idle::run(options, &target),
        Scenario::Connect => scenario::connect::run(options, &target),
        Scenario::Echo | Scenario::Ack => scenario::echo::run(options, &target),
        Scenario::Fanout => scenario::fanout::run(options, &target),
        Scenario::Jitter => scenario::jitter::run(options, &target),
        Scenario::Avalanche => scenario::avalanche::run(options, &target),
        Scenario::Burst => scenario::burst::run(options, &target),
    }
}

/// The whole command: arguments of the process, report to the standard output, exit code.
pub fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * EXIT_USAGE);
        }
    };
    let outcome = run(&options).and_then(|report| {
        print(&report)?;
        Ok(report.faults.any())
    });
    match outcome {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(EXIT_FAULTS),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "kentongan-load: {error}");
            let is_usage = matches!(error, LoadError::Usage(_));
            ExitCode::from(if is_usage { EXIT_USAGE } else { EXIT_FAULTS })
        }
    }
}

fn print(report: &Report) -> Result<(), LoadError> {
    let mut out = std::io::stdout();
    let written = match &report.options.json {
        Some(path) if path == Path::new("-") => writeln!(out, "{}", report.json()),
        Some(path) => {
            fs::write(path, format!("{:#}\n", report.json())).and_then(|()| write!(out, "{report}"))
        }
        None => write!(out, "{report}"),
    };
    written.map_err(LoadError::io("cannot write the report"))
}

const EXIT_FAULTS: u8 = 1;
const EXIT_USAGE: u8 = 2;
