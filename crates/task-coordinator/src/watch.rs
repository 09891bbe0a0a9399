//! Who follows which task, and how news reach them.

use std::{
    collections::{HashMap, HashSet},
    error::Error as StdError,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use sutazai_proto::ids::TaskId;
use sutazai_resilience::backoff::Backoff;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::store::Store;
use crate::task::{Change, Payload};

mod stream;

pub(crate) use stream::{Item, follow};

/// Signals that wait for a slow follower; events are read from the database, so none is lost.
const SIGNALS: usize = 32;
/// Tasks with news that wait to be announced. What is beyond, followers elsewhere find by looking.
const NEWS: usize = 10_000;
/// News of this time travel in one statement.
const GATHER: Duration = Duration::from_millis(10);
const BACKOFF: Backoff = Backoff {
    min: Duration::from_secs(1),
    max: Duration::from_secs(30),
};

/// Who follows which task in this process; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watchers(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    followed: Mutex<HashMap<TaskId, broadcast::Sender<Signal>>>,
    news: Mutex<HashSet<TaskId>>,
    gathered: Notify,
    ended: Notify,
    closed: CancellationToken,
}

/// What a worker says about an attempt that still runs; optional and lossy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) attempt: u32,
    pub(crate) data: Payload,
}

#[derive(Clone, Debug)]
enum Signal {
    /// There may be further events.
    News,
    Progress(Progress),
}

/// A place among the followers of a task.
#[derive(Debug)]
struct Subscription {
    watchers: Watchers,
    task: TaskId,
    signals: broadcast::Receiver<Signal>,
}

impl Watchers {
    /// Tells followers here at once, and those of other processes soon.
    pub(crate) fn changed(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let mut news = self.0.news.lock();
        for change in changes {
            let id = change.task().id;
            self.signal(id, || Signal::News);
            if news.len() < NEWS {
                news.insert(id);
            }
        }
        drop(news);
        self.0.gathered.notify_one();
        if changes
            .iter()
            .any(|change| change.task().state.is_terminal())
        {
            self.0.ended.notify_one();
        }
    }

    /// Waits until a task has ended by this process, for the one who tells it further.
    pub(crate) async fn ended(&self) {
        self.0.ended.notified().await;
    }

    /// Hands progress to the followers in this process.
    pub(crate) fn progress(&self, task: TaskId, progress: Progress) {
        self.signal(task, || Signal::Progress(progress));
    }

    /// Ends every stream, now and later: the process stops.
    pub(crate) fn close(&self) {
        self.0.closed.cancel();
    }

    /// Announces news to the other processes until told to stop.
    pub(crate) async fn announce(&self, store: &Store, stop: &CancellationToken) {
        while stop
            .run_until_cancelled(self.0.gathered.notified())
            .await
            .is_some()
        {
            let ids: Vec<TaskId> = self.0.news.lock().drain().collect();
            if ids.is_empty() {
                continue;
            }
            if let Err(error) = store.announce(&ids).await {
                tracing::debug!(
                    error = &error as &dyn StdError,
                    tasks = ids.len(),
                    "news of tasks not announced"
                );
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Hears the news of the other processes until told to stop.
    pub(crate) async fn listen(&self, store: &Store, stop: &CancellationToken) {
        let mut attempt = 0;
        loop {
            let Some(ended) = stop
                .run_until_cancelled(self.hear(store, &mut attempt))
                .await
            else {
                return;
            };
            tracing::warn!(
                error = &ended as &dyn StdError,
                "news of tasks are not heard"
            );
            attempt += 1;
            let wait = BACKOFF.delay(attempt, &mut rand::rng());
            if stop
                .run_until_cancelled(tokio::time::sleep(wait))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Hears news until the connection is lost for good.
    async fn hear(&self, store: &Store, attempt: &mut u32) -> sutazai_persistence::DatabaseError {
        let mut listener = match store.listen().await {
            Ok(listener) => listener,
            Err(error) => return error,
        };
        *attempt = 0;
        self.wake_all();
        loop {
            match listener.next().await {
                Ok(Some(tasks)) => {
                    for task in tasks {
                        self.signal(task, || Signal::News);
                    }
                }
                Ok(None) => self.wake_all(),
                Err(error) => return error,
            }
        }
    }

    fn signal(&self, task: TaskId, signal: impl FnOnce() -> Signal) {
        if let Some(followers) = self.0.followed.lock().get(&task) {
            // Nobody left to hear is no fault.
            let _ = followers.send(signal());
        }
    }

    fn wake_all(&self) {
        for followers in self.0.followed.lock().values() {
            let _ = followers.send(Signal::News);
        }
    }

    fn subscribe(&self, task: TaskId) -> Subscription {
        let mut followed = self.0.followed.lock();
        let followers = followed
            .entry(task)
            .or_insert_with(|| broadcast::channel(SIGNALS).0);
        Subscription {
            watchers: self.clone(),
            task,
            signals: followers.subscribe(),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut followed = self.watchers.0.followed.lock();
        // This one is still counted.
        if followed
            .get(&self.task)
            .is_some_and(|followers| followers.receiver_count() <= 1)
        {
            followed.remove(&self.task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_nobody_follows_takes_no_room() {
        let watchers = Watchers::default();
        let task = TaskId::new();
        let first = watchers.subscribe(task);
        let second = watchers.subscribe(task);
        drop(first);
        assert_eq!(watchers.0.followed.lock().len(), 1);
        drop(second);
        assert!(watchers.0.followed.lock().is_empty());
    }
}
