//! A part of a pool for work that may come in any amount.

use std::{future::Future, sync::Arc};

use tokio::{sync::Semaphore, time::timeout};

use super::{Database, Waiting};
use crate::error::DatabaseError;

/// Half of the connections of a pool; clones share it.
///
/// However much work there is for the share, the other half is left to everything else.
#[derive(Clone, Debug)]
pub struct Share {
    database: Database,
    turns: Arc<Semaphore>,
}

impl Share {
    pub(super) fn half(database: Database) -> Self {
        let half = usize::try_from(database.0.max / 2).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            turns: Arc::new(Semaphore::new(half.max(1))),
            database,
        }
    }

    /// As [`Database::run`], within the share.
    ///
    /// # Errors
    /// As [`Database::run`]; [`DatabaseError::PoolTimeout`] when the share was taken for too long.
    pub async fn run<T>(
        &self,
        query_type: &'static str,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, DatabaseError> {
        let _turn = match self.turns.try_acquire() {
            Ok(turn) => turn,
            Err(_busy) => {
                let _waiting = Waiting::begin(&self.database.0.waiting);
                timeout(self.database.0.acquire_timeout, self.turns.acquire())
                    .await
                    .map_err(|_elapsed| DatabaseError::PoolTimeout)?
                    .map_err(|_closed| sqlx::Error::PoolClosed)?
            }
        };
        self.database.run(query_type, work).await
    }
}
