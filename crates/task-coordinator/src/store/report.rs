//! What is said about a task from outside: its end, a wish to cancel it, a release that came back.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use sutazai_persistence::DatabaseError;
use sutazai_proto::ids::TaskId;
use uuid::Uuid;

use super::{ReleaseRef, Store, View, read::views, transition::transition};
use crate::credit::{AttemptRef, Worker};
use crate::task::{Change, Outcome};

/// A worker's word that an attempt ended, by a message that may come twice.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) consumer: &'static str,
    pub(crate) message_id: String,
    pub(crate) ended: AttemptRef,
    pub(crate) worker: Worker,
    pub(crate) outcome: Outcome,
}

/// What became of the report of an attempt's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    Applied,
    /// The attempt is not, or no longer, the current one.
    Stale,
    /// This very message had its effect before.
    Repeated,
}

impl Store {
    /// Applies the ends of attempts; messages and effects are stored together. Answers what became
    /// of each, in the given order, and what changed.
    pub(crate) async fn finish(
        &self,
        reports: &[Report],
    ) -> Result<(Vec<Finished>, Vec<Change>), DatabaseError> {
        self.db
            .run("task.finish", async {
                let mut tx = self.db.pool().begin().await?;
                let mut ends = receive(&mut tx, reports).await?;
                let mut fresh: HashMap<TaskId, Vec<usize>> = HashMap::new();
                for (place, report) in reports.iter().enumerate() {
                    if ends[place] != Finished::Repeated {
                        fresh.entry(report.ended.task).or_default().push(place);
                    }
                }
                let ids: Vec<Uuid> = fresh.keys().map(|id| id.as_uuid()).collect();
                let changes = transition(&mut tx, &self.rules, &ids, |task, now| {
                    let retry_at = self.retry_at(task, now);
                    // Once an attempt has ended, whatever else is said about the task is stale.
                    let ended = fresh[&task.id].iter().find_map(|place| {
                        let report = &reports[*place];
                        let (worker, outcome) = (report.worker.as_str(), report.outcome.clone());
                        let events = task.finish(report.ended.attempt, worker, outcome, retry_at);
                        Some((*place, events.ok()?))
                    });
                    let Some((place, events)) = ended else {
                        return Vec::new();
                    };
                    ends[place] = Finished::Applied;
                    events
                })
                .await?;
                let applied = reports.iter().zip(&ends);
                let applied = applied.filter(|(_, end)| **end == Finished::Applied);
                let workers = applied.map(|(report, _)| (report.ended.task, &report.worker));
                free_slots(&mut tx, &workers.collect(), &changes).await?;
                tx.commit().await?;
                Ok((ends, changes))
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

/// Notes that messages are being handled, and tells which were before.
///
/// In the order of their ids, so that two batches never wait for each other in a ring.
async fn receive(tx: &mut PgConnection, reports: &[Report]) -> Result<Vec<Finished>, sqlx::Error> {
    let (consumers, messages): (Vec<String>, Vec<String>) = reports
        .iter()
        .map(|report| (report.consumer.to_owned(), report.message_id.clone()))
        .unzip();
    let rows = sqlx::query!(
        "insert into inbox (consumer, message_id)
         select consumer, message_id from unnest($1::text[], $2::text[]) as u (consumer, message_id)
         order by consumer, message_id
         on conflict do nothing
         returning consumer, message_id",
        &consumers,
        &messages,
    )
    .fetch_all(tx)
    .await?;
    let mut first: HashSet<(String, String)> = rows
        .into_iter()
        .map(|row| (row.consumer, row.message_id))
        .collect();
    let received = consumers.into_iter().zip(messages).map(|message| {
        if first.remove(&message) {
            Finished::Stale
        } else {
            Finished::Repeated
        }
    });
    Ok(received.collect())
}

/// Gives workers the slots back of what has ended; the next heartbeat says so anyway.
async fn free_slots(
    tx: &mut PgConnection,
    workers: &HashMap<TaskId, &Worker>,
    changes: &[Change],
) -> Result<(), sqlx::Error> {
    let (names, types): (Vec<String>, Vec<String>) = changes
        .iter()
        .filter_map(|change| {
            let task = change.task();
            let worker = workers.get(&task.id)?;
            Some((worker.as_str().to_owned(), task.spec.task_type.to_string()))
        })
        .unzip();
    if names.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update credits c set free_slots = c.free_slots + held.freed
         from (select h.worker, h.task_type, u.freed from credits h
               join (select worker, type, count(*)::integer as freed
                     from unnest($1::text[], $2::text[]) as u (worker, type)
                     group by worker, type) u
                    on u.worker = h.worker and u.type = h.task_type
               order by h.worker, h.task_type for update of h) held
         where c.worker = held.worker and c.task_type = held.task_type",
        &names,
        &types,
    )
    .execute(tx)
    .await?;
    Ok(())
}
