//! The events of one task, stored ones first, then live ones.

use std::{collections::VecDeque, time::Duration};

use futures::{Stream, stream::try_unfold};
use sutazai_proto::ids::TaskId;
use tokio::{sync::broadcast::error::RecvError, time::timeout};

use super::{Progress, Signal, Subscription, Watchers};
use crate::error::Error;
use crate::store::Store;
use crate::task::Recorded;

/// A follower looks at least this often: signals are fast, but may be lost.
const LOOK: Duration = Duration::from_secs(5);

/// What a follower gets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Event(Recorded),
    Progress(Progress),
}

struct Follower {
    store: Store,
    subscription: Subscription,
    tenant: String,
    /// Sequence of the newest event that was read.
    seen: u64,
    ready: VecDeque<Item>,
    /// The database may have further events.
    look: bool,
    ended: bool,
}

/// Follows a task of a tenant from the event after `after_sequence` to the terminal one.
///
/// # Errors
/// [`Error::TaskNotFound`], and whatever keeps the events from being read.
pub(crate) async fn follow(
    store: Store,
    watchers: &Watchers,
    tenant: &str,
    task: TaskId,
    after_sequence: u64,
) -> Result<impl Stream<Item = Result<Item, Error>> + Send + use<>, Error> {
    // Before the first look, so that nothing falls between look and signal.
    let subscription = watchers.subscribe(task);
    let view = store
        .get(tenant, task)
        .await?
        .ok_or(Error::TaskNotFound(task))?;
    let follower = Follower {
        store,
        subscription,
        tenant: tenant.to_owned(),
        seen: after_sequence.min(view.task.sequence),
        ready: VecDeque::new(),
        look: true,
        ended: view.task.state.is_terminal() && after_sequence >= view.task.sequence,
    };
    Ok(try_unfold(follower, |mut follower| async move {
        Ok(follower.next().await?.map(|item| (item, follower)))
    }))
}

impl Follower {
    async fn next(&mut self) -> Result<Option<Item>, Error> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                self.ended = matches!(&item, Item::Event(event) if event.state.is_terminal());
                return Ok(Some(item));
            }
            if self.ended {
                return Ok(None);
            }
            if self.look {
                self.read().await?;
            } else {
                self.wait().await?;
            }
        }
    }

    async fn read(&mut self) -> Result<(), Error> {
        let events = self
            .store
            .events(&self.tenant, self.subscription.task, self.seen)
            .await?;
        // A full batch is followed by another look, an empty one by waiting.
        self.look = !events.is_empty();
        if let Some(last) = events.last() {
            self.seen = last.sequence;
        }
        self.ready.extend(events.into_iter().map(Item::Event));
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), Error> {
        let closed = self.subscription.watchers.0.closed.clone();
        let signal = timeout(LOOK, self.subscription.signals.recv());
        match closed.run_until_cancelled(signal).await {
            None => return Err(Error::Stopping),
            Some(Ok(Ok(Signal::Progress(progress)))) => {
                self.ready.push_back(Item::Progress(progress));
            }
            Some(Ok(Ok(Signal::News) | Err(RecvError::Lagged(_) | RecvError::Closed)) | Err(_)) => {
                self.look = true;
            }
        }
        Ok(())
    }
}
