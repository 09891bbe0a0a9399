//! Values that come piece by piece, and that others do not wait for.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Cache, Cached, Source, decode,
    local::Moment,
    namespace::Key,
    shared::{Generations, Opened},
    stats::Outcome,
};

/// The outcome of [`Cache::look_up`].
pub enum Lookup<T> {
    /// There is a value.
    Found(Cached<T>),
    /// There is none; whoever makes it can store it here.
    Missing(Slot),
}

/// The place of a value that was missing. Something that was invalidated since then is not stored.
pub struct Slot {
    cache: Cache,
    key: Key,
    born: Moment,
    generations: Option<Generations>,
}

impl Cache {
    /// Returns the value of a key, or the place where it belongs: for values that come piece by
    /// piece, and that others do not wait for.
    pub async fn look_up<T: DeserializeOwned>(&self, key: Key) -> Lookup<T> {
        let inner = &self.inner;
        let namespace = key.namespace().name();
        let local = inner.local.get(key.id(), inner.local_life());
        if let Some(entry) = local
            && let Ok(found) = decode(&entry.value, Source::Local)
        {
            inner.counters.hit(&entry.tally);
            return Lookup::Found(found);
        }
        let born = inner.local.now();
        let mut generations = None;
        if let Some(shared) = &inner.shared {
            match inner.look(shared, &key, "").await {
                Some(Opened::Hit { value, left }) => {
                    if let Ok(found) = decode(&value, Source::Shared) {
                        inner.keep(&key, value, left, born);
                        inner.counters.looked(namespace, Outcome::Shared);
                        return Lookup::Found(found);
                    }
                }
                Some(Opened::Miss(now)) => generations = Some(now),
                Some(Opened::Busy) | None => {}
            }
        }
        inner.counters.looked(namespace, Outcome::Missed);
        Lookup::Missing(Slot {
            cache: self.clone(),
            key,
            born,
            generations,
        })
    }
}

impl Slot {
    /// Stores the value, unless something of its key was invalidated since the look-up. What can
    /// not be stored is lost: the next one makes it again.
    pub async fn fill<T: Serialize>(self, value: &T) {
        let Ok(value) = serde_json::to_vec(value).map(Bytes::from) else {
            tracing::error!(
                namespace = self.key.namespace().name(),
                "a value has no JSON"
            );
            return;
        };
        let inner = &self.cache.inner;
        let life = self.key.draw_life();
        let stored = match (&inner.shared, &self.generations) {
            (Some(shared), Some(generations)) => {
                shared.store(&self.key, "", generations, &value, life).await
            }
            _ => Ok(true),
        };
        if !matches!(stored, Ok(false)) {
            inner.keep(&self.key, value, life, self.born);
        }
    }
}
