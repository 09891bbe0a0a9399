//! Removes what has outlived its configured life.

use std::{error::Error as StdError, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::store::{Ages, Store};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(600);
/// Time between two batches of a round: others need the database more.
const PAUSE: Duration = Duration::from_millis(100);

/// Removes until told to stop.
pub(crate) async fn run(store: &Store, ages: &Ages, stop: &CancellationToken) {
    let mut wait = PAUSE;
    while stop
        .run_until_cancelled(tokio::time::sleep(wait))
        .await
        .is_some()
    {
        wait = match store.remove_outlived(ages).await {
            Ok(true) => PAUSE,
            Ok(false) => ROUND,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn StdError,
                    "outlived tasks not removed"
                );
                ROUND
            }
        };
    }
}
