//! Damaged rules files, schemas, casts and policies, from a printed seed: compiling them never panics, and what is refused is
//! refused with diagnostics that can be shown.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::collections::BTreeMap;

use kentongan_rules::{Code, Diagnostic, compile, limits};
use support::{Random, workspace};

const RULES_RUNS: usize = 10_000;
const OTHER_RUNS: usize = 1_000;

const PIECES: [&str; 24] = [
    "\"",
    "'''",
    "{",
    "}",
    "[",
    "]",
    "=",
    ".",
    "\n",
    "\0",
    "\u{202e}",
    "é",
    "-1",
    "1e999",
    "0x",
    "99999999999999999999",
    "true",
    "1979-05-27",
    "/",
    "{org}",
    "{user.org}",
    "\"7d\"",
    "#",
    "kind",
];

/// Changes a text in one to four places.
fn mutate(text: &str, random: &mut Random) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(characters.len() + 1);
        let end = (at + random.below(12)).min(characters.len());
        match random.below(4) {
            0 => drop(characters.drain(at..end)),
            1 => {
                let piece: Vec<char> = random.pick(&PIECES).chars().collect();
                characters.splice(at..at, piece);
            }
            2 => {
                let piece: Vec<char> = random.pick(&PIECES).chars().collect();
                characters.splice(at..end, piece);
            }
            _ => {
                let copy: Vec<char> = characters[at..end].to_vec();
                let to = random.below(characters.len() + 1);
                characters.splice(to..to, copy);
            }
        }
    }
    characters.into_iter().collect()
}

fn check_shown(diagnostics: &[Diagnostic], files: &BTreeMap<String, String>, context: &str) {
    assert!(
        !diagnostics.is_empty(),
        "{context}: refused without a reason"
    );
    assert!(diagnostics.len() <= limits::DIAGNOSTICS_MAX, "{context}");
    for diagnostic in diagnostics {
        assert!(
            !diagnostic.message.is_empty() && !diagnostic.way_out.is_empty(),
            "{context}: {diagnostic}"
        );
        let lines = files
            .get(&diagnostic.file)
            .map_or(1, |text| text.split('\n').count());
        assert!(
            (1..=lines).contains(&diagnostic.line),
            "{context}: {diagnostic}"
        );
        let text = diagnostic.to_string();
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n'),
            "{context}: {text:?}"
        );
        assert_eq!(text.lines().count(), 6, "{context}: {text}");
    }
}

fn run(file: &str, runs: usize, seed: u64) -> (usize, Vec<Code>) {
    let original = workspace();
    let mut random = Random(seed);
    let mut accepted = 0;
    let mut codes = Vec::new();
    for number in 0..runs {
        let mut files = original.clone();
        files.insert(file.to_owned(), mutate(&original[file], &mut random));
        match compile(&files, "kentongan.toml") {
            Ok(rules) => {
                assert!(!rules.describe().is_empty());
                accepted += 1;
            }
            Err(diagnostics) => {
                check_shown(
                    &diagnostics,
                    &files,
                    &format!("seed {seed}, run {number} of {file}"),
                );
                codes.extend(diagnostics.iter().map(|diagnostic| diagnostic.code));
            }
        }
    }
    codes.sort_by_key(|code| code.as_str());
    codes.dedup();
    (accepted, codes)
}

#[test]
fn damaged_rules_files_are_refused_with_reasons() {
    let (accepted, codes) = run("kentongan.toml", RULES_RUNS, 1);
    // Comments and values can be damaged without harm; most damage is found, in many ways.
    assert!(accepted < RULES_RUNS / 2, "{accepted}");
    assert!(codes.len() > 12, "{codes:?}");
}

#[test]
fn damaged_schemas_casts_and_policies_are_refused_with_reasons() {
    for file in [
        "contracts/chat.post.v2.json",
        "contracts/chat.post.1to2.json",
        "policies/chat.cedar",
    ] {
        let (accepted, codes) = run(file, OTHER_RUNS, 2);
        assert!(accepted < OTHER_RUNS, "{file}: {accepted}");
        assert!(codes.len() > 1, "{file}: {codes:?}");
    }
}
