//! What is said about a task from outside: its end, a wish to cancel it, a release that came back.

use sqlx::PgConnection;
use sutazai_persistence::DatabaseError;
use sutazai_proto::ids::TaskId;

use super::{ReleaseRef, Store, View, read::views, transition::transition};
use crate::credit::{AttemptRef, Worker};
use crate::task::{Change, Outcome};

/// What became of the report of an attempt's end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Finished {
    Applied(Change),
    /// The attempt is not, or no longer, the current one.
    Stale,
    /// This very message had its effect before.
    Repeated,
}

impl Store {
    /// Applies the end of an attempt; message and effect are stored together.
    pub(crate) async fn finish(
        &self,
        consumer: &str,
        message_id: &str,
        ended: AttemptRef,
        worker: &Worker,
        outcome: Outcome,
    ) -> Result<Finished, DatabaseError> {
        self.db
            .run("task.finish", async {
                let mut tx = self.db.pool().begin().await?;
                if !receive(&mut tx, consumer, message_id).await? {
                    return Ok(Finished::Repeated);
                }
                let mut outcome = Some(outcome);
                let ids = [ended.task.as_uuid()];
                let mut changes = transition(&mut tx, &self.rules, &ids, |task, now| {
                    let retry_at = self.retry_at(task, now);
                    outcome
                        .take()
                        .and_then(|outcome| {
                            task.finish(ended.attempt, worker.as_str(), outcome, retry_at)
                                .ok()
                        })
                        .unwrap_or_default()
                })
                .await?;
                let change = changes.pop();
                if let Some(change) = &change {
                    // Its slot is free again; the next heartbeat says so anyway.
                    sqlx::query!(
                        "update credits set free_slots = free_slots + 1
                         where worker = $1 and task_type = $2",
                        worker.as_str(),
                        change.task().spec.task_type.as_str(),
                    )
                    .execute(&mut *tx)
                    .await?;
                }
                tx.commit().await?;
                Ok(change.map_or(Finished::Stale, Finished::Applied))
            })
            .await
    }

    /// Asks for the end of a task; `None` without such a task of this tenant.
    pub(crate) async fn cancel(
        &self,
        tenant: &str,
        id: TaskId,
    ) -> Result<Option<(View, Vec<Change>)>, DatabaseError> {
        self.db
            .run("task.cancel", async {
                let mut tx = self.db.pool().begin().await?;
                let ids = [id.as_uuid()];
                let changes = transition(&mut tx, &self.rules, &ids, |task, _| {
                    if task.spec.tenant == tenant {
                        task.cancel()
                    } else {
                        Vec::new()
                    }
                })
                .await?;
                let view = views(&mut tx, tenant, &ids).await?.into_iter().next();
                tx.commit().await?;
                Ok(view.map(|view| (view, changes)))
            })
            .await
    }

    /// Counts a release that came back dead-lettered as an attempt, unless it is an old one.
    pub(crate) async fn give_up_release(
        &self,
        release: ReleaseRef,
        why: &str,
    ) -> Result<Vec<Change>, DatabaseError> {
        self.db
            .run("task.give_up_release", async {
                let mut tx = self.db.pool().begin().await?;
                let ids = [release.task.as_uuid()];
                // The task's lock first; what is released again meanwhile has another message.
                sqlx::query!("select id from tasks where id = any($1) for update", &ids)
                    .fetch_all(&mut *tx)
                    .await?;
                let current = sqlx::query_scalar!(
                    r#"select true as "current!" from outbox where task_id = $1 and message_id = $2"#,
                    release.task.as_uuid(),
                    release.message,
                )
                .fetch_optional(&mut *tx)
                .await?;
                if current.is_none() {
                    return Ok(Vec::new());
                }
                let changes = transition(&mut tx, &self.rules, &ids, |task, now| {
                    task.give_up_release(why, self.retry_at(task, now))
                })
                .await?;
                tx.commit().await?;
                Ok(changes)
            })
            .await
    }
}

/// Notes that a message is being handled; false when it was before.
async fn receive(
    tx: &mut PgConnection,
    consumer: &str,
    message_id: &str,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into inbox (consumer, message_id) values ($1, $2) on conflict do nothing",
        consumer,
        message_id,
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
