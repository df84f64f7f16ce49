//! Rules about files that pin dependencies: names, versions and checksums, never where a copy was downloaded.

use super::Finding;

/// Cargo's name for its default registry; a setting of the machine decides which host answers to it.
const CRATES: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_bad: fn(&str) -> bool = match name {
        "Cargo.lock" => |line| {
            line.strip_prefix("source = ")
                .is_some_and(|source| source.trim_matches('"') != CRATES)
        },
        "package-lock.json" | "npm-shrinkwrap.json" => {
            |line| line.trim_start().starts_with("\"resolved\"") && line.contains("://")
        }
        _ if name.starts_with("requirements") && name.ends_with(".txt") => {
            |line| line.contains("://") || line.trim_start().starts_with("--")
        }
        _ => return Vec::new(),
    };
    let lines = text.lines().enumerate().filter(|(_, line)| is_bad(line));
    lines
        .map(|(index, line)| {
            Finding::new(index + 1, format!("a download address: `{}`", line.trim()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found() {
        let check_lines = |path, text: &str, expected: usize| {
            assert_eq!(check(path, text).len(), expected, "{path}: {text}")
        };
        check_lines("Cargo.lock", &format!("source = \"{CRATES}\""), 0);
        check_lines(
            "fuzz/Cargo.lock",
            "source = \"git+https://example.org/a?rev=1#1\"",
            1,
        );
        check_lines(
            "fuzz/Cargo.lock",
            "source = \"registry+https://example.org/index\"",
            1,
        );
        check_lines(
            "web/chat/package-lock.json",
            "      \"resolved\": \"https://example.org/a.tgz\",",
            1,
        );
        check_lines(
            "web/chat/package-lock.json",
            "      \"resolved\": \"packages/local\",\n      \"integrity\": \"sha512-x\"",
            0,
        );
        check_lines(
            "conformance/requirements.txt",
            "kosoku==0.1.0\n--index-url x\na @ https://example.org/a.whl",
            2,
        );
        check_lines("README.md", "\"resolved\": \"https://example.org\"", 0);
    }
}
