//! Checks a history in a file of JSON lines, prints the report and the events that prove its violations, and fails when it is
//! bad: `check_history HISTORY [EXPECTATIONS]`.
//!
//! The expectations are a JSON object; what it leaves out has its default. Users need rights if the history has grants.

use std::{
    collections::BTreeSet,
    error::Error,
    fs::{self, File},
    io::BufReader,
    path::Path,
    process::ExitCode,
};

use kentongan_testkit::history::{Expectations, History, Report, check};

fn main() -> ExitCode {
    let mut paths = std::env::args_os().skip(1);
    let (Some(history), expectations, None) = (paths.next(), paths.next(), paths.next()) else {
        eprintln!("usage: check_history HISTORY [EXPECTATIONS]");
        return ExitCode::from(2);
    };
    match report(history.as_ref(), expectations.as_deref().map(Path::new)) {
        Ok(report) => {
            println!("{report}");
            ExitCode::from(u8::from(!report.is_good()))
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn report(history: &Path, expectations: Option<&Path>) -> Result<Report, Box<dyn Error>> {
    let history = History::read(BufReader::new(File::open(history)?))?;
    let expectations: Expectations = match expectations {
        Some(path) => serde_json::from_str(&fs::read_to_string(path)?)?,
        None => Expectations::default(),
    };
    let report = check(&history, &expectations.with_rights_of(&history));
    let proofs: BTreeSet<usize> = report
        .violations()
        .iter()
        .flat_map(|violation| violation.events.iter().copied())
        .collect();
    for index in proofs {
        if let Some(event) = history.events().get(index) {
            println!("{index}: {}", serde_json::to_string(event)?);
        }
    }
    Ok(report)
}
