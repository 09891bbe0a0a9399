//! Storing a task: row, first event, idempotency key and outbox row, all or nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};
use sutazai_persistence::DatabaseError;

use super::{
    Store, View, answers,
    read::views,
    rows::{EventRow, decoded, milliseconds},
};
use crate::credit::TaskType;
use crate::submission::{IdempotencyKey, Submission};
use crate::task::{Change, Task, TypeName, UnknownText};
use uuid::Uuid;

/// Longest wait for a request with the same key that has not ended yet.
const KEY_PATIENCE: Duration = Duration::from_secs(1);
/// SQLSTATE lock_not_available.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What became of a submission.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Submitted {
    Made(View),
    /// An earlier request with the same key made it.
    Replayed(View),
    /// The key belongs to another request.
    KeyReused,
    /// A request with the same key has not ended yet.
    KeyInFlight,
    UnknownType {
        known: Vec<String>,
    },
}

/// Where a key stands.
enum KeyState {
    Ours,
    Earlier(Uuid),
    Reused,
    InFlight,
}

impl Store {
    /// Stores a task. Nothing is stored unless the answer is [`Submitted::Made`], but where the end
    /// of a task that an earlier request made is to be told.
    pub(crate) async fn submit(&self, submission: &Submission) -> Result<Submitted, DatabaseError> {
        self.submissions
            .run("task.create", self.try_submit(submission))
            .await
    }

    async fn try_submit(&self, submission: &Submission) -> Result<Submitted, sqlx::Error> {
        if submission.key.is_none() && submission.reply_to.is_none() {
            // One statement writes it all, and is a transaction by itself: two ways to the server less.
            let mut connection = self.db.pool().acquire().await?;
            return make(&mut connection, submission).await;
        }
        let mut tx = self.db.pool().begin().await?;
        if let Some(key) = &submission.key {
            match take_key(&mut tx, submission, key).await? {
                KeyState::Ours => {}
                KeyState::Reused => return Ok(Submitted::KeyReused),
                KeyState::InFlight => return Ok(Submitted::KeyInFlight),
                KeyState::Earlier(id) => {
                    let views = views(&mut tx, &submission.submitter.tenant, &[id]).await?;
                    if let Some(reply_to) = &submission.reply_to {
                        answers::keep(&mut tx, id, reply_to).await?;
                        tx.commit().await?;
                    }
                    return Ok(views
                        .into_iter()
                        .next()
                        .map_or(Submitted::KeyInFlight, Submitted::Replayed));
                }
            }
        }
        let submitted = make(&mut tx, submission).await?;
        if let Submitted::Made(_) = submitted {
            if let Some(reply_to) = &submission.reply_to {
                answers::keep(&mut tx, submission.id.as_uuid(), reply_to).await?;
            }
            tx.commit().await?;
        }
        Ok(submitted)
    }
}

/// Makes the task, if there is its type.
async fn make(
    connection: &mut PgConnection,
    submission: &Submission,
) -> Result<Submitted, sqlx::Error> {
    let found = match submission.task_type.parse() {
        Ok(name) => find_type(connection, &name).await?,
        Err(UnknownText) => None,
    };
    let Some((task_type, now)) = found else {
        let known = sqlx::query_scalar!("select name from task_types order by name")
            .fetch_all(connection)
            .await?;
        return Ok(Submitted::UnknownType { known });
    };
    let spec = submission.spec(&task_type, now);
    let change = Task::create(submission.id, spec, submission.input.clone(), now);
    insert_task(connection, &change).await?;
    let task = change.task().clone();
    Ok(Submitted::Made(View {
        task,
        input: submission.input.clone(),
        result: None,
    }))
}

