//! Rules about words: names that say nothing, and words that mean something else in this project.

use super::{Finding, mask::Masked, source};

/// Names that say nothing about the noun they stand for; neither in identifiers nor in prose.
const EMPTY_WORDS: [&str; 6] = ["manager", "managers", "helper", "helpers", "util", "utils"];
/// Other systems' words for namespace, room and event. In prose they may be needed to explain; a name of ours they are not.
const FOREIGN_WORDS: [&str; 4] = ["channel", "channels", "topic", "topics"];
/// An identifier behind one of these is declared here, so it is ours to name.
const DECLARING: [&str; 12] = [
    "const",
    "enum",
    "fn",
    "for",
    "let",
    "macro_rules",
    "mod",
    "mut",
    "static",
    "struct",
    "trait",
    "type",
];

pub(super) fn check_rust(path: &str, masked: &Masked) -> Vec<Finding> {
    let mut found = Vec::new();
    let stem = path
        .rsplit('/')
        .next()
        .unwrap_or(path)
        .trim_end_matches(".rs");
    found.extend(banned_part(stem).map(|word| {
        Finding::new(
            0,
            format!(" a file is named after the noun inside, not `{word}`"),
        )
    }));
    let is_test = source::is_test_file(path);
    for (line, code) in masked.code.iter().enumerate() {
        for (keyword, name) in declarations(code) {
            if let Some(word) = banned_part(name) {
                found.push(Finding::new(
                    line + 1,
                    format!("`{name}`: `{word}` is not a word of this project"),
                ));
            }
            // In tests `get_…` is a request: `get_overlap_closes_the_session`.
            if keyword == "fn" && name.starts_with("get_") && !is_test && line < masked.tests_from {
                found.push(Finding::new(
                    line + 1,
                    format!("`{name}`: an accessor has no `get_`"),
                ));
            }
        }
    }
    for (line, docs) in masked.docs.iter().enumerate() {
        found.extend(
            prose(docs).map(|word| {
                Finding::new(line + 1, format!("`{word}` says nothing: name the thing"))
            }),
        );
    }
    found
}

pub(super) fn check_markdown(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (line, words) in outside_code(text) {
        found.extend(
            prose(&words)
                .map(|word| Finding::new(line, format!("`{word}` says nothing: name the thing"))),
        );
    }
    found
}

/// The lines of a Markdown text with their numbers, without fenced code and without code spans.
pub(super) fn outside_code(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then(|| (index + 1, without_spans(line)))
    })
}

/// Every second part between backticks is code. An odd number of them means the last one is a plain backtick.
fn without_spans(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    let last = parts.len() - 1;
    let kept = parts
        .iter()
        .enumerate()
        .filter(|(index, _)| index % 2 == 0 || *index == last);
    kept.map(|(_, part)| *part).collect::<Vec<_>>().join(" ")
}

fn prose(text: &str) -> impl Iterator<Item = String> {
    let spanless = without_spans(text);
    // A hyphen joins: `hyper-util` is the name of a crate.
    let words: Vec<String> = spanless
        .split(|letter: char| {
            !letter.is_alphanumeric() && letter != '-' && letter != '_' && letter != '/'
        })
        .map(str::to_lowercase)
        .collect();
    words
        .into_iter()
        .filter(|word| EMPTY_WORDS.contains(&word.as_str()))
}

/// Keyword and name of everything that a line declares; fields and parameters have the keyword `:`.
fn declarations(code: &str) -> Vec<(&str, &str)> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    let mut previous = "";
    let mut rest = code;
    while let Some(start) = rest.find(is_word) {
        let tail = rest.get(start..).unwrap_or_default();
        let end = tail.find(|letter| !is_word(letter)).unwrap_or(tail.len());
        let (word, behind) = tail.split_at(end);
        let is_field = behind.starts_with(':') && !behind.starts_with("::");
        if DECLARING.contains(&previous) && !DECLARING.contains(&word) {
            found.push((previous, word));
        } else if is_field {
            found.push((":", word));
        }
        previous = word;
        rest = behind;
    }
    found
}

/// The banned word inside a name in snake case, camel case or capitals.
fn banned_part(name: &str) -> Option<&'static str> {
    let mut parts = vec![String::new()];
    let mut after_lowercase = false;
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && after_lowercase) {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut().filter(|_| letter != '_') {
            part.extend(letter.to_lowercase());
        }
        after_lowercase = letter.is_lowercase();
    }
    EMPTY_WORDS
        .into_iter()
        .chain(FOREIGN_WORDS)
        .find(|word| parts.iter().any(|part| part == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_at_word_by_word() {
        let check = |name, expected| assert_eq!(banned_part(name), expected, "{name}");
        check("SessionManager", Some("manager"));
        check("TEST_UTILS", Some("utils"));
        check("channel_of", Some("channel"));
        check("futile", None);
        check("utilisation", None);
        check("session", None);
    }

    #[test]
    fn only_our_own_names_are_judged() {
        let check = |text: &str, expected: &[usize]| {
            let lines: Vec<usize> = check_rust("crates/a/src/room.rs", &Masked::of(text))
                .iter()
                .map(|finding| finding.line)
                .collect();
            assert_eq!(lines, expected, "{text}");
        };
        check("let (tx, rx) = mpsc::channel(8);", &[]);
        check("use hyper_util::rt::TokioIo;", &[]);
        check("fn channel() {}", &[1]);
        check("struct Topic;\nlet mut helper = 1;", &[1, 2]);
        check("fn join(topic: &str) {}", &[1]);
        check("fn get_room() {}\nfn poll_get() {}", &[1]);
        check(
            "#[cfg(test)]\nmod tests {\n    fn get_is_answered() {}\n}",
            &[],
        );
        check(
            "/// A manager of rooms.\n/// Uses hyper-util and `util`.",
            &[1],
        );
    }

    #[test]
    fn a_file_is_named_after_its_noun() {
        assert_eq!(
            check_rust("crates/a/src/utils.rs", &Masked::of("")).len(),
            1
        );
    }

    #[test]
    fn prose_is_looked_at_outside_of_code() {
        let check = |text: &str, expected: &[usize]| {
            let lines: Vec<usize> = check_markdown(text)
                .iter()
                .map(|finding| finding.line)
                .collect();
            assert_eq!(lines, expected, "{text}");
        };
        check(
            "A helper\n`helper` is not used\n```\nhelper\n```\nUtils.",
            &[1, 6],
        );
        check("a lonely ` and a manager", &[1]);
    }
}
