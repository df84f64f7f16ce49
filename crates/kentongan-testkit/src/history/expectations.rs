//! What a run has to fulfil: its bounds in time and number, and what makes it worth anything. Facts about the run that no
//! event tells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    History,
    event::{Invoke, What},
};

/// What a room keeps. Without a bound it keeps everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Window {
    /// So many messages.
    pub messages: Option<u64>,
    /// Messages of so many bytes together, as counted in [`Invoke::Publish`](super::Invoke::Publish).
    pub bytes: Option<u64>,
    /// Messages that are no older, in milliseconds.
    pub age_ms: Option<u64>,
    /// For how long a message that is too old may still be there: the time between two trims, in milliseconds.
    pub trim_interval_ms: u64,
}

/// Who needs a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    /// Nobody: the history has no grants.
    Open,
    /// Every user, and each right is in the history.
    Granted,
}

/// By how much a server may be above its base at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceLimits {
    /// Tasks.
    pub tasks: u64,
    /// File descriptors.
    pub fds: u64,
    /// Memory, in bytes.
    pub rss_bytes: u64,
}

/// What a run has to fulfil. The defaults are the figures of the promises. As JSON, what is left out has its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expectations {
    /// Fewer deliveries prove nothing.
    pub deliveries_min: u64,
    /// Fewer faults prove nothing.
    pub faults_min: u64,
    /// Fewer clients that came back prove nothing.
    pub reconnects_min: u64,
    /// What rooms keep.
    pub window: Window,
    /// Rooms that keep something else.
    pub room_windows: BTreeMap<String, Window>,
    /// Who needs a right.
    pub rights: Rights,
    /// The deadline of a call. All times are in milliseconds.
    pub deadline_ms: u64,
    /// By how much a completion may be later, for the harness's own delays.
    pub deadline_slack_ms: u64,
    /// How long after the answer to a revocation something may still arrive.
    pub revoke_lag_ms: u64,
    /// How long after a token has expired something may still arrive: leeway for clocks, and a second.
    pub expiry_lag_ms: u64,
    /// How old a message may be that a client in the room does not have.
    pub delivery_lag_ms: u64,
    /// How long after the last fault everything has to work.
    pub progress_within_ms: u64,
    /// What may be left over.
    pub resources: ResourceLimits,
}

impl Default for Expectations {
    fn default() -> Self {
        Self {
            deliveries_min: 1_000,
            faults_min: 1,
            reconnects_min: 1,
            window: Window::default(),
            room_windows: BTreeMap::new(),
            rights: Rights::Open,
            deadline_ms: 10_000,
            deadline_slack_ms: 500,
            revoke_lag_ms: 2_000,
            expiry_lag_ms: 2_000,
            delivery_lag_ms: 5_000,
            progress_within_ms: 10_000,
            resources: ResourceLimits {
                tasks: 8,
                fds: 8,
                rss_bytes: 64 << 20,
            },
        }
    }
}

impl Expectations {
    /// Users need rights if the history has grants.
    #[must_use]
    pub fn with_rights_of(mut self, history: &History) -> Self {
        let has_grants = history
            .events()
            .iter()
            .any(|event| matches!(event.what, What::Invoke(Invoke::Grant { .. })));
        self.rights = if has_grants {
            Rights::Granted
        } else {
            Rights::Open
        };
        self
    }

    /// What a room keeps.
    #[must_use]
    pub fn window_of(&self, room: &str) -> Window {
        self.room_windows.get(room).copied().unwrap_or(self.window)
    }
}

/// Nanoseconds.
pub(super) fn ns(ms: u64) -> u64 {
    ms.saturating_mul(1_000_000)
}
