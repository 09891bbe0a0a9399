//! A raw moka look-up: the bytes of a key, in a cache with the bound and the life that ours has.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

/// Bytes that the cache holds at most, and how long: the platform's defaults.
const CAPACITY: u64 = 64 << 20;
const LIFE: Duration = Duration::from_secs(30);

/// A cache that holds a value under each of its keys.
#[derive(Debug)]
pub(crate) struct Hits {
    entries: moka::sync::Cache<Arc<str>, Bytes>,
    keys: Vec<Arc<str>>,
}

impl Hits {
    /// Makes a cache of the keys.
    pub(crate) fn new(keys: impl IntoIterator<Item = String>) -> Self {
        let weigh = |key: &Arc<str>, value: &Bytes| {
            u32::try_from(key.len() + value.len()).unwrap_or(u32::MAX)
        };
        Self {
            entries: moka::sync::Cache::builder()
                .max_capacity(CAPACITY)
                .weigher(weigh)
                .time_to_live(LIFE)
                .build(),
            keys: keys.into_iter().map(Arc::from).collect(),
        }
    }

    /// Stores the value anew under each key.
    pub(crate) fn fill(&self, value: &Bytes) {
        for key in &self.keys {
            self.entries.insert(Arc::clone(key), value.clone());
        }
    }

    /// Looks each key up so many times, and returns how often it was there.
    pub(crate) fn look(&self, times: usize) -> usize {
        let mut found = 0;
        for _ in 0..times {
            for key in &self.keys {
                found += usize::from(self.entries.get(&**key).is_some());
            }
        }
        found
    }
}
