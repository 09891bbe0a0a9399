//! The one cache: a bounded level in this process, and Redis as the truth that all replicas share.
//!
//! A look-up asks the local level, then Redis, then the loader. Many askers of a key cause one load,
//! in one process and over all of them. An invalidation holds in Redis at once and in every local
//! level within milliseconds; where replicas can not be heard, the local level keeps entries for a
//! shorter life. Without Redis, or while it is away, the local level goes on alone.

mod fetch;
mod flight;
mod follow;
mod local;
mod memo;
mod namespace;
mod packing;
mod settings;
mod shared;
mod stats;

use std::{
    any::TypeId,
    collections::BTreeSet,
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::FutureExt;
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::broadcast, task::AbortHandle};

use self::{
    flight::{Failure, Flights, Found},
    local::{Local, Moment},
    namespace::{ALL, identity, mark_of_key, mark_of_namespace, mark_of_tag},
    shared::{Generations, Opened, Shared},
    stats::{Counters, Outcome},
};
pub use self::{
    memo::Memo,
    namespace::{Key, Namespace},
    settings::Settings,
    shared::SharedEntry,
    stats::{LocalStats, NamespaceStats, SharedStats, Stats},
};
use crate::redis::{Redis, RedisError};

/// Words of loaders that are done and not yet heard by those who wait.
const WORDS: usize = 1_024;
/// Most invalidations that Redis has not seen; more become one of everything.
const OWED: usize = 1_000;

/// A cache of two levels; clones share it.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
    /// The task that hears the replicas; it ends with the last clone.
    _follower: Option<Arc<Follower>>,
}

struct Inner {
    settings: Settings,
    local: Local,
    shared: Option<Shared>,
    flights: Arc<Flights>,
    counters: Counters,
    /// Identities of keys whose loader in some process is done.
    done: broadcast::Sender<Arc<str>>,
    /// Whether invalidations of other replicas are heard.
    hears: AtomicBool,
    /// Marks whose invalidation Redis has not seen yet.
    owed: Mutex<BTreeSet<Arc<str>>>,
}

struct Follower(AbortHandle);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub source: Source,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was made for this look-up, or for another one that was made at the same time.
    Fresh,
    /// From the level in this process.
    Local,
    /// From Redis.
    Shared,
}

impl Source {
    /// Says whether the value was there before it was asked for.
    pub fn is_cached(self) -> bool {
        self != Self::Fresh
    }
}

/// Why a look-up brought no value.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CacheError<E> {
    /// The loader failed.
    #[error("the value could not be made")]
    Load(E),
    /// The value or its key can not be written as JSON, or its text is of another type.
    #[error("the value does not fit the cache")]
    Codec(#[source] Arc<serde_json::Error>),
}

