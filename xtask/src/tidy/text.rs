//! Rules about every text file: size, traces of one machine, tests that are switched off.

use super::Finding;

/// A file longer than this holds more than one noun. Tables of test cases may be as long as the world is wide.
const LINES_MAX: usize = 900;
const CODE_ENDINGS: [&str; 8] = [".rs", ".ts", ".mjs", ".js", ".css", ".py", ".html", ".sh"];
/// Folders of one machine. In pieces, because this file is looked at too.
const MACHINE_FOLDERS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/fa", "rm/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];
/// Parts of a host name that tell of a registry or of a machine between us and one.
const REGISTRY_NAMES: [&str; 9] = [
    "registry",
    "artifactory",
    "nexus",
    "mirror",
    "proxy",
    "pypi",
    "pythonhosted",
    "static.crates",
    "index.crates",
];
/// A JavaScript or Python test that does not run, or that keeps the others from running.
const SWITCHED_OFF: [&str; 11] = [
    "test.skip(",
    "it.skip(",
    "describe.skip(",
    "test.only(",
    "it.only(",
    "describe.only(",
    "test.todo(",
    "it.todo(",
    "skip: true",
    "pytest.mark.skip",
    "unittest.skip",
];

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let is_code = CODE_ENDINGS.iter().any(|ending| path.ends_with(ending));
    let lines = text.lines().count();
    if is_code && lines > LINES_MAX && !path.contains("tests/") {
        found.push(Finding::new(
            0,
            format!(" {lines} lines, more than {LINES_MAX}: split it by noun"),
        ));
    }
    for (index, line) in text.lines().enumerate() {
        for folder in MACHINE_FOLDERS
            .iter()
            .filter(|folder| starts_a_path(line, folder))
        {
            found.push(Finding::new(
                index + 1,
                format!("a path of one machine: `{folder}`"),
            ));
        }
        for host in hosts(line).filter(|host| REGISTRY_NAMES.iter().any(|name| host.contains(name)))
        {
            found.push(Finding::new(
                index + 1,
                format!("names the registry host `{host}`; the client's settings decide that"),
            ));
        }
        // Rust has its own rule, which can tell code from text.
        if is_code && !path.ends_with(".rs") {
            for word in SWITCHED_OFF.iter().filter(|word| line.contains(*word)) {
                found.push(Finding::new(
                    index + 1,
                    format!("`{word}`: every test runs"),
                ));
            }
        }
    }
    found
}

/// True when `folder` stands in `line` where a path begins, not in the middle of a longer one.
fn starts_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, _)| {
        let before = line.get(..start).and_then(|text| text.chars().next_back());
        !before.is_some_and(|letter| letter.is_alphanumeric() || ".-_}*/".contains(letter))
    })
}

/// The host names of all addresses in a line.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.split("://").skip(1).map(|rest| {
        let end = rest
            .find(|letter: char| !letter.is_ascii_alphanumeric() && !".-_@:".contains(letter))
            .unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_texts(path: &str, text: &str, expected: usize) {
        let found = check(path, text);
        assert_eq!(found.len(), expected, "{path}: {text}: {found:?}");
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        check_texts("a.md", concat!("see /wo", "rk/shared"), 1);
        check_texts("a.sh", concat!("cd \"/ro", "ot/x\""), 1);
        check_texts(
            "a.md",
            concat!("https://example.org/wo", "rk/x and ./ro", "ot/x"),
            0,
        );
        check_texts("a.md", "a framework/library", 0);
    }

    #[test]
    fn registry_hosts_are_found() {
        check_texts(
            "a.json",
            concat!("\"https://regi", "stry.example.org/a.tgz\""),
            1,
        );
        check_texts(
            "a.txt",
            concat!("--index-url http://py", "pi.example/simple"),
            1,
        );
        check_texts(
            "Cargo.lock",
            "source = \"registry+https://github.com/rust-lang/crates.io-index\"",
            0,
        );
        check_texts("a.md", "https://docs.rs/registry and a registry", 0);
    }

    #[test]
    fn long_files_are_found() {
        check_texts("a.rs", &"x\n".repeat(LINES_MAX), 0);
        check_texts("a.rs", &"x\n".repeat(LINES_MAX + 1), 1);
        check_texts("crates/a/tests/b.rs", &"x\n".repeat(LINES_MAX + 1), 0);
        check_texts("package-lock.json", &"x\n".repeat(LINES_MAX + 1), 0);
    }

    #[test]
    fn tests_that_do_not_run_are_found() {
        check_texts("a.mjs", concat!("test.on", "ly('x', f)"), 1);
        check_texts("a.mjs", "list.skip(3)", 0);
        check_texts("a.md", concat!("test.on", "ly('x', f)"), 0);
    }
}
