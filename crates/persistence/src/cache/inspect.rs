//! What the cache holds and did, for operators.

use std::sync::atomic::Ordering;

use sutazai_telemetry::names;

use super::{Cache, LocalStats, SharedEntry, SharedStats, Stats, namespace::identity};
use crate::redis::RedisError;

impl Cache {
    /// Returns what Redis holds under a key, without the value.
    ///
    /// # Errors
    /// [`RedisError`]
    pub async fn describe(
        &self,
        namespace: &str,
        key: &str,
    ) -> Result<Option<SharedEntry>, RedisError> {
        match &self.inner.shared {
            Some(shared) => shared.describe(&identity(namespace, key)).await,
            None => Ok(None),
        }
    }

    /// Returns the bytes of a value that this process holds.
    pub fn local_bytes(&self, namespace: &str, key: &str) -> Option<usize> {
        let id = identity(namespace, key);
        let entry = self.inner.local.get(&id, self.inner.local_life())?;
        Some(entry.value.len())
    }

    /// Returns what the cache did and holds.
    pub async fn stats(&self) -> Stats {
        let inner = &self.inner;
        let weights = inner.local.weigh();
        let mut namespaces = inner.counters.read();
        for namespace in &mut namespaces {
            let (bytes, entries) = weights.get(&namespace.name).copied().unwrap_or_default();
            namespace.local_bytes = bytes;
            namespace.local_entries = entries;
        }
        let shared = match &inner.shared {
            Some(shared) => Some(SharedStats {
                address: shared.redis.address(),
                hears: inner.hears.load(Ordering::Acquire),
                memory: shared.redis.memory().await.ok(),
                owed: inner.owed.lock().len(),
            }),
            None => None,
        };
        let bytes = inner.local.bytes();
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!(names::CACHE_LOCAL_BYTES).set(bytes as f64);
        Stats {
            namespaces,
            local: LocalStats {
                bytes,
                limit: inner.settings.local_bytes,
            },
            shared,
        }
    }
}