impl<E> From<serde_json::Error> for CacheError<E> {
    fn from(error: serde_json::Error) -> Self {
        Self::Codec(Arc::new(error))
    }
}

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
    /// Makes a cache in front of Redis, and begins to hear its replicas.
    ///
    /// Needs a Tokio runtime.
    pub fn shared(settings: Settings, redis: Redis) -> Self {
        let shared = Shared::new(redis, settings.clone());
        let inner = Arc::new(Inner::new(settings, Some(shared)));
        let follower = tokio::spawn(follow::follow(Arc::downgrade(&inner)));
        Self {
            inner,
            _follower: Some(Arc::new(Follower(follower.abort_handle()))),
        }
    }

    /// Makes a cache of this process alone.
    pub fn local(settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner::new(settings, None)),
            _follower: None,
        }
    }

    /// Returns the Redis behind it.
    pub fn redis(&self) -> Option<&Redis> {
        self.inner.shared.as_ref().map(|shared| &shared.redis)
    }

    /// Returns the value of a key, made by `load` where no level has it.
    ///
    /// Of callers at the same time one loads and all get its answer, its error, too. The work ends
    /// when nobody waits for it any more.
    ///
    /// # Errors
    /// [`CacheError::Load`] with the loader's error, [`CacheError::Codec`] when the value has no JSON.
    pub async fn get_or_load<T, E, F>(
        &self,
        key: &Key,
        load: impl FnOnce() -> F,
    ) -> Result<Cached<T>, CacheError<E>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Clone + Send + Sync + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let inner = &self.inner;
        let namespace = key.namespace().name();
        if let Some(value) = inner.local.get(key.id(), inner.local_life()) {
            inner.counters.looked(namespace, Outcome::Local);
            return Ok(decode(&value, Source::Local)?);
        }
        let name = (key.id().clone(), TypeId::of::<(T, E)>());
        let suits = |born| inner.local.is_current(key, born);
        let (flight, joined) = inner.flights.board(name, inner.local.now(), suits, || {
            let load = encoded::<T, E, F>(load()).boxed();
            inner.clone().find(key.clone(), load, is_json::<T>).boxed()
        });
        let outcome = flight.await;
        let Found { value, source } = match outcome {
            Ok(found) => found,
            Err(failure) => {
                let counted = if joined {
                    Outcome::Joined
                } else {
                    Outcome::Missed
                };
                inner.counters.looked(namespace, counted);
                return Err(shared_error(&failure));
            }
        };
        let counted = match source {
            _ if joined => Outcome::Joined,
            Source::Local => Outcome::Local,
            Source::Shared => Outcome::Shared,
            Source::Fresh => Outcome::Missed,
        };
        inner.counters.looked(namespace, counted);
        Ok(decode(&value, source)?)
    }

    /// Returns the value of a key, or the place where it belongs: for values that come piece by
    /// piece, and that others do not wait for.
    pub async fn look_up<T: DeserializeOwned>(&self, key: Key) -> Lookup<T> {
        let inner = &self.inner;
        let namespace = key.namespace().name();
        let local = inner.local.get(key.id(), inner.local_life());
        if let Some(found) = local.and_then(|value| decode(&value, Source::Local).ok()) {
            inner.counters.looked(namespace, Outcome::Local);
            return Lookup::Found(found);
        }
        let born = inner.local.now();
        let mut generations = None;
        if let Some(shared) = &inner.shared {
            match inner.look(shared, &key, "").await {
                Some(Opened::Hit { value, left }) => {
                    if let Ok(found) = decode(&value, Source::Shared) {
                        inner.local.keep(&key, value, left, born);
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
        let value = self.inner.local.get(&id, self.inner.local_life())?;
        Some(value.len())
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
        metrics::gauge!(sutazai_telemetry::names::CACHE_LOCAL_BYTES).set(bytes as f64);
        Stats {
            namespaces,
            local: LocalStats {
                bytes,
                limit: inner.settings.local_bytes,
            },
            shared,
        }
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
        let life = inner.draw(&self.key);
        let stored = match (&inner.shared, &self.generations) {
            (Some(shared), Some(generations)) => {
                shared.store(&self.key, "", generations, &value, life).await
            }
            _ => Ok(true),
        };
        if !matches!(stored, Ok(false)) {
            inner.local.keep(&self.key, value, life, self.born);
        }
    }
}

impl Inner {
    fn new(settings: Settings, shared: Option<Shared>) -> Self {
        Self {
            local: Local::new(settings.local_bytes, settings.local_life),
            settings,
            shared,
            flights: Arc::default(),
            counters: Counters::default(),
            done: broadcast::channel(WORDS).0,
            hears: AtomicBool::new(false),
            owed: Mutex::default(),
        }
    }

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

/// Runs a loader and writes its value as JSON.
async fn encoded<T: Serialize, E, F>(load: F) -> Result<Bytes, Failure>
where
    E: Send + Sync + 'static,
    F: Future<Output = Result<T, E>>,
{
    let failed = |error: CacheError<E>| Arc::new(error) as Failure;
    let value = load
        .await
        .map_err(|error| failed(CacheError::Load(error)))?;
    let json = serde_json::to_vec(&value).map_err(|error| failed(error.into()))?;
    Ok(json.into())
}

fn decode<T: DeserializeOwned>(value: &[u8], source: Source) -> serde_json::Result<Cached<T>> {
    let value = serde_json::from_slice(value)?;
    Ok(Cached { value, source })
}

fn is_json<T: DeserializeOwned>(value: &[u8]) -> bool {
    serde_json::from_slice::<T>(value).is_ok()
}

/// Returns a loader's error to one of those who share it.
fn shared_error<E: Clone + Send + Sync + 'static>(failure: &Failure) -> CacheError<E> {
    match failure.downcast_ref::<CacheError<E>>() {
        Some(error) => error.clone(),
        // Flights are told apart by the type of their error, so this can not happen.
        None => CacheError::Codec(Arc::new(serde::de::Error::custom(
            "a loader's error of another type",
        ))),
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("redis", &self.redis())
            .finish_non_exhaustive()
    }
}
