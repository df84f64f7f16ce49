//! Rules about Rust files: a header, no unfinished work, and nothing in the protocol crate that a clock or a socket needs.

use super::{Finding, mask::Masked};

/// Unfinished work, and tests that do not run.
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "#[ignore"];
/// What the protocol crate must not touch: everything comes in as an argument.
const NOT_SANS_IO: [&str; 9] = [
    "Instant::now",
    "SystemTime",
    "std::net",
    "std::fs",
    "std::env",
    "thread::spawn",
    "thread::sleep",
    "rand",
    "getrandom",
];

pub(super) fn check(path: &str, text: &str, masked: &Masked) -> Vec<Finding> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(Finding::new(
            1,
            "the file must open with a `//!` header: what it owns, what it must not know",
        ));
    }
    for (line, code) in masked.code.iter().enumerate() {
        for word in UNFINISHED {
            if code.contains(word) {
                found.push(Finding::new(line + 1, format!("`{word}` is left")));
            }
        }
    }
    if path.starts_with("crates/kentongan-protocol/src/") && !is_test_file(path) {
        for (line, code) in masked.code.iter().enumerate().take(masked.tests_from) {
            for word in NOT_SANS_IO.iter().filter(|word| holds_word(code, word)) {
                found.push(Finding::new(
                    line + 1,
                    format!(
                        "`{word}` in the protocol crate: time, chance and I/O come from the caller"
                    ),
                ));
            }
        }
    }
    found
}

/// True for a file that holds tests only.
pub(super) fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// True when `word` stands in `code` as a whole word (or path).
fn holds_word(code: &str, word: &str) -> bool {
    let is_part = |letter: Option<char>| {
        letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
    };
    code.match_indices(word).any(|(start, _)| {
        let before = code.get(..start).and_then(|text| text.chars().next_back());
        let behind = code
            .get(start + word.len()..)
            .and_then(|text| text.chars().next());
        !is_part(before) && !is_part(behind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_lines(path: &str, text: &str, expected: &[usize]) {
        let lines: Vec<usize> = check(path, text, &Masked::of(text))
            .iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(lines, expected, "{path}\n{text}");
    }

    #[test]
    fn every_file_opens_with_its_header() {
        check_lines("examples/a.rs", "//! Header\nfn main() {}\n", &[]);
        check_lines("examples/a.rs", "// Header\nfn main() {}\n", &[1]);
        check_lines("examples/a.rs", "", &[1]);
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_not_in_text() {
        check_lines(
            "a.rs",
            "//! h\nfn a() { todo!() }\n#[ignore = \"later\"]\nfn b() { unimplemented!(\"c\") }\n",
            &[2, 3, 4],
        );
        check_lines(
            "a.rs",
            "//! h\n// todo!()\nconst A: &str = \"todo!\";\n",
            &[],
        );
    }

    #[test]
    fn the_protocol_crate_is_sans_io() {
        let text = "//! h\nlet a = Instant::now();\nuse std::net::TcpStream;\nuse rand::Rng;\nlet operand = strand;\n";
        check_lines("crates/kentongan-protocol/src/a.rs", text, &[2, 3, 4]);
        check_lines("crates/kentongan/src/a.rs", text, &[]);
        check_lines("crates/kentongan-protocol/examples/a.rs", text, &[]);
        check_lines("crates/kentongan-protocol/src/engine/tests.rs", text, &[]);
        check_lines(
            "crates/kentongan-protocol/src/a.rs",
            "//! h\n#[cfg(test)]\nmod tests {\n    let a = Instant::now();\n}\n",
            &[],
        );
    }
}
