//! How a value is looked for: the shared level, then the lock of its key, then its loader.

use std::{
    any::Any,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, timeout},
};

use super::{
    Inner, Source,
    local::Moment,
    namespace::{Key, mark_of_key},
    shared::{Generations, Opened, Shared, fresh_name},
};

/// First wait for another process's loader without a word from it; doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(25);
const LONGEST_WAIT: Duration = Duration::from_millis(400);

/// An error of a loader, in the type that its askers share.
pub(super) type Failure = Arc<dyn Any + Send + Sync>;

/// A value as it was found.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) value: Bytes,
    pub(super) source: Source,
}

impl Found {
    fn new(value: Bytes, source: Source) -> Self {
        Self { value, source }
    }
}

/// How a look-up ended.
pub(super) type Landed = Result<Found, Failure>;

/// Makes a value.
pub(super) type Load = BoxFuture<'static, Result<Bytes, Failure>>;

impl Inner {
    /// Looks for a value where the local level has none, and makes it where nobody has it.
    ///
    /// `is_sound` says whether a value of the shared level can be read: another version of this
    /// program may have stored it.
    pub(super) async fn find(
        self: Arc<Self>,
        key: Key,
        load: Load,
        is_sound: fn(&[u8]) -> bool,
    ) -> Landed {
        // Somebody may have landed between the caller's look and its boarding.
        if let Some(entry) = self.local.get(key.id(), self.local_life()) {
            return Ok(Found::new(entry.value.clone(), Source::Local));
        }
        let Some(shared) = &self.shared else {
            return self.load_alone(&key, load).await;
        };
        let give_up = Instant::now() + self.settings.patience;
        let mut news = None;
        let mut wait = FIRST_WAIT;
        loop {
            let born = self.local.now();
            let lock = Lock::new(self.clone(), key.id().clone());
            match self.look(shared, &key, &lock.token).await {
                Some(Opened::Hit { value, left }) if is_sound(&value) => {
                    self.keep(&key, value.clone(), left, born);
                    return Ok(Found::new(value, Source::Shared));
                }
                Some(Opened::Hit { .. }) => {
                    if shared.invalidate(&mark_of_key(key.id())).await.is_err() {
                        return self.load_alone(&key, load).await;
                    }
                }
                Some(Opened::Miss(generations)) => {
                    return self
                        .load_for_all(shared, &key, lock.hold(), generations, born, load)
                        .await;
                }
                Some(Opened::Busy) if Instant::now() < give_up => {
                    // Heard from before the next look on, so that no word is missed.
                    match &mut news {
                        None => news = Some(self.done.subscribe()),
                        Some(news) => {
                            word_of(news, key.id(), wait).await;
                            wait = (wait * 2).min(LONGEST_WAIT);
                        }
                    }
                }
                Some(Opened::Busy) | None => return self.load_alone(&key, load).await,
            }
        }
    }

    /// Looks into the shared level; nothing when it can not be used now.
    pub(super) async fn look(&self, shared: &Shared, key: &Key, token: &str) -> Option<Opened> {
        if !self.settle(shared).await {
            return None;
        }
        shared.open(key, token).await.ok()
    }

    /// Makes a value while nobody else can be asked.
    async fn load_alone(&self, key: &Key, load: Load) -> Landed {
        let born = self.local.now();
        let value = self.count_load(key, load.await)?;
        let life = key.draw_life();
        self.keep(key, value.clone(), life, born);
        Ok(Found::new(value, Source::Fresh))
    }

    /// Makes a value under the lock of its key, and stores it for everybody.
    async fn load_for_all(
        &self,
        shared: &Shared,
        key: &Key,
        mut lock: Lock,
        generations: Generations,
        born: Moment,
        load: Load,
    ) -> Landed {
        let value = self.count_load(key, lock.keep_while(shared, load).await)?;
        let life = key.draw_life();
        let stored = shared
            .store(key, &lock.token, &generations, &value, life)
            .await;
        if stored.is_ok() {
            lock.held = false;
        }
        // Refused: it was invalidated meanwhile. Redis gone: this process can still use it.
        if !matches!(stored, Ok(false)) {
            self.keep(key, value.clone(), life, born);
        }
        Ok(Found::new(value, Source::Fresh))
    }

    fn count_load(&self, key: &Key, result: Result<Bytes, Failure>) -> Result<Bytes, Failure> {
        self.counters.loaded(key.namespace().name(), result.is_ok());
        result
    }

    /// Returns how long the local level may keep what it has.
    pub(super) fn local_life(&self) -> Duration {
        if self.shared.is_none() || self.hears.load(Ordering::Acquire) {
            self.settings.local_life
        } else {
            self.settings.deaf_life
        }
    }
}

/// Waits until the loader of a key is done, at most `limit`.
async fn word_of(news: &mut broadcast::Receiver<Arc<str>>, id: &str, limit: Duration) {
    let word = async {
        loop {
            match news.recv().await {
                Ok(done) if &*done == id => return,
                Ok(_) => {}
                // Its word may be among what was missed.
                Err(RecvError::Lagged(_) | RecvError::Closed) => return,
            }
        }
    };
    // Without a word, the lock may have run out.
    let _ = timeout(limit, word).await;
}

/// The lock of a key in the shared level; given back when its holder goes away.
struct Lock {
    inner: Arc<Inner>,
    id: Arc<str>,
    token: String,
    held: bool,
}

impl Lock {
    fn new(inner: Arc<Inner>, id: Arc<str>) -> Self {
        Self {
            inner,
            id,
            token: fresh_name(),
            held: false,
        }
    }

    fn hold(mut self) -> Self {
        self.held = true;
        self
    }

    /// Does the work and prolongs the lease as long as it takes.
    async fn keep_while<T>(&self, shared: &Shared, work: impl Future<Output = T>) -> T {
        let prolong = async {
            loop {
                tokio::time::sleep(self.inner.settings.lease / 3).await;
                if let Err(error) = shared.renew(&self.id, &self.token).await {
                    tracing::debug!(%error, id = &*self.id, "a lease was not prolonged");
                }
            }
        };
        tokio::select! {
            done = work => done,
            () = prolong => std::future::pending().await,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        let (inner, id, token) = (self.inner.clone(), self.id.clone(), self.token.clone());
        // Without a runtime the process ends, and the lease does the same a little later.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Some(shared) = &inner.shared {
                    let _ = shared.release(&id, &token).await;
                }
            });
        }
    }
}
