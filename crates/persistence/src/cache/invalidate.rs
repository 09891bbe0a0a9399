//! Ending entries before their life is over, in all replicas.

use std::sync::Arc;

use super::{
    Cache, Inner,
    namespace::{ALL, identity, mark_of_key, mark_of_namespace, mark_of_tag},
};
use crate::redis::RedisError;

/// Most invalidations that Redis has not seen; more become one of everything.
const OWED: usize = 1_000;

impl Cache {
    /// Ends every entry with a tag, in all replicas.
    ///
    /// # Errors
    /// [`RedisError`] when Redis has not seen it: it holds in this process, and is repeated before
    /// anything of Redis is believed again.
    pub async fn invalidate_tag(&self, tag: &str) -> Result<(), RedisError> {
        self.invalidate(mark_of_tag(tag)).await
    }

    /// Ends every entry of a namespace, in all replicas.
    ///
    /// # Errors
    /// As [`invalidate_tag`](Self::invalidate_tag).
    pub async fn invalidate_namespace(&self, namespace: &str) -> Result<(), RedisError> {
        self.invalidate(mark_of_namespace(namespace)).await
    }

    /// Ends every entry, in all replicas.
    ///
    /// # Errors
    /// As [`invalidate_tag`](Self::invalidate_tag).
    pub async fn clear(&self) -> Result<(), RedisError> {
        self.invalidate(ALL.into()).await
    }

    /// Ends one entry, in all replicas.
    ///
    /// # Errors
    /// As [`invalidate_tag`](Self::invalidate_tag).
    pub async fn delete(&self, namespace: &str, key: &str) -> Result<(), RedisError> {
        self.invalidate(mark_of_key(&identity(namespace, key)))
            .await
    }

    /// Ends every entry whose `namespace:key` fits a pattern with `*` and `?`, in all replicas, and
    /// returns how many Redis had. It looks at every key: for operators, not for programs.
    ///
    /// # Errors
    /// As [`invalidate_tag`](Self::invalidate_tag); everything is ended then.
    pub async fn delete_matching(&self, pattern: &str) -> Result<u64, RedisError> {
        let deleted = match &self.inner.shared {
            Some(shared) => shared.delete_matching(pattern).await,
            None => Ok(0),
        };
        if deleted.is_err() {
            self.inner.owe(ALL.into());
        }
        self.inner.local.invalidate(ALL);
        deleted
    }

    async fn invalidate(&self, mark: Arc<str>) -> Result<(), RedisError> {
        let seen = match &self.inner.shared {
            Some(shared) => shared.invalidate(&mark).await,
            None => Ok(()),
        };
        // After Redis: who read the old value meanwhile keeps it under an older moment.
        self.inner.local.invalidate(&mark);
        if seen.is_err() {
            self.inner.owe(mark);
        }
        seen
    }
}

impl Inner {
    /// Remembers an invalidation that Redis has not seen.
    fn owe(&self, mark: Arc<str>) {
        let mut owed = self.owed.lock();
        if owed.len() >= OWED {
            owed.clear();
            owed.insert(ALL.into());
        } else {
            owed.insert(mark);
        }
    }
}
