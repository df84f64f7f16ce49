//! What the terminal shows while a step runs: one line that counts seconds, or plain lines when nobody is watching.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

/// A CI system may end a job that is silent for long, so a line is printed this often.
const SIGN_OF_LIFE_INTERVAL: Duration = Duration::from_secs(60);

/// The line of one running step.
pub(crate) struct Progress {
    headline: String,
    terminal: bool,
    shown: u64,
}

impl Progress {
    pub(crate) fn start(headline: String) -> Self {
        let terminal = io::stdout().is_terminal();
        if terminal {
            print!("{headline} …");
        } else {
            println!("{headline} …");
        }
        flush();
        Self {
            headline,
            terminal,
            shown: 0,
        }
    }

    /// Time has passed; shown at most once a second, or once a minute without a terminal.
    pub(crate) fn tick(&mut self, passed: Duration) {
        if self.terminal && passed.as_secs() > self.shown {
            self.shown = passed.as_secs();
            print!("\r{} … {} s", self.headline, self.shown);
            flush();
        } else if !self.terminal && passed.as_secs() / SIGN_OF_LIFE_INTERVAL.as_secs() > self.shown
        {
            self.shown = passed.as_secs() / SIGN_OF_LIFE_INTERVAL.as_secs();
            println!("  still running after {} min", self.shown);
            flush();
        }
    }

    pub(crate) fn finish(self, outcome: &str, passed: Duration) {
        if self.terminal {
            println!(
                "\r\x1b[2K{}: {outcome} ({})",
                self.headline,
                seconds(passed)
            );
        } else {
            println!("  {outcome} ({})", seconds(passed));
        }
        flush();
    }
}

/// `7.3 s`, or `2 min 05 s` from a minute on.
pub(crate) fn seconds(time: Duration) -> String {
    if time.as_secs() < 60 {
        format!("{}.{} s", time.as_secs(), time.subsec_millis() / 100)
    } else {
        format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

fn flush() {
    // A closed terminal is no reason to fail a build.
    let _ = io::stdout().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let check =
            |millis, expected: &str| assert_eq!(seconds(Duration::from_millis(millis)), expected);
        check(0, "0.0 s");
        check(7_390, "7.3 s");
        check(59_999, "59.9 s");
        check(60_000, "1 min 00 s");
        check(125_000, "2 min 05 s");
    }
}
