//! Ends of attempts: those that arrive together are stored in one transaction.

use std::time::Duration;

use sutazai_persistence::DatabaseError;

use crate::desk::{Desk, Ledger, Unstored};
use crate::outbox::Bell;
use crate::store::{Finished, Report, Store};
use crate::watch::Watchers;

/// Takes results; clones lead to the same desk.
#[derive(Clone, Debug)]
pub(crate) struct Results(Desk<Ends>);

/// Stores what the results of a process bring.
struct Ends {
    store: Store,
    watchers: Watchers,
    bell: Bell,
}

impl Results {
    pub(crate) fn new(store: Store, watchers: Watchers, bell: Bell) -> Self {
        Self(Desk::open(Ends {
            store,
            watchers,
            bell,
        }))
    }

    /// Takes the end of an attempt, once; returns after it is stored.
    pub(crate) async fn finish(&self, report: Report) -> Result<(), Unstored> {
        let (ended, worker) = (report.ended, report.worker.clone());
        match self.0.enter(report).await? {
            Finished::Applied => {}
            Finished::Repeated => {
                tracing::debug!(task.id = %ended.task, "result came again");
            }
            Finished::Stale => tracing::info!(
                task.id = %ended.task,
                attempt = ended.attempt,
                worker = worker.as_str(),
                "result of an attempt that is not the current one refused",
            ),
        }
        Ok(())
    }
}

impl Ledger for Ends {
    type Entry = Report;
    type Answer = Finished;

    /// Two batches would wait for the rows of the same workers' credits.
    const LANES: usize = 1;
    /// A result has nowhere else to go: its delivery waits, as long as the database takes.
    const PATIENCE: Duration = Duration::MAX;

    async fn enter(&self, reports: &[Report]) -> Result<Vec<Finished>, DatabaseError> {
        let (ends, changes) = self.store.finish(reports).await?;
        if !changes.is_empty() {
            self.watchers.changed(&changes);
            self.bell.ring();
        }
        Ok(ends)
    }
}
