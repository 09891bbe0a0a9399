//! Shows that the shared level works.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;

use super::{
    Cache, Namespace,
    namespace::mark_of_key,
    shared::{Opened, fresh_name},
};
use crate::redis::RedisError;

const PROBES: Namespace = Namespace::new("probe", Duration::from_secs(60));

/// Why the shared level does not work.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// No Redis is configured.
    #[error("no Redis is configured: set REDIS_URL")]
    NotConfigured,
    /// Redis does not do its work.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// Redis lost what was written, for example because it is full.
    #[error("an entry that was written to Redis was not found there")]
    Lost,
    /// Redis answers, and what replicas say is not heard yet.
    #[error("invalidations of other replicas are not heard")]
    Deaf,
}

impl Cache {
    /// Writes an entry to Redis, finds it there past the local level, and returns the evidence.
    ///
    /// # Errors
    /// [`CheckError`]
    pub async fn check(&self) -> Result<String, CheckError> {
        let shared = self
            .inner
            .shared
            .as_ref()
            .ok_or(CheckError::NotConfigured)?;
        let version = shared.redis.ping().await?;
        let key = PROBES.key(&fresh_name());
        let value = Bytes::from(fresh_name());
        if let Opened::Miss(generations) = shared.open(&key, "").await? {
            shared
                .store(&key, "", &generations, &value, PROBES.life())
                .await?;
        }
        let found = shared.open(&key, "").await?;
        shared.invalidate(&mark_of_key(key.id())).await?;
        if !matches!(found, Opened::Hit { value: found, .. } if found == value) {
            return Err(CheckError::Lost);
        }
        if !self.inner.hears.load(Ordering::Acquire) {
            return Err(CheckError::Deaf);
        }
        let memory = shared.redis.memory().await?;
        Ok(format!(
            "{version}: level two hit; {} of {} bytes used, {}",
            memory.used, memory.limit, memory.policy
        ))
    }
}
