//! The same algorithm within one process.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Quota, Verdict};

/// Most principals that are counted at once.
const MOST: u64 = 100_000;
/// A count that nobody asked for this long has run out.
const IDLE: Duration = Duration::from_secs(3_600);

/// For each principal the theoretical arrival time of the next request, in microseconds since the start:
/// a clock that is set must not let anybody wait.
pub(super) struct Local {
    started: Instant,
    counts: moka::sync::Cache<String, Arc<Mutex<u64>>>,
}

impl Default for Local {
    fn default() -> Self {
        let cache = moka::sync::Cache::builder().max_capacity(MOST);
        Self {
            started: Instant::now(),
            counts: cache.time_to_idle(IDLE).build(),
        }
    }
}

impl Local {
    pub(super) fn take(&self, who: &str, quota: Quota) -> Verdict {
        self.take_at(who, quota, self.started.elapsed())
    }

    fn take_at(&self, who: &str, quota: Quota, since: Duration) -> Verdict {
        let count = self.counts.get_with_by_ref(who, Arc::default);
        let mut count = count.lock();
        let now = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let (cost, ahead) = (quota.cost_micros(), quota.ahead_micros());
        let arrival = (*count).max(now);
        let after = arrival.saturating_add(cost);
        let used = after - now;
        let allowed = used <= ahead;
        if allowed {
            *count = after;
        }
        let left = ahead.saturating_sub(used) / cost;
        let wait = used.saturating_sub(ahead);
        let reset = if allowed { used } else { arrival - now };
        Verdict {
            allowed,
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            retry_after: Duration::from_micros(wait),
            reset_after: Duration::from_micros(reset),
            shared: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    proptest! {
        #[test]
        fn s11_no_window_has_more_than_the_quota_and_one_burst(
            requests in 1_u32..500, burst in 1_u32..50, gaps in prop::collection::vec(0_u64..40, 1..800),
        ) {
            let window = Duration::from_secs(1);
            let quota = Quota { requests, window, burst };
            let local = Local::default();
            let mut now = 0;
            let mut allowed = Vec::new();
            for gap in gaps {
                now += gap;
                if local.take_at("a", quota, at(now)).allowed {
                    allowed.push(now);
                }
            }
            for (index, begin) in allowed.iter().enumerate() {
                let within = allowed[index..].iter().take_while(|time| **time < begin + 1_000).count();
                prop_assert!(within <= (requests + burst) as usize, "{within} in a window");
            }
        }
    }

    #[test]
    fn s11_the_rate_over_a_minute_is_exact_to_one_percent() {
        let quota = Quota {
            requests: 1_000,
            window: Duration::from_secs(60),
            burst: 10,
        };
        let local = Local::default();
        // Ten times as much as is allowed, for a minute.
        let allowed = (0..60_000_u64)
            .step_by(6)
            .filter(|millis| local.take_at("a", quota, at(*millis)).allowed);
        let allowed = allowed.count();
        assert!((990..=1_010).contains(&allowed), "{allowed}");
    }

    #[test]
    fn a_refusal_says_when_to_come_back_and_costs_nothing() {
        let quota = Quota {
            requests: 1,
            window: Duration::from_secs(10),
            burst: 1,
        };
        let local = Local::default();
        assert!(local.take_at("a", quota, at(0)).allowed);
        for _ in 0..5 {
            let refused = local.take_at("a", quota, at(4_000));
            assert!(!refused.allowed);
            assert_eq!(refused.retry_after, Duration::from_secs(6));
        }
        assert!(local.take_at("b", quota, at(4_000)).allowed);
        assert!(local.take_at("a", quota, at(10_000)).allowed);
    }

    #[test]
    fn shares_are_never_more_than_the_whole_and_never_nothing() {
        let quota = Quota {
            requests: 10,
            window: Duration::from_secs(1),
            burst: 4,
        };
        assert_eq!(quota.share_of(3).requests, 3);
        assert_eq!(
            (quota.share_of(100).requests, quota.share_of(0)),
            (1, quota)
        );
    }
}
