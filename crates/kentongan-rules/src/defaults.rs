//! What holds when a rules file is silent. `docs/defaults.md` has the same table with the reasons; a test compares them.

use std::time::Duration;

pub(crate) const LISTEN: &str = "127.0.0.1:8080";
pub(crate) const STORE: &str = "embedded:data";
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(25);
pub(crate) const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(20);
pub(crate) const MESSAGE_BYTES_MAX: u64 = 1_000_000;
pub(crate) const CLAIM_USER: &str = "sub";
pub(crate) const DELAY: Duration = Duration::ZERO;
pub(crate) const REPLAY_MESSAGES: u32 = 1_000;
pub(crate) const REPLAY_AGE: Duration = Duration::from_secs(7 * 86_400);
pub(crate) const REPLAY_BYTES: u64 = 4 * 1024 * 1024;
pub(crate) const SHOW_SLOW: Duration = Duration::from_secs(1);
pub(crate) const SHOW_RECONNECTING: Duration = Duration::from_secs(4);
pub(crate) const SHOW_OFFLINE: Duration = Duration::from_secs(30);
pub(crate) const SHOW_STALE: Duration = Duration::from_secs(60);
pub(crate) const PRESENCE_LINGER: Duration = Duration::from_secs(15);
pub(crate) const VERSION: u32 = 1;
pub(crate) const MAX: u64 = 4 * 1024;
pub(crate) const RATE_PER_SECOND: u32 = 10;
pub(crate) const RATE_BURST: u32 = 20;
