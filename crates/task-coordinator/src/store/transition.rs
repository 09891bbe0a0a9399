//! The one way in which a stored task changes: lock, decide, write events with all that follows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{
    Rules, answers,
    rows::{EventRow, decoded, task_of},
    seconds,
};
use crate::task::{Change, Event, State, Task};

/// Locks tasks in the order of their ids, asks `decide` about each, and writes what it answers.
///
/// The time given to `decide` is the database's. Unknown ids are left out.
pub(super) async fn transition(
    tx: &mut PgConnection,
    rules: &Rules,
    ids: &[Uuid],
    mut decide: impl FnMut(&Task, DateTime<Utc>) -> Vec<Event> + Send,
) -> Result<Vec<Change>, sqlx::Error> {
    let mut changes = Vec::new();
    for (task, now) in lock(tx, ids).await? {
        let events = decide(&task, now);
        if !events.is_empty() {
            changes.push(decoded(task.record(events, now))?);
        }
    }
    if !changes.is_empty() {
        write(tx, rules, &changes).await?;
    }
    Ok(changes)
}

async fn lock(
    tx: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<(Task, DateTime<Utc>)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select id, tenant_id, subject, roles, scopes,
                  trace as "trace: Json<BTreeMap<String, String>>", type as task_type, priority,
                  max_attempts, effect_mode, attempt_timeout_ms, expires_at, state, attempt,
                  released, cancel_requested, worker, error_reason, error_message, error_code,
                  not_before, created_at, updated_at, finished_at, sequence,
                  clock_timestamp() as "now!"
           from tasks where id = any($1) order by id for update"#,
        ids,
    )
    .fetch_all(tx)
    .await?;
    rows.into_iter()
        .map(|row| Ok((task_of!(row), row.now)))
        .collect()
}

/// Writes events, and brings everything that depends on them into line.
async fn write(
    tx: &mut PgConnection,
    rules: &Rules,
    changes: &[Change],
) -> Result<(), sqlx::Error> {
    insert_events(tx, changes).await?;
    update_tasks(tx, changes).await?;

    let ids = |wanted: fn(&Change) -> bool| -> Vec<Uuid> {
        let wanted = changes.iter().filter(|change| wanted(change));
        wanted.map(|change| change.task().id.as_uuid()).collect()
    };
    let stopped = ids(|change| change.left(State::Running));
    let started = ids(|change| matches!(change.last(), Some(Event::Started { .. })));
    let unqueued = ids(|change| change.left(State::Queued));
    let released = ids(|change| matches!(change.last(), Some(Event::Released)));
    let retried = ids(|change| matches!(change.last(), Some(Event::AttemptFailed { .. })));
    let parked = ids(|change| matches!(change.last(), Some(Event::Failed { parked: true, .. })));
    let ended = ids(|change| change.task().state.is_terminal());
    delete_leases(tx, &stopped).await?;
    insert_leases(tx, rules, &started).await?;
    delete_releases(tx, &unqueued).await?;
    extend_releases(tx, rules, &released).await?;
    schedule_releases(tx, &retried).await?;
    insert_dead_letters(tx, &parked).await?;
    answers::make_due(tx, &ended).await
}

