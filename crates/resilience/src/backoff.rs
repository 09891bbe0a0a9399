//! Growing, jittered waits between tries.

use std::time::Duration;

use rand::Rng;

/// A schedule of waits that doubles from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The shortest wait.
    pub min: Duration,
    /// The longest wait. A value below `min` counts as `min`.
    pub max: Duration,
}

impl Backoff {
    /// Returns the longest wait before try number `attempt` is repeated; the first attempt is 1.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.min
            .saturating_mul(1 << doublings)
            .min(self.max)
            .max(self.min)
    }

    /// Returns a random wait between `min` and the ceiling, so that many callers spread out.
    pub fn delay(&self, attempt: u32, rng: &mut impl Rng) -> Duration {
        rng.random_range(self.min..=self.ceiling(attempt))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    proptest! {
        #[test]
        fn delays_stay_within_their_bounds(min in 0_u64..100_000, span in 0_u64..10_000_000, attempt: u32, seed: u64) {
            let backoff = Backoff { min: Duration::from_millis(min), max: Duration::from_millis(min + span) };
            let delay = backoff.delay(attempt, &mut StdRng::seed_from_u64(seed));
            prop_assert!(delay >= backoff.min);
            prop_assert!(delay <= backoff.ceiling(attempt));
            prop_assert!(backoff.ceiling(attempt) <= backoff.max);
            prop_assert!(backoff.ceiling(attempt) <= backoff.ceiling(attempt.saturating_add(1)));
        }
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum() {
        let backoff = Backoff {
            min: Duration::from_secs(1),
            max: Duration::from_secs(30),
        };
        let seconds: Vec<_> = (1..=7).map(|n| backoff.ceiling(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.ceiling(u32::MAX), backoff.max);
    }

    #[test]
    fn bounds_in_the_wrong_order_do_not_panic() {
        let backoff = Backoff {
            min: Duration::from_secs(5),
            max: Duration::from_secs(1),
        };
        assert_eq!(backoff.delay(3, &mut StdRng::seed_from_u64(1)), backoff.min);
    }
}
