//! Answers to producers: where to tell the end of a task, kept until it was told.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use sqlx::PgConnection;
use sutazai_persistence::DatabaseError;
use sutazai_proto::ids::TaskId;
use sutazai_proto::producers::Origin;
use uuid::Uuid;

use super::{Store, View, read::views, rows::decoded, seconds};
use crate::answer::Address;
use crate::submission::ReplyTo;

/// Most answers of one batch.
const BATCH: i64 = 64;

/// An answer that is to be sent now.
#[derive(Clone, Debug)]
pub(crate) struct DueAnswer {
    pub(crate) view: View,
    pub(crate) reply_to: ReplyTo,
    /// Tries, this one included.
    pub(crate) tries: u32,
    ticket: Uuid,
}

impl Store {
    /// Chooses answers that are due. What is neither forgotten nor postponed becomes due again.
    pub(crate) async fn pick_answers(&self) -> Result<Vec<DueAnswer>, DatabaseError> {
        self.db
            .run("answers.pick", async {
                let mut tx = self.db.pool().begin().await?;
                let rows = sqlx::query!(
                    "update answers
                     set tries = tries + 1,
                         due_at = clock_timestamp() + make_interval(secs => $1)
                     where task_id = any(array(
                         select task_id from answers where due_at <= now()
                         order by due_at limit $2 for update skip locked))
                     returning task_id, tenant_id, reply_to, correlation_id, source, event_id,
                               tries, ticket",
                    // Longer than the broker may take for a whole batch.
                    seconds(self.rules.publish * 6),
                    BATCH,
                )
                .fetch_all(&mut *tx)
                .await?;
                let mut tenants: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
                for row in &rows {
                    tenants.entry(&row.tenant_id).or_default().push(row.task_id);
                }
                let mut found: HashMap<TaskId, View> = HashMap::new();
                for (tenant, ids) in tenants {
                    let views = views(&mut tx, tenant, &ids).await?;
                    found.extend(views.into_iter().map(|view| (view.task.id, view)));
                }
                tx.commit().await?;
                let mut due = Vec::with_capacity(rows.len());
                for row in rows {
                    let Some(view) = found.remove(&row.task_id.into()) else {
                        continue;
                    };
                    due.push(DueAnswer {
                        view,
                        reply_to: ReplyTo {
                            address: Address {
                                queue: row.reply_to,
                                correlation_id: row.correlation_id,
                            },
                            origin: Origin {
                                source: row.source,
                                id: row.event_id,
                            },
                        },
                        tries: decoded(row.tries.try_into())?,
                        ticket: row.ticket,
                    });
                }
                Ok(due)
            })
            .await
    }

    /// Removes an answer that was told or never will be.
    pub(crate) async fn forget_answer(&self, answer: &DueAnswer) -> Result<(), DatabaseError> {
        self.db
            .run("answers.forget", async {
                sqlx::query!(
                    "delete from answers where task_id = $1 and ticket = $2",
                    answer.view.task.id.as_uuid(),
                    answer.ticket,
                )
                .execute(self.db.pool())
                .await
            })
            .await
            .map(drop)
    }

    /// Has an answer tried again later.
    pub(crate) async fn postpone_answer(
        &self,
        answer: &DueAnswer,
        wait: Duration,
    ) -> Result<(), DatabaseError> {
        self.db
            .run("answers.postpone", async {
                sqlx::query!(
                    "update answers set due_at = clock_timestamp() + make_interval(secs => $3)
                     where task_id = $1 and ticket = $2",
                    answer.view.task.id.as_uuid(),
                    answer.ticket,
                    seconds(wait),
                )
                .execute(self.db.pool())
                .await
            })
            .await
            .map(drop)
    }
}

/// Keeps where the end of a task is to be told; a repeated submission may name another place.
///
/// The task's lock orders this with its end: a task that has ended is told at once.
pub(super) async fn keep(
    tx: &mut PgConnection,
    task: Uuid,
    reply_to: &ReplyTo,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into answers (task_id, tenant_id, reply_to, correlation_id, source, event_id,
                              due_at, ticket)
         select id, tenant_id, $2, $3, $4, $5, finished_at, gen_random_uuid()
         from (select id, tenant_id, finished_at from tasks where id = $1 for update) task
         on conflict (task_id) do update
         set reply_to = excluded.reply_to, correlation_id = excluded.correlation_id,
             due_at = excluded.due_at, tries = 0, ticket = excluded.ticket",
        task,
        reply_to.address.queue,
        reply_to.address.correlation_id,
        reply_to.origin.source,
        reply_to.origin.id,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Makes the answers of tasks that have ended due.
pub(super) async fn make_due(tx: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update answers set due_at = clock_timestamp() where task_id = any($1)",
        ids,
    )
    .execute(tx)
    .await?;
    Ok(())
}
