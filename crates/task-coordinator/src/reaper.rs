//! The reaper: ends what ran out of time, whoever is no longer there to say so.

use std::{error::Error as StdError, time::Duration};

use sutazai_persistence::DatabaseError;
use tokio_util::sync::CancellationToken;

use crate::outbox::Bell;
use crate::store::Store;
use crate::watch::Watchers;

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Workers could not renew while nobody answered; who lives sends a heartbeat within this time.
const GRACE: Duration = Duration::from_secs(5);

/// Ends attempts without a lease and tasks beyond their deadline.
#[derive(Clone)]
pub(crate) struct Reaper {
    store: Store,
    watchers: Watchers,
    bell: Bell,
}

impl Reaper {
    pub(crate) fn new(store: Store, watchers: Watchers, bell: Bell) -> Self {
        Self {
            store,
            watchers,
            bell,
        }
    }

    /// Reaps until told to stop.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let mut wait = GRACE;
        while stop
            .run_until_cancelled(tokio::time::sleep(wait))
            .await
            .is_some()
        {
            wait = ROUND;
            while !stop.is_cancelled() {
                match self.step().await {
                    Ok(0) => break,
                    Ok(tasks) => tracing::info!(tasks, "ended what ran out of time"),
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn StdError, "reaper could not work");
                        break;
                    }
                }
            }
        }
    }

    /// Takes one batch; answers how many tasks changed.
    pub(crate) async fn step(&self) -> Result<usize, DatabaseError> {
        let mut changes = self.store.reap().await?;
        changes.extend(self.store.expire().await?);
        if !changes.is_empty() {
            self.watchers.changed(&changes);
            self.bell.ring();
        }
        Ok(changes.len())
    }
}
