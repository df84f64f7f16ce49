//! What a run has to fulfil: its bounds in time and number, and what makes it worth anything. Facts about the run that no
//! event tells.

use std::{collections::BTreeMap, time::Duration};

/// What a room keeps. Without a bound it keeps everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// So many messages.
    pub messages: Option<u64>,
    /// Messages of so many bytes together, as counted in [`Invoke::Publish`](super::Invoke::Publish).
    pub bytes: Option<u64>,
    /// Messages that are no older.
    pub age: Option<Duration>,
    /// For how long a message that is too old may still be there: the time between two trims.
    pub trim_interval: Duration,
}

/// Who needs a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Nobody: the history has no grants.
    Open,
    /// Every user, and each right is in the history.
    Granted,
}

/// By how much a server may be above its base at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Tasks.
    pub tasks: u64,
    /// File descriptors.
    pub fds: u64,
    /// Memory, in bytes.
    pub rss_bytes: u64,
}

/// What a run has to fulfil. The defaults are the figures of the promises.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The deadline of a call.
    pub deadline: Duration,
    /// By how much a completion may be later, for the harness's own delays.
    pub deadline_slack: Duration,
    /// How long after the answer to a revocation something may still arrive.
    pub revoke_lag: Duration,
    /// How long after a token has expired something may still arrive: leeway for clocks, and a second.
    pub expiry_lag: Duration,
    /// How old a message may be that a client in the room does not have.
    pub delivery_lag: Duration,
    /// How long after the last fault everything has to work.
    pub progress_within: Duration,
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
            deadline: Duration::from_secs(10),
            deadline_slack: Duration::from_millis(500),
            revoke_lag: Duration::from_secs(2),
            expiry_lag: Duration::from_secs(2),
            delivery_lag: Duration::from_secs(5),
            progress_within: Duration::from_secs(10),
            resources: ResourceLimits {
                tasks: 8,
                fds: 8,
                rss_bytes: 64 << 20,
            },
        }
    }
}

impl Expectations {
    /// What a room keeps.
    #[must_use]
    pub fn window_of(&self, room: &str) -> Window {
        self.room_windows.get(room).copied().unwrap_or(self.window)
    }
}

/// Nanoseconds of a duration; 584 years are enough.
pub(super) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
