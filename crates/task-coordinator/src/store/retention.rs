//! Removing what has outlived its use, in small batches.

use std::time::Duration;

use sutazai_persistence::DatabaseError;

use super::{Store, seconds};

/// Rows removed by one statement.
const BATCH: i64 = 500;

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ages {
    /// A task after its end, with its events.
    pub(crate) tasks: Duration,
    /// An idempotency key, and the memory of a message that had its effect.
    pub(crate) keys: Duration,
}

impl Store {
    /// Removes one batch of each kind; answers whether there may be more.
    pub(crate) async fn remove_outlived(&self, ages: &Ages) -> Result<bool, DatabaseError> {
        let tasks = self
            .db
            .run("retention.tasks", async {
                sqlx::query!(
                    "delete from tasks where id in (
                         select id from tasks
                         where finished_at < now() - make_interval(secs => $1)
                         order by finished_at limit $2 for update skip locked)",
                    seconds(ages.tasks),
                    BATCH,
                )
                .execute(self.db.pool())
                .await
            })
            .await?;
        let keys = self
            .db
            .run("retention.keys", async {
                sqlx::query!(
                    "delete from idempotency_keys
                     where (tenant_id, subject, operation, key) in (
                         select tenant_id, subject, operation, key from idempotency_keys
                         where created_at < now() - make_interval(secs => $1)
                         order by created_at limit $2 for update skip locked)",
                    seconds(ages.keys),
                    BATCH,
                )
                .execute(self.db.pool())
                .await
            })
            .await?;
        let messages = self
            .db
            .run("retention.inbox", async {
                sqlx::query!(
                    "delete from inbox where (consumer, message_id) in (
                         select consumer, message_id from inbox
                         where received_at < now() - make_interval(secs => $1)
                         order by received_at limit $2 for update skip locked)",
                    seconds(ages.keys),
                    BATCH,
                )
                .execute(self.db.pool())
                .await
            })
            .await?;
        let strays = self
            .db
            .run("retention.strays", async {
                sqlx::query!(
                    "delete from stray_messages where id in (
                         select id from stray_messages
                         where received_at < now() - make_interval(secs => $1)
                         order by received_at limit $2 for update skip locked)",
                    seconds(ages.tasks),
                    BATCH,
                )
                .execute(self.db.pool())
                .await
            })
            .await?;
        // Workers that are gone for good: their ids never come back.
        self.db
            .run("retention.credits", async {
                sqlx::query!("delete from credits where reported_at < now() - interval '1 hour'")
                    .execute(self.db.pool())
                    .await
            })
            .await?;
        let full = u64::try_from(BATCH).unwrap_or_default();
        Ok([tasks, keys, messages, strays]
            .iter()
            .any(|done| done.rows_affected() >= full))
    }
}
