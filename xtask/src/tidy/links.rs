//! Links of Markdown files to other files must lead somewhere.

use super::{Finding, words::outside_code};

/// `resolves` is asked for each relative target, without its anchor.
pub(super) fn check(text: &str, resolves: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for (line, content) in outside_code(text) {
        for target in targets(&content).filter(|target| !resolves(target)) {
            found.push(Finding::new(
                line,
                format!("the link to `{target}` leads nowhere"),
            ));
        }
    }
    found
}

/// Relative targets of the links and pictures in a line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', ' ']).next()?;
        let file = target.split('#').next()?;
        let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
        (!file.is_empty() && !is_elsewhere).then_some(file)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_looked_up() {
        let check_targets = |text: &str, expected: &[&str]| {
            assert_eq!(targets(text).collect::<Vec<_>>(), expected, "{text}")
        };
        check_targets(
            "[a](docs/a.md) ![b](b.png \"title\")",
            &["docs/a.md", "b.png"],
        );
        check_targets("[a](docs/a.md#part) [b](#here)", &["docs/a.md"]);
        check_targets("[a](https://example.org) [m](mailto:a@example.org)", &[]);
        check_targets("[![badge](b.svg)](LICENSE-MIT)", &["b.svg", "LICENSE-MIT"]);
    }

    #[test]
    fn what_leads_nowhere_is_reported_with_its_line() {
        let found = check(
            "[a](there)\n[b](gone)\n`[c](code)`\n```\n[d](code)\n```\n",
            |target| target == "there",
        );
        assert_eq!(found, [Finding::new(2, "the link to `gone` leads nowhere")]);
    }
}
