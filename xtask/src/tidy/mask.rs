//! A Rust source with comments and literals blanked, so that rules about code see code only.
//!
//! Not a parser: it knows comments, strings, raw strings, character literals and lifetimes, which is what it takes to
//! tell code from text. Lines and columns stay where they are.

/// A source split into code and documentation, line by line.
pub(super) struct Masked {
    /// Code, with blanks for comments and for what is between quotes.
    pub(super) code: Vec<String>,
    /// The text of `///` and `//!` comments, with blanks for everything else.
    pub(super) docs: Vec<String>,
    /// The first line (counted from 0) of the file's own test module, or the number of lines.
    pub(super) tests_from: usize,
}

/// What the character at hand belongs to.
enum State {
    Code,
    LineComment { doc: bool },
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

impl Masked {
    pub(super) fn of(source: &str) -> Self {
        let letters: Vec<char> = source.chars().collect();
        let mut code = String::with_capacity(source.len());
        let mut docs = String::with_capacity(source.len());
        let mut state = State::Code;
        let mut at = 0;
        while let Some(&letter) = letters.get(at) {
            let (next, length) = advance(&state, &letters, at);
            let shown = letters.get(at..at + length).unwrap_or_default();
            // What opens a literal or a comment is blanked with it.
            let is_code = matches!((&state, &next), (State::Code, State::Code))
                && (length == 1 || letter != '\'');
            let is_doc = matches!(state, State::LineComment { doc: true });
            for letter in shown {
                let blank = if *letter == '\n' { '\n' } else { ' ' };
                code.push(if is_code { *letter } else { blank });
                docs.push(if is_doc { *letter } else { blank });
            }
            state = next;
            at += length;
        }
        let code: Vec<String> = code.lines().map(str::to_owned).collect();
        let tests_from = tests_from(&code);
        Self {
            code,
            docs: docs.lines().map(str::to_owned).collect(),
            tests_from,
        }
    }
}

/// The state behind the character at `at`, and how many characters go with it.
fn advance(state: &State, letters: &[char], at: usize) -> (State, usize) {
    let rest = letters.get(at..).unwrap_or_default();
    let starts = |text: &str| {
        text.chars()
            .enumerate()
            .all(|(index, letter)| rest.get(index) == Some(&letter))
    };
    match state {
        State::Code if starts("//") => {
            let doc = (starts("///") && !starts("////")) || starts("//!");
            (State::LineComment { doc }, if doc { 3 } else { 2 })
        }
        State::Code if starts("/*") => (State::BlockComment { depth: 1 }, 2),
        State::Code if starts("\"") => (State::Text, 1),
        State::Code if starts("r") && !follows_a_word(letters, at) => match raw_opening(rest) {
            Some(hashes) => (State::RawText { hashes }, hashes + 2),
            None => (State::Code, 1),
        },
        State::Code if starts("'") => (State::Code, character_length(rest)),
        State::Code => (State::Code, 1),
        State::LineComment { .. } if starts("\n") => (State::Code, 1),
        State::LineComment { doc } => (State::LineComment { doc: *doc }, 1),
        State::BlockComment { depth } if starts("/*") => {
            (State::BlockComment { depth: depth + 1 }, 2)
        }
        State::BlockComment { depth: 1 } if starts("*/") => (State::Code, 2),
        State::BlockComment { depth } if starts("*/") => {
            (State::BlockComment { depth: depth - 1 }, 2)
        }
        State::BlockComment { depth } => (State::BlockComment { depth: *depth }, 1),
        State::Text if starts("\\") => (State::Text, rest.len().min(2)),
        State::Text if starts("\"") => (State::Code, 1),
        State::Text => (State::Text, 1),
        State::RawText { hashes } if starts(&format!("\"{}", "#".repeat(*hashes))) => {
            (State::Code, hashes + 1)
        }
        State::RawText { hashes } => (State::RawText { hashes: *hashes }, 1),
    }
}

/// True when the letter at `at` is the tail of an identifier; `br"…"` is the one prefix that is none.
fn follows_a_word(letters: &[char], at: usize) -> bool {
    let before = |distance: usize| {
        at.checked_sub(distance)
            .and_then(|index| letters.get(index))
            .copied()
    };
    let is_word = |letter: Option<char>| {
        letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
    };
    let is_prefix = matches!(before(1), Some('b' | 'c')) && !is_word(before(2));
    is_word(before(1)) && !is_prefix
}

/// The number of hashes when `rest` opens a raw string.
fn raw_opening(rest: &[char]) -> Option<usize> {
    let hashes = rest
        .iter()
        .skip(1)
        .take_while(|letter| **letter == '#')
        .count();
    (rest.get(hashes + 1) == Some(&'"')).then_some(hashes)
}

/// The length of a character literal; 1 for the quote of a lifetime.
fn character_length(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', _, tail @ ..] => tail
            .iter()
            .position(|letter| *letter == '\'')
            .map_or(1, |index| index + 4),
        ['\'', _, '\'', ..] => 3,
        _ => 1,
    }
}

/// A module under `#[cfg(test)]` that is written out in this file; by convention the last item.
fn tests_from(code: &[String]) -> usize {
    let opens = |pair: &[String]| match pair {
        [attribute, module] => {
            let attribute = attribute.trim();
            attribute.starts_with("#[cfg(")
                && attribute.contains("test")
                && module.contains("mod ")
                && module.trim_end().ends_with('{')
        }
        _ => false,
    };
    code.windows(2).position(opens).unwrap_or(code.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, code: &str) {
        let masked = Masked::of(source);
        assert_eq!(masked.code.join("\n"), code, "{source}");
    }

    #[test]
    fn only_code_is_left() {
        check("let a = 1; // todo!()", "let a = 1;           ");
        check("let a = \"b!()\";", "let a =       ;");
        check("a /* b /* c */ d */ e", "a                   e");
        check("x(r#\"a \" b\"#)", "x(          )");
        check("x(br\"a\\\")", "x(b     )");
        check("for r in a {}", "for r in a {}");
        check("\"a\\\"b\" c", "       c");
        check("'\"' x '\\'' y '\\u{1f}' z", "    x      y          z");
        check(
            "fn a<'d>(x: &'d str) { \"q\" }",
            "fn a<'d>(x: &'d str) {     }",
        );
        check("\"one\ntwo\" three", "    \n     three");
    }

    #[test]
    fn documentation_is_kept_apart() {
        let masked =
            Masked::of("//! Header\n/// Item\n//// not\n// nor this\nfn a() {} /// tail\n");
        assert_eq!(
            masked
                .docs
                .join("|")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
            "Header| Item| | | tail"
        );
    }

    #[test]
    fn the_test_module_is_found() {
        assert_eq!(
            Masked::of("fn a() {}\n#[cfg(test)]\nmod tests {\n}\n").tests_from,
            1
        );
        assert_eq!(
            Masked::of("#[cfg(all(test, unix))]\nmod tests {\n}\n").tests_from,
            0
        );
        assert_eq!(
            Masked::of("#[cfg(test)]\nmod tests;\nfn a() {}\n").tests_from,
            3
        );
    }
}
