//! How many connections have joined no namespace yet, by address prefix and in all.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::address::Prefix;
use crate::config::UnauthenticatedLimits;

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowd {
    /// Its address has too many already.
    Address,
    /// There are too many in all.
    Total,
}

#[derive(Debug)]
pub(crate) struct Unauthenticated {
    per_address_max: usize,
    total_max: usize,
    counts: Mutex<Counts>,
}

/// Bounded by `total_max`: only prefixes with a connection have an entry. Without that limit by the sessions there are.
#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_prefix: HashMap<Prefix, usize>,
}

impl Unauthenticated {
    /// `None` when nothing is limited, so that nothing is counted.
    pub(crate) fn new(limits: &UnauthenticatedLimits) -> Option<Self> {
        (limits.per_address_max.is_some() || limits.total_max.is_some()).then(|| Self {
            per_address_max: limits.per_address_max.unwrap_or(usize::MAX),
            total_max: limits.total_max.unwrap_or(usize::MAX),
            counts: Mutex::default(),
        })
    }

    pub(crate) fn enter(&self, prefix: Option<Prefix>) -> Result<(), Crowd> {
        let mut counts = self.counts.lock();
        if counts.total >= self.total_max {
            return Err(Crowd::Total);
        }
        if let Some(prefix) = prefix {
            let of_prefix = counts.by_prefix.get(&prefix).copied().unwrap_or(0);
            if of_prefix >= self.per_address_max {
                return Err(Crowd::Address);
            }
            counts.by_prefix.insert(prefix, of_prefix + 1);
        }
        counts.total += 1;
        Ok(())
    }

    pub(crate) fn leave(&self, prefix: Option<Prefix>) {
        let mut counts = self.counts.lock();
        debug_assert!(counts.total > 0, "counted out more often than in");
        counts.total = counts.total.saturating_sub(1);
        let Some(prefix) = prefix else { return };
        if let Some(count) = counts.by_prefix.get_mut(&prefix) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.by_prefix.remove(&prefix);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn one_below_the_limit_at_it_and_above() {
        let mut limits = UnauthenticatedLimits::default();
        assert!(Unauthenticated::new(&limits).is_none());
        limits.per_address_max = Some(2);
        limits.total_max = Some(3);
        let counts = Unauthenticated::new(&limits).unwrap();
        let prefix = |text: &str| Some(Prefix::from(text.parse::<IpAddr>().unwrap()));
        let (one, other) = (prefix("192.0.2.1"), prefix("2001:db8::1"));
        assert_eq!(counts.enter(one), Ok(()));
        assert_eq!(counts.enter(one), Ok(()));
        assert_eq!(counts.enter(one), Err(Crowd::Address));
        assert_eq!(counts.enter(other), Ok(()));
        assert_eq!(counts.enter(None), Err(Crowd::Total));
        counts.leave(one);
        assert_eq!(counts.enter(one), Ok(()));
        counts.leave(one);
        counts.leave(one);
        counts.leave(other);
        let counts = counts.counts.lock();
        assert_eq!((counts.total, counts.by_prefix.len()), (0, 0));
    }
}
