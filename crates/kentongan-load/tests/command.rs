//! The command as a shell sees it: exit codes, what goes where.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::process::{Command, Output};

use support::{Mischief, TestServer};

fn load(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kentongan-load"))
        .args(arguments.split_whitespace())
        .output()
        .unwrap()
}

fn against(mischief: Mischief, arguments: &str) -> Output {
    let server = TestServer::start(mischief);
    let url = format!("http://{}", server.addr);
    load(&format!(
        "{arguments} --url {url} --warm-up 0.1 --duration 0.3"
    ))
}

#[test]
fn success_is_zero_and_json_is_all_there_is() {
    let output = against(Mischief::None, "echo --connections 3 --json -");
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["scenario"], "echo");
    assert_eq!(json["connections"], 3);
}

#[test]
fn faults_are_one() {
    let output = against(Mischief::Double(2), "fanout --connections 3 --rate 100");
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).unwrap();
    let doubled = table
        .lines()
        .find(|line| line.starts_with("faults.doubled"));
    assert!(doubled.unwrap().ends_with(" 3"), "{table}");
    assert!(table.ends_with("FAULTS: see above\n"), "{table}");
}

#[test]
fn a_wrong_command_line_is_two() {
    for arguments in [
        "nothing",
        "echo --size 1",
        "echo --url nowhere",
        "avalanche",
    ] {
        assert_eq!(load(arguments).status.code(), Some(2), "{arguments}");
    }
    assert_eq!(load("--help").status.code(), Some(0));
}
