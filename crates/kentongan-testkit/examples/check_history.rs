//! Checks a history in a file of JSON lines, prints the report, and fails when it is bad: `check_history FILE`.
//!
//! The expectations are the defaults, except that users need rights when the file has grants.

use std::{fs::File, io::BufReader, process::ExitCode};

use kentongan_testkit::history::{Expectations, History, Invoke, Rights, What, check};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: check_history FILE");
        return ExitCode::from(2);
    };
    let history = match File::open(&path)
        .map_err(Into::into)
        .and_then(|file| History::read(BufReader::new(file)))
    {
        Ok(history) => history,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    let has_grants = history
        .events()
        .iter()
        .any(|event| matches!(event.what, What::Invoke(Invoke::Grant { .. })));
    let expectations = Expectations {
        rights: if has_grants {
            Rights::Granted
        } else {
            Rights::Open
        },
        ..Expectations::default()
    };
    let report = check(&history, &expectations);
    println!("{report}");
    if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
