//! Submissions that need nothing but their rows: those that arrive together are stored in one transaction.

use std::time::Duration;

use sutazai_persistence::DatabaseError;

use crate::desk::{Desk, Ledger};
use crate::outbox::Bell;
use crate::store::{Store, Submitted};
use crate::submission::Submission;

/// Stores submissions.
pub(crate) struct Admission {
    store: Store,
    bell: Bell,
}

impl Admission {
    pub(crate) fn open(store: Store, bell: Bell) -> Desk<Self> {
        Desk::open(Self { store, bell })
    }
}

impl Ledger for Admission {
    type Entry = Submission;
    type Answer = Submitted;

    /// The second one is made up while the first one waits for the disk.
    const LANES: usize = 2;
    /// As long as a submission of its own would wait for a connection.
    const PATIENCE: Duration = Duration::from_secs(2);

    async fn enter(&self, submissions: &[Submission]) -> Result<Vec<Submitted>, DatabaseError> {
        let submitted = self.store.submit_all(submissions).await?;
        if submitted.iter().any(Submitted::is_made) {
            self.bell.ring();
        }
        Ok(submitted)
    }
}
