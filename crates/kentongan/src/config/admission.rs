//! Settings of how fast clients may be, and what they get before they have joined a namespace.
//!
//! Owns names, defaults and the values that we recommend; it must not know how any of them is enforced.

use std::time::Duration;

use super::ConfigError;

/// A sustained rate and how far a client may run ahead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Events per second, at least 1.
    pub per_second: u32,
    /// Events that may come at once after a pause, at least 1.
    pub burst: u32,
}

/// How many events clients may send. An event above a rate does not reach its handlers: its acknowledgement, if the client
/// asked for one, is `{ok: false, error: {code: "rate_limited", …}}`. A session with more refused events than its rate
/// allows events is not read for a second, so that the flood waits in the client's own socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimits {
    /// Events of one socket. No limit.
    pub socket_events: Option<Rate>,
    /// Events of all sockets with one identity (`Socket::set_identity`), whatever their connections, also over reconnects.
    /// No limit.
    pub user_events: Option<Rate>,
    /// Identities that are remembered. 65,536; beyond it those that were quiet for longest are forgotten.
    pub users_max: usize,
    /// Events of all sockets of one address prefix (/24 of IPv4, /64 of IPv6), also over reconnects. No limit.
    pub address_events: Option<Rate>,
    /// Address prefixes that are remembered. 65,536; beyond it those that were quiet for longest are forgotten.
    pub addresses_max: usize,
}

/// Limits on connections that have joined no namespace yet: nobody has vouched for them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnauthenticatedLimits {
    /// Bytes of one message, if `limits.message_bytes_max` is not smaller. 16 KiB.
    pub message_bytes_max: usize,
    /// Bytes of CONNECT payloads that wait for their middleware and of packets that wait to be sent, together. 32 KiB.
    pub held_bytes_max: usize,
    /// Such connections of one address prefix (/24 of IPv4, /64 of IPv6); beyond it a handshake is answered with 429.
    /// No limit.
    pub per_address_max: Option<usize>,
    /// Such connections in all; beyond it a handshake is answered with 503. No limit.
    pub total_max: Option<usize>,
}

/// The least speed of a polling body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyRate {
    /// Bytes per second. 1,024.
    pub bytes_per_second_min: u32,
    /// Time that every body has besides. 5 s.
    pub grace: Duration,
}

impl RateLimits {
    /// What we recommend to a public server whose clients send a few events per second: 100 per socket and second, 200 per
    /// user, 1,000 per address prefix. The bursts are two seconds' worth: stock clients send at once what they buffered while they
    /// were away. Behind a proxy set `Config::trusted_proxies` as well, or all clients share one address.
    #[must_use]
    pub fn recommended() -> Self {
        Self {
            socket_events: Some(Rate {
                per_second: 100,
                burst: 200,
            }),
            user_events: Some(Rate {
                per_second: 200,
                burst: 400,
            }),
            address_events: Some(Rate {
                per_second: 1000,
                burst: 2000,
            }),
            ..Self::default()
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let rates = [
            ("rates.socket_events", self.socket_events),
            ("rates.user_events", self.user_events),
            ("rates.address_events", self.address_events),
        ];
        for (setting, rate) in rates {
            if rate.is_some_and(|rate| rate.per_second == 0 || rate.burst == 0) {
                return Err(ConfigError {
                    setting,
                    problem: "rate and burst must be at least 1; None sets no limit",
                });
            }
        }
        let numbers = [
            ("rates.users_max", self.users_max),
            ("rates.addresses_max", self.addresses_max),
        ];
        for (setting, number) in numbers {
            if number == 0 {
                return Err(ConfigError {
                    setting,
                    problem: "must be at least 1",
                });
            }
        }
        Ok(())
    }
}

impl UnauthenticatedLimits {
    /// What we recommend to a public server: 50 connections per address prefix, 2,000 in all. Behind a proxy set
    /// `Config::trusted_proxies` as well, or all clients share one address.
    #[must_use]
    pub fn recommended() -> Self {
        Self {
            per_address_max: Some(50),
            total_max: Some(2000),
            ..Self::default()
        }
    }
}

impl BodyRate {
    /// How long a body may take until `bytes` and one more have come.
    pub(crate) fn time_for(&self, bytes: usize) -> Duration {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.grace + Duration::from_secs(1) * bytes / self.bytes_per_second_min.max(1)
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            socket_events: None,
            user_events: None,
            users_max: 65_536,
            address_events: None,
            addresses_max: 65_536,
        }
    }
}

impl Default for UnauthenticatedLimits {
    fn default() -> Self {
        Self {
            message_bytes_max: 16 * 1024,
            held_bytes_max: 32 * 1024,
            per_address_max: None,
            total_max: None,
        }
    }
}

impl Default for BodyRate {
    fn default() -> Self {
        Self {
            bytes_per_second_min: 1024,
            grace: Duration::from_secs(5),
        }
    }
}