/// Takes the key for this request, or learns whose it is.
///
/// A request that holds the same key at this moment is waited for, so that the answer is its own.
async fn take_key(
    tx: &mut PgConnection,
    submission: &Submission,
    key: &IdempotencyKey,
) -> Result<KeyState, sqlx::Error> {
    let patience = format!("{}ms", KEY_PATIENCE.as_millis());
    // The limit is set by the statement that waits, to save a way to the server.
    let taken = sqlx::query!(
        "with patience as materialized (select set_config('lock_timeout', $7, true))
         insert into idempotency_keys (tenant_id, subject, operation, key, fingerprint, task_id)
         select $1, $2, $3, $4, $5, $6 from patience
         on conflict do nothing",
        submission.submitter.tenant,
        submission.submitter.subject,
        key.operation.as_str(),
        key.text,
        key.fingerprint,
        submission.id.as_uuid(),
        patience,
    )
    .execute(&mut *tx)
    .await;
    match taken {
        Ok(done) if done.rows_affected() == 1 => return Ok(KeyState::Ours),
        Ok(_) => {}
        Err(sqlx::Error::Database(error))
            if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) =>
        {
            return Ok(KeyState::InFlight);
        }
        Err(error) => return Err(error),
    }
    let earlier = sqlx::query!(
        "select fingerprint, task_id from idempotency_keys
         where tenant_id = $1 and subject = $2 and operation = $3 and key = $4",
        submission.submitter.tenant,
        submission.submitter.subject,
        key.operation.as_str(),
        key.text,
    )
    .fetch_optional(tx)
    .await?;
    Ok(match earlier {
        Some(earlier) if earlier.fingerprint == key.fingerprint => {
            KeyState::Earlier(earlier.task_id)
        }
        Some(_) => KeyState::Reused,
        // It was given up between the two statements: the next try gets it.
        None => KeyState::InFlight,
    })
}

async fn find_type(
    tx: &mut PgConnection,
    name: &TypeName,
) -> Result<Option<(TaskType, DateTime<Utc>)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select effect_mode, max_attempts, attempt_timeout_ms, clock_timestamp() as "now!"
           from task_types where name = $1"#,
        name.as_str(),
    )
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let task_type = TaskType {
        name: name.clone(),
        effect_mode: decoded(row.effect_mode.parse())?,
        max_attempts: decoded(row.max_attempts.try_into())?,
        attempt_timeout: milliseconds(row.attempt_timeout_ms)?,
    };
    Ok(Some((task_type, row.now)))
}

/// Writes a new task, its first event and its outbox row in one statement: every submission waits for
/// each way to the server.
async fn insert_task(tx: &mut PgConnection, change: &Change) -> Result<(), sqlx::Error> {
    let task = change.task();
    let spec = &task.spec;
    let Some(created) = change.last() else {
        let message = "a new task without its first event".to_owned();
        return Err(sqlx::Error::Protocol(message));
    };
    let (kind, data) = EventRow::split(created)?;
    let input = created.payload();
    sqlx::query!(
        "with made as (
             insert into tasks (id, tenant_id, subject, roles, scopes, trace, type, priority,
                                max_attempts, effect_mode, attempt_timeout_ms, expires_at, state,
                                attempt, released, cancel_requested, created_at, updated_at,
                                sequence)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, false, false, $14,
                     $14, 1)
             returning id, tenant_id, type, priority, state, created_at
         ), created as (
             insert into task_events (task_id, tenant_id, sequence, kind, at, attempt, state, data,
                                      payload, content_type)
             select id, tenant_id, 1, $15, created_at, 0, state, $16, $17, $18 from made
         )
         insert into outbox (task_id, tenant_id, type, priority, phase, due_at)
         select id, tenant_id, type, priority, 'ready', created_at from made",
        task.id.as_uuid(),
        spec.tenant,
        spec.subject,
        &spec.roles,
        &spec.scopes,
        Json(&spec.trace) as _,
        spec.task_type.as_str(),
        i16::from(spec.priority),
        decoded(i32::try_from(spec.max_attempts))?,
        spec.effect_mode.as_str(),
        decoded(i64::try_from(spec.attempt_timeout.as_millis()))?,
        spec.expires_at,
        task.state.as_str(),
        task.created_at,
        kind,
        data,
        input.map(|input| &input.data[..]),
        input.map(|input| input.content_type.as_str()),
    )
    .execute(tx)
    .await
    .map(drop)
}
