//! The table at the end of a test run.

use std::{fmt, time::Duration};

use crate::progress::seconds;

/// How one step ended.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) passed: bool,
    pub(crate) time: Duration,
}

/// All steps of a run, in their order.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn failed(&self) -> usize {
        self.rows.iter().filter(|row| !row.passed).count()
    }

    /// True when the step of that name ran and passed.
    pub(crate) fn has_passed(&self, name: &str) -> bool {
        self.rows.iter().any(|row| row.name == name && row.passed)
    }

    /// The last line of a run; scripts read it.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} passed, {} failed",
            self.rows.len() - self.failed(),
            self.failed()
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .rows
            .iter()
            .map(|row| row.name.chars().count())
            .max()
            .unwrap_or(0)
            .max(4);
        writeln!(f, "{:width$}  result  {:>11}", "step", "time")?;
        for row in &self.rows {
            let result = if row.passed { "passed" } else { "FAILED" };
            writeln!(
                f,
                "{:width$}  {result}  {:>11}",
                row.name,
                seconds(row.time)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        let row = |name, passed, millis| Row {
            name,
            passed,
            time: Duration::from_millis(millis),
        };
        Report {
            rows: vec![
                row("format", true, 900),
                row("stock clients", false, 125_000),
            ],
        }
    }

    #[test]
    fn columns_line_up() {
        let expected = "\
step           result         time
format         passed        0.9 s
stock clients  FAILED  2 min 05 s
";
        let table = sample().to_string();
        let squeezed = |text: &str| {
            text.lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(squeezed(&table), squeezed(expected));
        let widths: Vec<usize> = table.lines().map(str::len).collect();
        assert_eq!(widths, [34, 34, 34]);
    }

    #[test]
    fn the_summary_counts_both() {
        assert_eq!(sample().summary(), "1 passed, 1 failed");
        assert_eq!(Report::default().summary(), "0 passed, 0 failed");
    }

    #[test]
    fn only_a_step_that_passed_counts_as_such() {
        assert!(sample().has_passed("format"));
        assert!(!sample().has_passed("stock clients"));
        assert!(!sample().has_passed("never ran"));
    }
}
