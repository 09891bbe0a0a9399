//! Ends of attempts: those that arrive together are stored in one transaction.

use std::{sync::Arc, time::Duration};

use sutazai_persistence::DatabaseError;
use sutazai_resilience::batch::gather;
use tokio::sync::{mpsc, oneshot};

use crate::outbox::Bell;
use crate::store::{Finished, Report, Store};
use crate::watch::Watchers;

/// Most results in one transaction.
pub(crate) const BATCH: u16 = 128;
/// Nobody waits for company: while one batch is being stored, the next one gathers.
const LINGER: Duration = Duration::ZERO;

/// Takes results; clones lead to the same desk.
#[derive(Clone, Debug)]
pub(crate) struct Results(mpsc::Sender<Waiting>);

/// Stores what the results of a process bring.
#[derive(Debug)]
pub(crate) struct Desk {
    waiting: mpsc::Receiver<Waiting>,
    store: Store,
    watchers: Watchers,
    bell: Bell,
}

/// A result that waits for its transaction.
#[derive(Debug)]
struct Waiting {
    report: Report,
    answer: oneshot::Sender<Result<Finished, Arc<DatabaseError>>>,
}

/// Why a result had no effect yet.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Unapplied {
    /// The database did not take its batch.
    #[error("the result was not stored")]
    Database(#[from] Arc<DatabaseError>),
    /// The process ends.
    #[error("nobody stores results any more")]
    Closed,
}

impl Results {
    /// Makes both sides.
    pub(crate) fn new(store: Store, watchers: Watchers, bell: Bell) -> (Self, Desk) {
        let (sender, waiting) = mpsc::channel(BATCH.into());
        let desk = Desk {
            waiting,
            store,
            watchers,
            bell,
        };
        (Self(sender), desk)
    }

    /// Takes the end of an attempt, once; returns after it is stored.
    pub(crate) async fn finish(&self, report: Report) -> Result<(), Unapplied> {
        let (ended, worker) = (report.ended, report.worker.clone());
        let (answer, answered) = oneshot::channel();
        let sent = self.0.send(Waiting { report, answer }).await;
        sent.map_err(|_| Unapplied::Closed)?;
        match answered.await.map_err(|_| Unapplied::Closed)?? {
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

impl Desk {
    /// Stores results until nobody is left to bring any.
    pub(crate) async fn serve(mut self) {
        while let Some(batch) = gather(&mut self.waiting, BATCH.into(), LINGER).await {
            self.store(batch).await;
        }
    }

    /// Stores a batch. One that the server refuses is halved until what it refuses stands alone.
    async fn store(&self, batch: Vec<Waiting>) {
        let mut batches = vec![batch];
        while let Some(mut batch) = batches.pop() {
            let reports: Vec<Report> = batch.iter().map(|one| one.report.clone()).collect();
            match self.store.finish(&reports).await {
                Ok((ends, changes)) => {
                    if !changes.is_empty() {
                        self.watchers.changed(&changes);
                        self.bell.ring();
                    }
                    for (one, end) in batch.into_iter().zip(ends) {
                        answer(one, Ok(end));
                    }
                }
                Err(error) if batch.len() > 1 && is_of_one(&error) => {
                    let rest = batch.split_off(batch.len() / 2);
                    batches.extend([rest, batch]);
                }
                Err(error) => {
                    let error = Arc::new(error);
                    for one in batch {
                        answer(one, Err(error.clone()));
                    }
                }
            }
        }
    }
}

fn answer(one: Waiting, end: Result<Finished, Arc<DatabaseError>>) {
    // Whose handler was stopped hears of it by the next delivery.
    let _ = one.answer.send(end);
}

/// Tells whether one report may be to blame for the failure of all.
fn is_of_one(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::Conflict { .. } | DatabaseError::Query(_) => true,
        // Each would only wait as long again.
        DatabaseError::Unavailable(_)
        | DatabaseError::PoolTimeout
        | DatabaseError::Timeout
        | DatabaseError::BreakerOpen { .. } => false,
    }
}
