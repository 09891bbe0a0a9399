//! The one cache: a bounded level in this process, and Redis as the truth that all replicas share.
//!
//! A look-up asks the local level, then Redis, then the loader. Many askers of a key cause one load,
//! in one process and over all of them. An invalidation holds in Redis at once and in every local
//! level within milliseconds; where replicas can not be heard, the local level keeps entries for a
//! shorter life. Without Redis, or while it is away, the local level goes on alone.

mod check;
mod fetch;
mod follow;
mod inspect;
mod invalidate;
mod local;
mod memo;
mod namespace;
mod packing;
mod settings;
mod shared;
mod slot;
mod stats;

use std::{
    any::TypeId,
    collections::BTreeSet,
    fmt,
    future::Future,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use sutazai_resilience::Flights;
use tokio::{sync::broadcast, task::AbortHandle};

pub use self::{
    check::CheckError,
    memo::Memo,
    namespace::{Key, Namespace},
    settings::Settings,
    shared::SharedEntry,
    slot::{Lookup, Slot},
    stats::{LocalStats, NamespaceStats, SharedStats, Stats},
};
use self::{
    fetch::{Failure, Found, Landed},
    local::{Local, Moment},
    shared::Shared,
    stats::{Counters, Outcome},
};
use crate::redis::Redis;

/// Words of loaders that are done and not yet heard by those who wait.
const WORDS: usize = 1_024;

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
    /// By key, and the types of value and error that its askers expect.
    flights: Flights<(Arc<str>, TypeId), Moment, Landed>,
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
        if let Some(entry) = inner.local.get(key.id(), inner.local_life()) {
            inner.counters.hit(&entry.tally);
            return Ok(decode(&entry.value, Source::Local)?);
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
}

impl Inner {
    fn new(settings: Settings, shared: Option<Shared>) -> Self {
        Self {
            local: Local::new(settings.local_bytes, settings.local_life),
            settings,
            shared,
            flights: Flights::default(),
            counters: Counters::default(),
            done: broadcast::channel(WORDS).0,
            hears: AtomicBool::new(false),
            owed: Mutex::default(),
        }
    }

    /// Keeps a value in the local level.
    fn keep(&self, key: &Key, value: Bytes, life: Duration, born: Moment) {
        let tally = self.counters.of(key.namespace().name());
        self.local.keep(key, value, life, born, tally);
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
