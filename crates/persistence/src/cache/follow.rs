//! Hearing of other caches on the same Redis.

use std::{
    sync::{Weak, atomic::Ordering},
    time::Duration,
};

use sutazai_resilience::Backoff;

use super::{
    Inner,
    namespace::ALL,
    shared::{News, Shared},
};
use crate::redis::RedisError;

/// Waits between two tries to hear again.
const RETRY: Backoff = Backoff {
    min: Duration::from_millis(50),
    max: Duration::from_secs(2),
};

/// Hears until the cache is gone.
pub(super) async fn follow(cache: Weak<Inner>) {
    let mut attempt = 0;
    loop {
        {
            let Some(inner) = cache.upgrade() else { return };
            let Some(shared) = &inner.shared else { return };
            match inner.listen(shared).await {
                Ok(()) => attempt = 0,
                Err(error) => {
                    // Told once: the next tries fail for the same reason.
                    if attempt == 0 {
                        let cause = sutazai_proto::status::chain(&error);
                        tracing::warn!(cause, "the cache is degraded: Redis can not be heard");
                    }
                }
            }
        }
        attempt += 1;
        let wait = RETRY.delay(attempt, &mut rand::rng());
        tokio::time::sleep(wait).await;
    }
}

impl Inner {
    /// Hears until the connection is lost.
    async fn listen(&self, shared: &Shared) -> Result<(), RedisError> {
        let mut subscription = shared.subscribe().await?;
        // Nobody knows what was said before.
        self.local.invalidate(ALL);
        self.hears.store(true, Ordering::Release);
        tracing::info!(
            redis = shared.redis.address(),
            "the cache hears its replicas"
        );
        self.settle(shared).await;
        advise(shared).await;
        while let Some(message) = subscription.next().await {
            match shared.read(&message) {
                Some(News::Invalidated(mark)) => self.local.invalidate(mark),
                // An error means that nobody waits.
                Some(News::Done(id)) => drop(self.done.send(id.into())),
                None => {}
            }
        }
        self.hears.store(false, Ordering::Release);
        tracing::warn!("the cache lost the connection that hears its replicas");
        Ok(())
    }

    /// Repeats the invalidations that Redis has not seen yet; false while it does not see them, and
    /// its entries can not be believed.
    pub(super) async fn settle(&self, shared: &Shared) -> bool {
        loop {
            let Some(mark) = self.owed.lock().first().cloned() else {
                return true;
            };
            if shared.invalidate(&mark).await.is_err() {
                return false;
            }
            self.owed.lock().remove(&mark);
        }
    }
}

/// Warns of a Redis that is not set up as a cache.
async fn advise(shared: &Shared) {
    match shared.redis.memory().await {
        Ok(memory) => {
            if let Some(advice) = memory.advice() {
                tracing::warn!(limit = memory.limit, policy = memory.policy, "{advice}");
            }
        }
        Err(error) => tracing::warn!(%error, "the memory limit of Redis is not known"),
    }
}
