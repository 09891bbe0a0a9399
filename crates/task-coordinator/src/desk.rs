//! Work that is stored together: what arrives while one batch is being stored makes up the next one.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sutazai_persistence::DatabaseError;
use sutazai_resilience::batch::Batches;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

/// Most entries of one transaction.
pub(crate) const BATCH: u16 = 128;

/// Where entries of one kind are stored.
pub(crate) trait Ledger: Send + Sync + 'static {
    /// What is stored.
    type Entry: Send + Sync + 'static;
    /// What becomes of an entry.
    type Answer: Send + 'static;

    /// Batches that are stored at once.
    const LANES: usize;
    /// Longest wait of an entry for the begin of its batch.
    const PATIENCE: Duration;

    /// Stores entries, all in one transaction or none; one answer for each, in their order.
    fn enter(
        &self,
        entries: &[Self::Entry],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, DatabaseError>> + Send;
}

/// Takes entries for a ledger; clones lead to the same one.
pub(crate) struct Desk<L: Ledger>(mpsc::Sender<Waiting<L>>);

/// An entry that waits for its transaction.
struct Waiting<L: Ledger> {
    entry: L::Entry,
    /// Set by the first of two: its batch, which begins, or who waits, and gives up.
    decided: Arc<AtomicBool>,
    answer: Told<L>,
}

type Told<L> = oneshot::Sender<Result<<L as Ledger>::Answer, Unstored>>;

/// Why an entry was not stored, as far as is known.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Unstored {
    /// The database did not take it.
    #[error(transparent)]
    Database(#[from] Arc<DatabaseError>),
    /// Its batch broke off.
    #[error("nobody stores it any more")]
    Lost,
}

impl<L: Ledger> Desk<L> {
    /// Begins to take entries; ends with the last clone.
    pub(crate) fn open(ledger: L) -> Self {
        let (sender, waiting) = mpsc::channel(BATCH.into());
        tokio::spawn(serve(waiting, Arc::new(ledger)));
        Self(sender)
    }

    /// Stores an entry; returns after its transaction.
    ///
    /// Of who goes away before the transaction begins nothing is stored.
    pub(crate) async fn enter(&self, entry: L::Entry) -> Result<L::Answer, Unstored> {
        let (answer, mut answered) = oneshot::channel();
        let decided = Arc::new(AtomicBool::new(false));
        let waiting = Waiting {
            entry,
            decided: Arc::clone(&decided),
            answer,
        };
        let stored = async {
            // Without anybody to send to there is no answer either.
            let _ = self.0.send(waiting).await;
            (&mut answered).await
        };
        let told = match timeout(L::PATIENCE, stored).await {
            Ok(told) => told,
            Err(_) if !decided.swap(true, Ordering::Relaxed) => {
                return Err(Arc::new(DatabaseError::PoolTimeout).into());
            }
            // It has begun meanwhile: only the database knows how it ends.
            Err(_) => answered.await,
        };
        told.unwrap_or(Err(Unstored::Lost))
    }
}

impl<L: Ledger> Clone for Desk<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<L: Ledger> std::fmt::Debug for Desk<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

/// Stores what comes; while all lanes are busy, the next batch gathers.
async fn serve<L: Ledger>(waiting: mpsc::Receiver<Waiting<L>>, ledger: Arc<L>) {
    let mut batches = Batches::new(waiting, BATCH.into());
    let lanes = Arc::new(Semaphore::new(L::LANES));
    while let Ok(lane) = Arc::clone(&lanes).acquire_owned().await {
        let Some(batch) = batches.next().await else {
            return;
        };
        let ledger = Arc::clone(&ledger);
        // In a task of its own, which takes nobody else along if it breaks off.
        tokio::spawn(async move {
            store(&*ledger, batch).await;
            drop(lane);
        });
    }
}

/// Stores a batch. One that the server refuses is halved until what it refuses stands alone.
async fn store<L: Ledger>(ledger: &L, batch: Vec<Waiting<L>>) {
    let (entries, answers): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .filter(Waiting::begins)
        .map(|waiting| (waiting.entry, waiting.answer))
        .unzip();
    if entries.is_empty() {
        return;
    }
    let mut batches = vec![(entries, answers)];
    while let Some((mut entries, mut answers)) = batches.pop() {
        match ledger.enter(&entries).await {
            Ok(ends) => {
                for (told, end) in answers.into_iter().zip(ends) {
                    // Who went away meanwhile needs no answer.
                    let _ = told.send(Ok(end));
                }
            }
            Err(error) if entries.len() > 1 && is_of_one(&error) => {
                let half = entries.len() / 2;
                let rest = (entries.split_off(half), answers.split_off(half));
                batches.extend([rest, (entries, answers)]);
            }
            Err(error) => {
                let error = Unstored::from(Arc::new(error));
                for told in answers {
                    let _ = told.send(Err(error.clone()));
                }
            }
        }
    }
}

impl<L: Ledger> Waiting<L> {
    /// Tells whether somebody waits for it still; from now on it can not be given up.
    fn begins(&self) -> bool {
        !self.answer.is_closed() && !self.decided.swap(true, Ordering::Relaxed)
    }
}

/// Tells whether one entry may be to blame for the failure of all.
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

#[cfg(test)]
mod tests;
