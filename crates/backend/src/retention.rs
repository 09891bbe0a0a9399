//! Conversations have a life: the job that ends it.

use std::time::Duration;

use sutazai_persistence::DatabaseError;
use tokio_util::sync::CancellationToken;

use crate::store::Conversations;

/// Pause between two looks when nothing is left to remove.
const PACE: Duration = Duration::from_secs(3600);

/// Removes conversations that nobody has continued for long enough.
pub(crate) struct Retention {
    conversations: Conversations,
    /// Days without a turn after which a conversation goes.
    days: u32,
}

impl Retention {
    pub(crate) fn new(conversations: Conversations, days: u32) -> Self {
        Self {
            conversations,
            days,
        }
    }

    /// Removes one batch; answers how many conversations went.
    pub(crate) async fn step(&self) -> Result<u64, DatabaseError> {
        self.conversations.expire(self.days).await
    }

    /// Steps until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            match self.step().await {
                Ok(0) => {}
                Ok(removed) => {
                    tracing::info!(removed, "conversations past their life removed");
                    if !stop.is_cancelled() {
                        continue;
                    }
                }
                Err(error) => {
                    let cause = sutazai_proto::status::chain(&error);
                    tracing::warn!(cause, "retention of conversations waits for the next round");
                }
            }
            if stop
                .run_until_cancelled(tokio::time::sleep(PACE))
                .await
                .is_none()
            {
                return;
            }
        }
    }
}