async fn insert_events(tx: &mut PgConnection, changes: &[Change]) -> Result<(), sqlx::Error> {
    let (mut ids, mut tenants, mut sequences, mut kinds) = (vec![], vec![], vec![], vec![]);
    let (mut times, mut attempts, mut states, mut data) = (vec![], vec![], vec![], vec![]);
    let (mut payloads, mut content_types) = (vec![], vec![]);
    for change in changes {
        for recorded in change.events() {
            let (kind, rest) = EventRow::split(&recorded.event)?;
            let payload = recorded.event.payload();
            ids.push(change.task().id.as_uuid());
            tenants.push(change.task().spec.tenant.clone());
            sequences.push(decoded(i64::try_from(recorded.sequence))?);
            kinds.push(kind);
            times.push(recorded.at);
            attempts.push(decoded(i32::try_from(recorded.attempt))?);
            states.push(recorded.state.as_str().to_owned());
            data.push(rest);
            payloads.push(payload.map(|payload| payload.data.to_vec()));
            content_types.push(payload.map(|payload| payload.content_type.clone()));
        }
    }
    sqlx::query!(
        "insert into task_events (task_id, tenant_id, sequence, kind, at, attempt, state, data,
                                  payload, content_type)
         select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[],
                              $6::integer[], $7::text[], $8::jsonb[], $9::bytea[], $10::text[])",
        &ids,
        &tenants,
        &sequences,
        &kinds,
        &times,
        &attempts,
        &states,
        &data as &[Option<serde_json::Value>],
        &payloads as &[Option<Vec<u8>>],
        &content_types as &[Option<String>],
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn update_tasks(tx: &mut PgConnection, changes: &[Change]) -> Result<(), sqlx::Error> {
    let (mut ids, mut before, mut after, mut states) = (vec![], vec![], vec![], vec![]);
    let (mut attempts, mut released, mut cancels, mut workers) = (vec![], vec![], vec![], vec![]);
    let (mut reasons, mut messages, mut codes) = (vec![], vec![], vec![]);
    let (mut not_before, mut updated, mut finished) = (vec![], vec![], vec![]);
    for change in changes {
        let task = change.task();
        let sequence = decoded(i64::try_from(task.sequence))?;
        ids.push(task.id.as_uuid());
        before.push(sequence - decoded(i64::try_from(change.events().len()))?);
        after.push(sequence);
        states.push(task.state.as_str().to_owned());
        attempts.push(decoded(i32::try_from(task.attempt))?);
        released.push(task.released);
        cancels.push(task.cancel_requested);
        workers.push(task.worker.clone());
        reasons.push(task.error.as_ref().map(|error| error.reason().to_owned()));
        messages.push(task.error.as_ref().map(|error| error.message().to_owned()));
        codes.push(task.error.as_ref().map(|error| error.code().to_string()));
        not_before.push(task.not_before);
        updated.push(task.updated_at);
        finished.push(task.finished_at);
    }
    // The sequence before is the proof that nobody wrote since the task was read.
    let done = sqlx::query!(
        "update tasks t
         set sequence = u.sequence, state = u.state, attempt = u.attempt, released = u.released,
             cancel_requested = u.cancel_requested, worker = u.worker,
             error_reason = u.error_reason, error_message = u.error_message,
             error_code = u.error_code, not_before = u.not_before, updated_at = u.updated_at,
             finished_at = u.finished_at
         from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[],
                     $6::boolean[], $7::boolean[], $8::text[], $9::text[], $10::text[],
                     $11::text[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[])
              as u (id, before, sequence, state, attempt, released, cancel_requested, worker,
                    error_reason, error_message, error_code, not_before, updated_at, finished_at)
         where t.id = any($1) and t.id = u.id and t.sequence = u.before",
        &ids,
        &before,
        &after,
        &states,
        &attempts,
        &released,
        &cancels,
        &workers as &[Option<String>],
        &reasons as &[Option<String>],
        &messages as &[Option<String>],
        &codes as &[Option<String>],
        &not_before as &[Option<DateTime<Utc>>],
        &updated,
        &finished as &[Option<DateTime<Utc>>],
    )
    .execute(tx)
    .await?;
    match usize::try_from(done.rows_affected()) {
        Ok(rows) if rows == changes.len() => Ok(()),
        _ => Err(sqlx::Error::Protocol(
            "a locked task was changed by someone else".to_owned(),
        )),
    }
}

async fn insert_leases(
    tx: &mut PgConnection,
    rules: &Rules,
    ids: &[Uuid],
) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into leases (task_id, tenant_id, attempt, worker, expires_at, deadline)
         select id, tenant_id, attempt, worker,
                least(clock_timestamp() + make_interval(secs => $2), deadline), deadline
         from (select *, clock_timestamp() + attempt_timeout_ms * interval '1 millisecond' as deadline
               from tasks where id = any($1)) started",
        ids,
        seconds(rules.lease),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Locks in the order of ids, as the heartbeat does.
async fn delete_leases(tx: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "delete from leases where task_id = any($1) and task_id in
             (select task_id from leases where task_id = any($1) order by task_id for update)",
        ids,
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn delete_releases(tx: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!("delete from outbox where task_id = any($1)", ids)
        .execute(tx)
        .await?;
    Ok(())
}

/// Gives what the broker has confirmed its time until the claim.
async fn extend_releases(
    tx: &mut PgConnection,
    rules: &Rules,
    ids: &[Uuid],
) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    // Only what is released has a message. Asked for by its phase, all that is released would be read.
    sqlx::query!(
        "update outbox set due_at = clock_timestamp() + make_interval(secs => $2)
         where task_id = any($1) and message_id is not null",
        ids,
        seconds(rules.schedule_to_start),
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn schedule_releases(tx: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into outbox (task_id, tenant_id, type, priority, phase, due_at)
         select id, tenant_id, type, priority, 'waiting', coalesce(not_before, clock_timestamp())
         from tasks where id = any($1)
         on conflict (task_id) do update
         set phase = excluded.phase, due_at = excluded.due_at, message_id = null",
        ids,
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn insert_dead_letters(tx: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into dead_letters (task_id, tenant_id, type, attempts, reason, message, parked_at)
         select id, tenant_id, type, attempt, coalesce(error_reason, ''),
                coalesce(error_message, ''), updated_at
         from tasks where id = any($1)",
        ids,
    )
    .execute(tx)
    .await?;
    Ok(())
}
