//! What each feature promises, in plain words: what `kentongan check` prints when nothing is wrong.

use std::fmt::Write as _;

use crate::rules::{Feature, Message, Rules};
use crate::settings::{Kind, Sender, Tabs};
use crate::syntax::units::{duration_text, size_text};

impl Rules {
    /// What all features promise, one paragraph each.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for feature in &self.features {
            let _ = writeln!(text, "{}", feature.describe());
        }
        let heartbeat = self.server.heartbeat;
        let _ = writeln!(
            text,
            "A dead line is noticed after {} at worst. {} decide who may do what; what none of them permits is refused.",
            duration_text(heartbeat.notices_after()),
            count(self.policies.count(), "policy", "policies"),
        );
        text
    }
}

impl Feature {
    /// What the feature promises, as a list.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!(
            "{} ({}), rooms {}\n",
            self.name,
            self.kind.as_str(),
            self.room
        );
        for promise in self.promises() {
            let _ = writeln!(text, "  - {promise}");
        }
        for message in &self.messages {
            let _ = writeln!(text, "  - {}", message.describe(self.kind));
        }
        text
    }

    fn promises(&self) -> Vec<String> {
        let mut promises = Vec::new();
        match self.replay {
            Some(window) => {
                promises.push("Everyone in a room gets its messages in one order.".to_owned());
                promises.push(format!(
                    "A message that was acknowledged is not lost. Of each room the last {} messages can be had again, none older than {}, at most {}.",
                    window.messages,
                    duration_text(window.age),
                    size_text(window.bytes),
                ));
                promises.push(
                    "Who comes back gets what was missed, or is told that there is a gap."
                        .to_owned(),
                );
                promises.push("Who is too slow is paused and catches up from the log.".to_owned());
            }
            None => {
                promises.push(
                    "Messages come at once or not at all, in no certain order; nothing is kept."
                        .to_owned(),
                );
                promises.push("Who is too slow misses messages.".to_owned());
            }
        }
        if !self.delay.is_zero() {
            let delay = duration_text(self.delay);
            promises.push(format!(
                "A message may be held for {delay}, to go out with others."
            ));
        }
        promises.push(format!(
            "The user is told: slow after {}, reconnecting after {}, offline after {}, stale after {}.",
            duration_text(self.show.slow),
            duration_text(self.show.reconnecting),
            duration_text(self.show.offline),
            duration_text(self.show.stale),
        ));
        promises.push(match self.tabs {
            Tabs::Each => "Each tab is on its own.".to_owned(),
            Tabs::One => "One tab leads, the others follow.".to_owned(),
        });
        if let Some(presence) = self.presence {
            promises.push(format!(
                "Who is here is known; who is cut off counts as here for {}.",
                duration_text(presence.linger)
            ));
        }
        promises
    }
}

impl Message {
    fn describe(&self, feature: Kind) -> String {
        let mut text = format!("{}: ", self.event);
        if self.kind != feature {
            let _ = write!(text, "a {}, ", self.kind.as_str());
        }
        text.push_str(match self.from {
            Sender::Client => "from clients and the backend, ",
            Sender::Backend => "from the backend only, ",
        });
        let (oldest, current) = (self.contract.oldest(), self.contract.current());
        if self.has_data {
            let bytes = u64::try_from(self.contract.bytes_max()).unwrap_or(u64::MAX);
            let _ = write!(text, "version {current}");
            if oldest < current {
                let _ = write!(text, " (understood from {oldest} on)");
            }
            let _ = write!(text, ", at most {}", size_text(bytes));
        } else {
            text.push_str("without data");
        }
        if self.from == Sender::Client {
            let _ = write!(
                text,
                ", {} a second from one user, {} at once",
                self.rate.per_second, self.rate.burst
            );
        }
        text.push('.');
        text
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{number} {noun}")
}
