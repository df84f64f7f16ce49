//! The counts that are checked in, and how new ones compare with them.
//!
//! A count means something only together with the compiler, C library and processor it was made with, so the file names
//! them. With others the comparison goes on, with a wider tolerance: still a check, and no stranger's machine has to
//! have ours. It must not know how counts are made.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};

use crate::failure::Failure;

/// How many percent more than the baseline pass where the counts are those of the same environment.
pub(super) const TOLERANCE: u64 = 3;
/// The same for another environment.
pub(super) const TOLERANCE_ELSEWHERE: u64 = 25;

/// Instructions for one operation, by its name.
pub(super) type Counts = BTreeMap<String, u64>;

/// What counts depend on besides the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) rustc: String,
    pub(super) machine: String,
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.rustc, self.machine)
    }
}

/// The file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Baseline {
    pub(super) environment: Environment,
    pub(super) instructions: Counts,
}

impl Baseline {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let broken = |what: &str| Failure::new(format!("the baseline of the codecs: {what}"));
        let value: Value =
            serde_json::from_str(text).map_err(|error| broken(&error.to_string()))?;
        let word = |name: &str| match value.get(name) {
            Some(Value::String(word)) => Ok(word.clone()),
            _ => Err(broken(&format!("no text `{name}`"))),
        };
        let counts = value.get("instructions").and_then(Value::as_object);
        let counts = counts.ok_or_else(|| broken("no object `instructions`"))?;
        let instructions = counts.iter().map(|(name, count)| match count.as_u64() {
            Some(count) if count > 0 => Ok((name.clone(), count)),
            _ => Err(broken(&format!("`{name}` is no count"))),
        });
        let instructions = instructions.collect::<Result<_, _>>()?;
        Ok(Self {
            environment: Environment {
                rustc: word("rustc")?,
                machine: word("machine")?,
            },
            instructions,
        })
    }

    pub(super) fn text(&self) -> String {
        let value = json!({
            "rustc": self.environment.rustc,
            "machine": self.environment.machine,
            "instructions": self.instructions,
        });
        format!("{value:#}\n")
    }
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    /// Below the tolerance: the baseline should follow.
    Cheaper,
    /// Above it.
    Dearer,
    /// On one side only.
    Unmatched,
}

/// One operation in both.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    name: String,
    before: Option<u64>,
    now: Option<u64>,
    pub(super) verdict: Verdict,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
        let (before, now) = (shown(self.before), shown(self.now));
        write!(f, "{:<28} {before:>9} {now:>9}", self.name)?;
        if let (Some(before), Some(now)) = (self.before, self.now) {
            let percent = (now as f64 / before as f64 - 1.0) * 100.0;
            write!(f, " {percent:>+8.2} %")?;
        }
        match self.verdict {
            Verdict::Same => Ok(()),
            Verdict::Cheaper => f.write_str("  cheaper"),
            Verdict::Dearer => f.write_str("  TOO MANY"),
            Verdict::Unmatched => f.write_str("  ON ONE SIDE ONLY"),
        }
    }
}

/// Every operation of either side; `tolerance` in percent.
pub(super) fn compare(before: &Counts, now: &Counts, tolerance: u64) -> Vec<Row> {
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let row = |name: &String| {
        let (before, now) = (before.get(name).copied(), now.get(name).copied());
        let verdict = match (before, now) {
            (Some(before), Some(now)) if now * 100 > before * (100 + tolerance) => Verdict::Dearer,
            (Some(before), Some(now)) if now * 100 < before * (100 - tolerance) => Verdict::Cheaper,
            (Some(_), Some(_)) => Verdict::Same,
            _ => Verdict::Unmatched,
        };
        Row {
            name: name.clone(),
            before,
            now,
            verdict,
        }
    };
    names.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> Counts {
        counts
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let baseline = Baseline {
            environment: Environment {
                rustc: "rustc 1.95.0 (59807616e 2026-04-14)".to_owned(),
                machine: "x86_64 with avx2, glibc 2.36".to_owned(),
            },
            instructions: counts(&[("decode", 1400), ("encode", 900)]),
        };
        let text = baseline.text();
        assert_eq!(Baseline::parse(&text).unwrap(), baseline);
        assert!(text.ends_with("}\n"), "{text}");
    }

    #[test]
    fn a_broken_file_is_told() {
        let check = |text: &str, expected: &str| {
            let failure = Baseline::parse(text).unwrap_err().to_string();
            assert!(failure.contains(expected), "{failure}");
        };
        check("", "EOF");
        check("{}", "no object `instructions`");
        check("{\"instructions\":{}}", "no text `rustc`");
        check("{\"rustc\":\"r\",\"instructions\":{}}", "no text `machine`");
        for count in ["0", "-1", "1.5", "\"1\""] {
            let text = format!("{{\"instructions\":{{\"decode\":{count}}}}}");
            check(&text, "`decode` is no count");
        }
    }

    #[test]
    fn the_tolerance_is_inclusive_on_both_sides() {
        let check = |now, expected| {
            let rows = compare(&counts(&[("decode", 1000)]), &counts(&[("decode", now)]), 3);
            assert_eq!(rows.len(), 1);
            assert_eq!(rows[0].verdict, expected, "{now}");
        };
        check(1000, Verdict::Same);
        check(1030, Verdict::Same);
        check(1031, Verdict::Dearer);
        check(970, Verdict::Same);
        check(969, Verdict::Cheaper);
    }

    #[test]
    fn an_operation_on_one_side_is_told() {
        let rows = compare(
            &counts(&[("gone", 1), ("kept", 5)]),
            &counts(&[("kept", 5), ("new", 2)]),
            3,
        );
        let verdicts: Vec<_> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.verdict))
            .collect();
        let expected = [
            ("gone", Verdict::Unmatched),
            ("kept", Verdict::Same),
            ("new", Verdict::Unmatched),
        ];
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn a_row_shows_both_counts_and_the_difference() {
        let rows = compare(
            &counts(&[("decode", 1000)]),
            &counts(&[("decode", 1100)]),
            3,
        );
        let words: Vec<String> = rows[0]
            .to_string()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        assert_eq!(words.join(" "), "decode 1000 1100 +10.00 % TOO MANY");
    }
}
