//! What workers do with tasks: bring slots, claim, renew; and what happens when they do not.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sutazai_persistence::DatabaseError;
use sutazai_proto::ids::TaskId;

use super::{Store, rows::decoded, seconds, transition::transition, uuids};
use crate::credit::{AttemptRef, Credit, Worker};
use crate::task::{Change, Loss, Refusal, State, Task};

/// Most tasks that the reaper takes in one transaction.
const REAPED: i64 = 100;

/// What the database knows about a lease that was to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) lease: AttemptRef,
    pub(crate) renewed: bool,
    pub(crate) cancel_requested: bool,
    /// None without such a task.
    pub(crate) state: Option<State>,
}

impl Store {
    /// Begins the next attempt of each task that admits one. Answers refusals and what changed.
    pub(crate) async fn claim(
        &self,
        worker: &Worker,
        ids: &[TaskId],
    ) -> Result<(HashMap<TaskId, Refusal>, Vec<Change>), DatabaseError> {
        self.db
            .run("task.claim", async {
                let mut refused = HashMap::new();
                let mut tx = self.db.pool().begin().await?;
                let changes = transition(&mut tx, &self.rules, &uuids(ids), |task, now| {
                    task.claim(worker.as_str(), now).unwrap_or_else(|refusal| {
                        refused.insert(task.id, refusal);
                        Vec::new()
                    })
                })
                .await?;
                let types: Vec<String> = changes
                    .iter()
                    .map(|change| change.task().spec.task_type.to_string())
                    .collect();
                if !types.is_empty() {
                    sqlx::query!(
                        "update credits c set free_slots = c.free_slots - held.taken
                         from (select h.task_type, u.taken from credits h
                               join (select type, count(*)::integer as taken
                                     from unnest($2::text[]) as u (type) group by type) u
                                    on u.type = h.task_type
                               where h.worker = $1 order by h.task_type for update of h) held
                         where c.worker = $1 and c.task_type = held.task_type",
                        worker.as_str(),
                        &types,
                    )
                    .execute(&mut *tx)
                    .await?;
                }
                tx.commit().await?;
                Ok((refused, changes))
            })
            .await
    }

