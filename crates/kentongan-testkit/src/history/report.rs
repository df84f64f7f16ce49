//! The rules by name, what was found, and how it is shown.

use std::fmt;

/// How many violations of one rule are kept; the rest is counted.
pub const VIOLATIONS_MAX: usize = 20;

/// A rule of the checker. There is no C20: presence is not recorded yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The run is worth something.
    Vacuous,
    /// What was acknowledged is kept.
    C1,
    /// What arrives was published.
    C2,
    /// What was refused never arrives.
    C3,
    /// What is unknown arrives once or never.
    C4,
    /// One message in one place.
    C5,
    /// One place for one message.
    C6,
    /// No holes in what is kept.
    C7,
    /// What ended before something else began comes before it.
    C8,
    /// The messages of one connection keep their order.
    C9,
    /// A client gets offsets one by one.
    C10,
    /// A client gets no message twice.
    C11,
    /// After a return it goes on exactly there.
    C12,
    /// Who can be served completely is.
    C13,
    /// Who cannot be served completely is told.
    C14,
    /// A client in a room gets everything, and soon.
    C15,
    /// One key, one message.
    C16,
    /// Nothing without a right.
    C17,
    /// Nothing of another tenant.
    C18,
    /// One acknowledgement, for its own event.
    C19,
    /// Every call ends in time.
    C21,
    /// After the last fault everything works again.
    C22,
    /// Nothing is left over.
    C23,
    /// Epochs change for a cause only.
    C24,
    /// The history says what was delivered.
    C25,
}

impl Rule {
    /// All rules, in order.
    pub const ALL: [Self; 25] = [
        Self::Vacuous,
        Self::C1,
        Self::C2,
        Self::C3,
        Self::C4,
        Self::C5,
        Self::C6,
        Self::C7,
        Self::C8,
        Self::C9,
        Self::C10,
        Self::C11,
        Self::C12,
        Self::C13,
        Self::C14,
        Self::C15,
        Self::C16,
        Self::C17,
        Self::C18,
        Self::C19,
        Self::C21,
        Self::C22,
        Self::C23,
        Self::C24,
        Self::C25,
    ];

    /// What it demands.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Vacuous => "the run is worth something",
            Self::C1 => "what was acknowledged is kept",
            Self::C2 => "what arrives was published",
            Self::C3 => "what was refused never arrives",
            Self::C4 => "what is unknown arrives once or never",
            Self::C5 => "one message in one place",
            Self::C6 => "one place for one message",
            Self::C7 => "no holes in what is kept",
            Self::C8 => "what ended first comes first",
            Self::C9 => "a connection's messages keep their order",
            Self::C10 => "offsets arrive one by one",
            Self::C11 => "nothing arrives twice",
            Self::C12 => "a return goes on exactly there",
            Self::C13 => "who can be served completely is",
            Self::C14 => "who cannot be is told",
            Self::C15 => "who is in the room gets everything, soon",
            Self::C16 => "one key, one message",
            Self::C17 => "nothing without a right",
            Self::C18 => "nothing of another tenant",
            Self::C19 => "one acknowledgement, for its own event",
            Self::C21 => "every call ends in time",
            Self::C22 => "after the last fault everything works",
            Self::C23 => "nothing is left over",
            Self::C24 => "epochs change for a cause only",
            Self::C25 => "the history says what was delivered",
        }
    }
}

/// A broken rule, with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The name of what went wrong: `lost-write`.
    pub anomaly: &'static str,
    /// The events that prove it, as indexes into the history.
    pub events: Vec<usize>,
    /// The same in a sentence.
    pub text: String,
}

/// What was checked, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    events: usize,
    checked: [u64; Rule::ALL.len()],
    found: [u64; Rule::ALL.len()],
    violations: Vec<Violation>,
}

impl Report {
    pub(super) fn new(events: usize) -> Self {
        Self {
            events,
            checked: [0; Rule::ALL.len()],
            found: [0; Rule::ALL.len()],
            violations: Vec::new(),
        }
    }

    /// One more thing was held against a rule.
    pub(super) fn checked(&mut self, rule: Rule) {
        self.checked[rule as usize] += 1;
    }

    /// A rule is broken.
    pub(super) fn violated(
        &mut self,
        rule: Rule,
        anomaly: &'static str,
        events: Vec<usize>,
        text: impl FnOnce() -> String,
    ) {
        let found = &mut self.found[rule as usize];
        *found += 1;
        if *found <= VIOLATIONS_MAX as u64 {
            self.violations.push(Violation {
                rule,
                anomaly,
                events,
                text: text(),
            });
        }
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// How many things were held against a rule. Zero means that the run says nothing about it.
    #[must_use]
    pub fn checked_count(&self, rule: Rule) -> u64 {
        self.checked[rule as usize]
    }

    /// How many violations of a rule there are, also those beyond [`VIOLATIONS_MAX`].
    #[must_use]
    pub fn violation_count(&self, rule: Rule) -> u64 {
        self.found[rule as usize]
    }

    /// The violations, at most [`VIOLATIONS_MAX`] for each rule.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} events", self.events)?;
        writeln!(f, "{:<8}{:>10}{:>12}  rule", "", "checked", "violations")?;
        for rule in Rule::ALL {
            writeln!(
                f,
                "{:<8}{:>10}{:>12}  {}",
                format!("{rule:?}"),
                self.checked_count(rule),
                self.violation_count(rule),
                rule.title()
            )?;
        }
        for violation in &self.violations {
            writeln!(
                f,
                "{:?} {}: {} (events {:?})",
                violation.rule, violation.anomaly, violation.text, violation.events
            )?;
        }
        let verdict = if self.is_good() { "good" } else { "BAD" };
        write!(f, "{verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_its_own_place() {
        for (place, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(rule as usize, place);
        }
    }

    #[test]
    fn violations_are_bounded_and_counted() {
        let mut report = Report::new(7);
        for _ in 0..50 {
            report.checked(Rule::C7);
            report.violated(Rule::C7, "hole", vec![3], || "there is a hole".to_owned());
        }
        assert_eq!(report.violations().len(), VIOLATIONS_MAX);
        assert_eq!(report.violation_count(Rule::C7), 50);
        assert!(!report.is_good());
        let text = report.to_string();
        assert!(
            text.contains("C7              50          50  no holes"),
            "{text}"
        );
        assert!(
            text.contains("C7 hole: there is a hole (events [3])"),
            "{text}"
        );
        assert!(text.ends_with("BAD"));
    }
}
