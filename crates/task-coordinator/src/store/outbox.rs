//! Rows of tasks that are to be released to the broker.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{AssertSqlSafe, types::Json};
use sutazai_persistence::DatabaseError;
use sutazai_proto::ids::TaskId;
use uuid::Uuid;

use super::{
    Store,
    rows::{decoded, milliseconds, payload},
    seconds,
    transition::transition,
};
use crate::task::{Change, Payload, Spec};

/// Held while releases are chosen, so that two relays never give out the same credit.
pub(crate) const RELEASE_LOCK: i64 = 0x7461_736b_5f72_656c;
/// Begins the transaction that chooses releases, in one way to the server.
///
/// Its commit waits for no disk. A choice that the server forgets in a crash has left its row ready: the
/// task is released once more, and one of the two messages is refused its claim. What follows from a
/// choice waits for the disk, and takes the choice along.
const CHOOSE: &str = "begin; set local synchronous_commit = off; select pg_advisory_xact_lock";
/// Most tasks of one type in one batch.
const BATCH: i64 = 128;
/// Tasks released for each slot that workers report: one to begin, one to follow at once.
const PER_SLOT: i64 = 2;
/// How long a release that failed waits before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// One release of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReleaseRef {
    pub(crate) task: TaskId,
    pub(crate) message: Uuid,
}

/// A task that is to be released now.
#[derive(Clone, Debug)]
pub(crate) struct Picked {
    pub(crate) release: ReleaseRef,
    pub(crate) spec: Spec,
    pub(crate) input: Payload,
}

