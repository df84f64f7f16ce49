//! Chance from a seed, so that a run can be repeated. SplitMix64.

/// A sequence of numbers that depends on the seed alone.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Half of `mean` to one and a half times as much.
    pub(crate) fn about(&mut self, mean: u64) -> u64 {
        self.between(mean / 2, mean + mean / 2 + 1)
    }

    /// From `low` to below `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        low + mixed % high.saturating_sub(low).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_and_repeats() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (0..1000).map(|_| chance.between(5, 15)).collect::<Vec<_>>()
        };
        let drawn = draw(1);
        assert!(drawn.iter().all(|it| (5..15).contains(it)));
        assert!((5..15).all(|it| drawn.contains(&it)));
        assert_eq!(drawn, draw(1));
        assert_ne!(drawn, draw(2));
    }
}
