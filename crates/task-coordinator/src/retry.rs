//! When a failed attempt is followed by the next one.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng;
use sutazai_resilience::backoff::Backoff;

/// Chooses the time of the next attempt: full jitter under an exponential, capped ceiling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy(Backoff);

impl RetryPolicy {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self(Backoff { min, max })
    }

    /// Returns when the attempt after number `attempt` may start.
    pub(crate) fn at(&self, attempt: u32, now: DateTime<Utc>, rng: &mut impl Rng) -> DateTime<Utc> {
        let ceiling = self.0.ceiling(attempt).as_millis();
        // Whole milliseconds: the database keeps no more than microseconds.
        let wait = rng.random_range(0..=i64::try_from(ceiling).unwrap_or(i64::MAX));
        TimeDelta::try_milliseconds(wait)
            .and_then(|wait| now.checked_add_signed(wait))
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(60))
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn tsk_07_waits_use_the_whole_range_under_a_growing_ceiling() {
        let now = Utc::now();
        let mut rng = StdRng::seed_from_u64(1);
        for (attempt, ceiling) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (20, 60)] {
            let ceiling = TimeDelta::seconds(ceiling);
            let mut waits: Vec<TimeDelta> = (0..500)
                .map(|_| RetryPolicy::default().at(attempt, now, &mut rng) - now)
                .collect();
            waits.sort_unstable();
            assert!(
                waits[0] >= TimeDelta::zero() && waits[499] <= ceiling,
                "{attempt}"
            );
            assert!(
                waits[50] < ceiling / 4 && waits[449] > ceiling / 4 * 3,
                "{attempt}"
            );
        }
    }
}
