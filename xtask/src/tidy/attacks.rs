//! Every attack of `docs/attacks.md` has a test that is named after it.
//!
//! The list is a file for people; the rule only reads the first column of its tables.

use super::{Finding, mask::Masked};

/// The list of attacks, from the root.
pub(super) const LIST: &str = "docs/attacks.md";

/// Compares the list with the names of all tests.
pub(super) fn check(list: &str, tests: &[String]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut known: Vec<&str> = Vec::new();
    for (index, line) in list.lines().enumerate() {
        let Some(id) = line
            .strip_prefix('|')
            .and_then(|row| row.split('|').next())
            .map(str::trim)
            .filter(|cell| is_id(cell))
        else {
            continue;
        };
        if known.contains(&id) {
            found.push(Finding::new(index + 1, format!("{id} is listed twice")));
        }
        known.push(id);
        if !tests.iter().any(|test| names(test, id)) {
            found.push(Finding::new(
                index + 1,
                format!(
                    "{id} has no test: a `#[test]` with `{}` in its name",
                    in_snake_case(id)
                ),
            ));
        }
    }
    if known.is_empty() {
        found.push(Finding::new(0, " the list names no attack"));
    }
    found
}

/// The names of all functions of a source with a test attribute.
pub(super) fn test_names(masked: &Masked) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in masked.code.iter().map(|line| line.trim()) {
        if line.starts_with("#[") {
            // `#[test]`, `#[tokio::test]`, `#[tokio::test(…)]`
            let attribute = line
                .trim_start_matches("#[")
                .split([']', '('])
                .next()
                .unwrap_or_default();
            is_test |= attribute.rsplit("::").next() == Some("test");
        } else if let Some((_, rest)) = line
            .split_once("fn ")
            .filter(|(before, _)| before.is_empty() || before.ends_with(' '))
        {
            if is_test {
                names.extend(rest.split(['(', '<']).next().map(str::to_owned));
            }
            is_test = false;
        } else if !line.is_empty() {
            is_test = false;
        }
    }
    names
}

fn is_id(cell: &str) -> bool {
    ["CVE-", "GHSA-", "RUSTSEC-"]
        .iter()
        .any(|prefix| cell.starts_with(prefix))
}

fn in_snake_case(id: &str) -> String {
    id.to_lowercase().replace('-', "_")
}

/// True when `test` holds the whole id: `cve_2026_1526` does not name CVE-2026-152.
fn names(test: &str, id: &str) -> bool {
    let id = in_snake_case(id);
    test.match_indices(&id).any(|(start, _)| {
        let behind = test
            .get(start + id.len()..)
            .and_then(|text| text.chars().next());
        !behind.is_some_and(|letter| letter.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_without_its_test_is_reported() {
        let list = "\
# Attacks

| id | what | rule |
|---|---|---|
| CVE-2026-152 | a | b |
| GHSA-5v72-xg48-5rpm | a | b |
| RUSTSEC-2017-0006 | a | b |
| RUSTSEC-2017-0006 | again | b |
";
        let tests = [
            "cve_2026_1526_other",
            "ghsa_5v72_xg48_5rpm_extensions",
            "msgpack_rustsec_2017_0006",
        ]
        .map(str::to_owned);
        let found: Vec<String> = check(list, &tests)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "5: CVE-2026-152 has no test: a `#[test]` with `cve_2026_152` in its name",
                "8: RUSTSEC-2017-0006 is listed twice"
            ]
        );
    }

    #[test]
    fn a_list_that_cannot_be_read_is_no_success() {
        assert_eq!(check("# Attacks\n", &[]).len(), 1);
    }

    #[test]
    fn only_functions_with_a_test_attribute_count() {
        let text = "\
#[test]
fn one() {}
#[tokio::test(flavor = \"multi_thread\")]
#[expect(clippy::a, reason = \"b\")]
async fn two() {}
fn three() {}
// #[test]
fn four() {}
#[cfg(test)]
fn five() {}
";
        assert_eq!(test_names(&Masked::of(text)), ["one", "two"]);
    }
}