impl Store {
    /// Chooses tasks that are ready, by priority within the credit of their type, and marks them as
    /// being on the way. What is not confirmed within its time becomes due again.
    pub(crate) async fn pick_releases(&self) -> Result<Vec<Picked>, DatabaseError> {
        self.db
            .run("outbox.pick", async {
                let choose = AssertSqlSafe(format!("{CHOOSE}({RELEASE_LOCK})"));
                let mut tx = self.db.pool().begin_with(choose).await?;
                let rows = sqlx::query!(
                    r#"with allowance as (
                           select c.task_type,
                                  $3 * greatest(sum(c.free_slots), 0)
                                  - (select count(*) from outbox o
                                     where o.type = c.task_type and o.phase = 'released') as room
                           from credits c
                           where c.reported_at > now() - make_interval(secs => $1)
                           group by c.task_type
                       ), picked as (
                           select o.task_id from allowance a cross join lateral (
                               select task_id from outbox
                               where type = a.task_type and phase = 'ready'
                               order by priority desc, task_id
                               limit least(greatest(a.room, 0), $4) for update skip locked
                           ) o
                       ), released as (
                           update outbox o
                           set phase = 'released', message_id = gen_random_uuid(),
                               due_at = clock_timestamp() + make_interval(secs => $2)
                           where o.task_id = any(array(select task_id from picked))
                           returning o.task_id, o.message_id
                       )
                       select t.id, r.message_id as "message_id!", t.tenant_id, t.subject, t.roles,
                              t.scopes, t.trace as "trace: Json<BTreeMap<String, String>>",
                              t.type as task_type, t.priority, t.max_attempts, t.effect_mode,
                              t.attempt_timeout_ms, t.expires_at,
                              e.payload, e.content_type
                       from released r
                       cross join lateral (select * from tasks where id = r.task_id limit 1) t
                       cross join lateral (
                           select payload, content_type from task_events
                           where task_id = r.task_id and sequence = 1 limit 1
                       ) e
                       order by t.priority desc, t.id"#,
                    seconds(self.rules.credit),
                    seconds(self.rules.publish),
                    PER_SLOT as _,
                    BATCH as _,
                )
                .fetch_all(&mut *tx)
                .await?;
                tx.commit().await?;
                rows.into_iter()
                    .map(|row| {
                        Ok(Picked {
                            release: ReleaseRef {
                                task: row.id.into(),
                                message: row.message_id,
                            },
                            input: payload(row.payload, row.content_type).unwrap_or_default(),
                            spec: Spec {
                                tenant: row.tenant_id,
                                subject: row.subject,
                                roles: row.roles,
                                scopes: row.scopes,
                                trace: row.trace.0,
                                task_type: decoded(row.task_type.parse())?,
                                priority: decoded(row.priority.try_into())?,
                                max_attempts: decoded(row.max_attempts.try_into())?,
                                effect_mode: decoded(row.effect_mode.parse())?,
                                attempt_timeout: milliseconds(row.attempt_timeout_ms)?,
                                expires_at: row.expires_at,
                            },
                        })
                    })
                    .collect()
            })
            .await
    }

    /// Writes that the broker took releases over. What was claimed or ended meanwhile stays as it is.
    pub(crate) async fn confirm_releases(
        &self,
        releases: &[ReleaseRef],
    ) -> Result<Vec<Change>, DatabaseError> {
        let (ids, messages): (Vec<Uuid>, Vec<Uuid>) = releases
            .iter()
            .map(|release| (release.task.as_uuid(), release.message))
            .unzip();
        self.db
            .run("outbox.confirm", async {
                let mut tx = self.db.pool().begin().await?;
                sqlx::query!(
                    "select id from tasks where id = any($1) order by id for update",
                    &ids
                )
                .fetch_all(&mut *tx)
                .await?;
                let current = sqlx::query_scalar!(
                    "select o.task_id from outbox o
                     join unnest($1::uuid[], $2::uuid[]) as u (task_id, message_id)
                          on o.task_id = u.task_id and o.message_id = u.message_id
                     where o.task_id = any($1)",
                    &ids,
                    &messages,
                )
                .fetch_all(&mut *tx)
                .await?;
                let changes =
                    transition(&mut tx, &self.rules, &current, |task, _| task.release()).await?;
                tx.commit().await?;
                Ok(changes)
            })
            .await
    }

    /// Has releases tried again after a pause: the broker refused them, or no queue took them.
    pub(crate) async fn postpone_releases(
        &self,
        releases: &[ReleaseRef],
    ) -> Result<(), DatabaseError> {
        let (ids, messages): (Vec<Uuid>, Vec<Uuid>) = releases
            .iter()
            .map(|release| (release.task.as_uuid(), release.message))
            .unzip();
        self.db
            .run("outbox.postpone", async {
                sqlx::query!(
                    "update outbox o
                     set phase = 'waiting', message_id = null,
                         due_at = clock_timestamp() + make_interval(secs => $3)
                     from (select l.task_id from outbox l
                           join unnest($1::uuid[], $2::uuid[]) as u (task_id, message_id)
                                on l.task_id = u.task_id and l.message_id = u.message_id
                           where l.task_id = any($1)
                           order by l.task_id for update of l) locked
                     where o.task_id = any($1) and o.task_id = locked.task_id",
                    &ids,
                    &messages,
                    seconds(PAUSE),
                )
                .execute(self.db.pool())
                .await
            })
            .await
            .map(drop)
    }

    /// Makes everything due that is with the broker: it forgot it all when its process ended.
    pub(crate) async fn release_all_again(&self) -> Result<u64, DatabaseError> {
        self.db
            .run("outbox.release_all", async {
                sqlx::query!(
                    "update outbox set phase = 'ready', message_id = null, due_at = clock_timestamp()
                     where phase = 'released'",
                )
                .execute(self.db.pool())
                .await
            })
            .await
            .map(|done| done.rows_affected())
    }

    /// Makes ready what is due (again). Answers how many tasks that were, and how long it takes until
    /// the next one is due; `None` when none waits.
    pub(crate) async fn ready_releases(&self) -> Result<(u64, Option<Duration>), DatabaseError> {
        self.db
            .run("outbox.ready", async {
                let row = sqlx::query!(
                    r#"with ready as (
                           update outbox set phase = 'ready', message_id = null
                           where task_id = any(array(
                               select task_id from outbox
                               where phase <> 'ready' and due_at <= now()
                               for update skip locked
                           ))
                           returning task_id
                       )
                       select (select count(*) from ready) as "ready!",
                              (select extract(epoch from min(due_at) - clock_timestamp())::float8
                               from outbox
                               where phase <> 'ready' and task_id not in (select task_id from ready)
                              ) as wait"#,
                )
                .fetch_one(self.db.pool())
                .await?;
                let wait = |wait| Duration::try_from_secs_f64(wait).unwrap_or_default();
                Ok((decoded(row.ready.try_into())?, row.wait.map(wait)))
            })
            .await
    }
}