    /// Notes what a worker could begin now, and how its types are run.
    pub(crate) async fn report_credit(
        &self,
        worker: &Worker,
        credits: &[Credit],
    ) -> Result<(), DatabaseError> {
        let (mut names, mut modes, mut attempts) = (vec![], vec![], vec![]);
        let (mut timeouts, mut slots) = (vec![], vec![]);
        for Credit {
            task_type,
            free_slots,
        } in credits
        {
            names.push(task_type.name.to_string());
            modes.push(task_type.effect_mode.to_string());
            attempts.push(i32::try_from(task_type.max_attempts).unwrap_or(i32::MAX));
            timeouts.push(i64::try_from(task_type.attempt_timeout.as_millis()).unwrap_or(i64::MAX));
            slots.push(i32::try_from(*free_slots).unwrap_or(i32::MAX));
        }
        self.db
            .run("credit.report", async {
                // In the order of names, so that two reports never wait for each other in a ring.
                sqlx::query!(
                    "with brought as (
                         insert into task_types (name, effect_mode, max_attempts, attempt_timeout_ms)
                         select * from unnest($2::text[], $3::text[], $4::integer[], $5::bigint[])
                                  as u (name, effect_mode, max_attempts, attempt_timeout_ms)
                         order by name
                         on conflict (name) do update
                         set effect_mode = excluded.effect_mode,
                             max_attempts = excluded.max_attempts,
                             attempt_timeout_ms = excluded.attempt_timeout_ms, updated_at = now()
                         where (task_types.effect_mode, task_types.max_attempts,
                                task_types.attempt_timeout_ms)
                               is distinct from (excluded.effect_mode, excluded.max_attempts,
                                                 excluded.attempt_timeout_ms)
                     )
                     insert into credits (task_type, worker, free_slots)
                     select name, $1, free_slots
                     from unnest($2::text[], $6::integer[]) as u (name, free_slots)
                     order by name
                     on conflict (task_type, worker) do update
                     set free_slots = excluded.free_slots, reported_at = now()",
                    worker.as_str(),
                    &names,
                    &modes,
                    &attempts,
                    &timeouts,
                    &slots,
                )
                .execute(self.db.pool())
                .await
            })
            .await
            .map(drop)
    }

    /// Renews leases, all in one statement, and says how each task stands; in the given order.
    ///
    /// A lease that ran out unnoticed is renewed as well: as long as its attempt is the current
    /// one, nobody else works on the task. No renewal goes beyond the attempt's deadline.
    pub(crate) async fn renew(
        &self,
        worker: &Worker,
        leases: &[AttemptRef],
    ) -> Result<Vec<Standing>, DatabaseError> {
        let ids: Vec<_> = leases.iter().map(|lease| lease.task.as_uuid()).collect();
        let attempts: Vec<i32> = leases
            .iter()
            .map(|lease| i32::try_from(lease.attempt).unwrap_or(-1))
            .collect();
        self.db
            .run("lease.renew", async {
                let rows = sqlx::query!(
                    r#"with asked as (
                           select * from unnest($2::uuid[], $3::integer[]) with ordinality
                                         as u (task_id, attempt, place)
                       ), held as (
                           select l.task_id from leases l
                           join asked a on a.task_id = l.task_id and a.attempt = l.attempt
                           where l.task_id = any($2) and l.worker = $1
                             and l.deadline > clock_timestamp()
                           order by l.task_id for update of l
                       ), renewed as (
                           update leases l
                           set expires_at = least(clock_timestamp() + make_interval(secs => $4),
                                                  l.deadline)
                           from held where l.task_id = any($2) and l.task_id = held.task_id
                           returning l.task_id, l.attempt
                       )
                       select a.place as "place!", r.task_id is not null as "renewed!",
                              coalesce(t.cancel_requested, false) as "cancel_requested!",
                              t.state as "state?"
                       from asked a
                       left join renewed r on r.task_id = a.task_id and r.attempt = a.attempt
                       left join tasks t on t.id = any($2) and t.id = a.task_id
                       order by a.place"#,
                    worker.as_str(),
                    &ids,
                    &attempts,
                    seconds(self.rules.lease),
                )
                .fetch_all(self.db.pool())
                .await?;
                rows.into_iter()
                    .zip(leases)
                    .map(|(row, lease)| {
                        Ok(Standing {
                            lease: *lease,
                            renewed: row.renewed,
                            cancel_requested: row.cancel_requested,
                            state: row.state.map(|state| decoded(state.parse())).transpose()?,
                        })
                    })
                    .collect()
            })
            .await
    }

    /// Returns the time by the clock that leases go by.
    ///
    /// Assigning a transaction id is a write, as a renewal is: a server that takes none does not answer.
    pub(crate) async fn clock(&self) -> Result<DateTime<Utc>, DatabaseError> {
        self.db
            .run("lease.clock", async {
                sqlx::query_scalar!(
                    r#"select clock_timestamp() as "now!" from pg_current_xact_id()"#
                )
                .fetch_one(self.db.pool())
                .await
            })
            .await
    }

    /// Ends a batch of attempts whose lease is over.
    pub(crate) async fn reap(&self) -> Result<Vec<Change>, DatabaseError> {
        self.db
            .run("lease.reap", async {
                let mut tx = self.db.pool().begin().await?;
                // Tasks are locked before leases, as everywhere.
                let ids = sqlx::query_scalar!(
                    "select t.id from leases l join tasks t on t.id = l.task_id
                     where l.expires_at <= now()
                     order by l.expires_at limit $1
                     for update of t skip locked",
                    REAPED,
                )
                .fetch_all(&mut *tx)
                .await?;
                if ids.is_empty() {
                    return Ok(Vec::new());
                }
                // Looked at again under the lock: a heartbeat may have come in between.
                let over: HashMap<TaskId, Loss> = sqlx::query!(
                    r#"select task_id, deadline <= clock_timestamp() as "overdue!" from leases
                       where task_id = any($1) and expires_at <= clock_timestamp()
                       order by task_id for update"#,
                    &ids,
                )
                .fetch_all(&mut *tx)
                .await?
                .into_iter()
                .map(|row| {
                    let loss = if row.overdue {
                        Loss::Overdue
                    } else {
                        Loss::Silent
                    };
                    (row.task_id.into(), loss)
                })
                .collect();
                let changes = transition(&mut tx, &self.rules, &ids, |task, now| {
                    let retry_at = self.retry_at(task, now);
                    over.get(&task.id)
                        .map(|loss| task.lose(*loss, retry_at))
                        .unwrap_or_default()
                })
                .await?;
                tx.commit().await?;
                Ok(changes)
            })
            .await
    }

    /// Ends a batch of tasks whose own deadline has passed.
    pub(crate) async fn expire(&self) -> Result<Vec<Change>, DatabaseError> {
        self.db
            .run("task.expire", async {
                let mut tx = self.db.pool().begin().await?;
                let ids = sqlx::query_scalar!(
                    "select id from tasks
                     where expires_at <= now() and state in ('queued', 'running')
                     order by expires_at limit $1 for update skip locked",
                    REAPED,
                )
                .fetch_all(&mut *tx)
                .await?;
                if ids.is_empty() {
                    return Ok(Vec::new());
                }
                let changes = transition(&mut tx, &self.rules, &ids, Task::expire).await?;
                tx.commit().await?;
                Ok(changes)
            })
            .await
    }
}
