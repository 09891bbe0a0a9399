//! Rate limits that replicas share: one decision in Redis for each request, and a share of the limit
//! in each replica while Redis is away.

mod local;
mod quota;

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use redis::Script;

use self::local::Local;
pub use self::quota::{Quota, Verdict};
use crate::redis::{Redis, RedisError};

/// Longest wait for Redis: a request must not be late because of its limit.
const PATIENCE: Duration = Duration::from_millis(300);

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("limit/take.lua")));

/// Counts requests; clones share the counts.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    redis: Option<Redis>,
    prefix: String,
    local: Local,
}

impl Limiter {
    /// Makes a limiter whose counts all replicas with the same Redis share; without one it counts
    /// for itself.
    pub fn new(redis: Option<Redis>) -> Self {
        Self::with_prefix(redis, "sutazai:limit")
    }

    /// As [`new`](Self::new), with another beginning of its keys in Redis.
    pub fn with_prefix(redis: Option<Redis>, prefix: &str) -> Self {
        Self(Arc::new(Inner {
            redis,
            prefix: prefix.to_owned(),
            local: Local::default(),
        }))
    }

    /// Takes one request of `who` from a quota.
    ///
    /// While Redis can not be asked, this replica grants its share, one of `replicas`: never more
    /// than the whole quota over all of them, and never without a limit.
    pub async fn take(&self, who: &str, quota: Quota, replicas: usize) -> Verdict {
        if let Some(redis) = &self.0.redis
            && let Ok(verdict) = self.take_shared(redis, who, quota).await
        {
            return verdict;
        }
        let share = quota.share_of(replicas);
        self.0.local.take(who, share)
    }

    async fn take_shared(
        &self,
        redis: &Redis,
        who: &str,
        quota: Quota,
    ) -> Result<Verdict, RedisError> {
        let mut script = TAKE.key(format!("{}:{who}", self.0.prefix));
        script.arg(quota.cost_micros()).arg(quota.ahead_micros());
        let (taken, left, wait, reset): (u8, u32, u64, u64) =
            redis.script_within(PATIENCE, "limit.take", &script).await?;
        Ok(Verdict {
            allowed: taken == 1,
            remaining: left,
            retry_after: Duration::from_micros(wait),
            reset_after: Duration::from_micros(reset),
            shared: true,
        })
    }
}
