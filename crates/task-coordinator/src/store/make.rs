//! Making tasks: rows, first events and outbox rows, for all that arrive together in one statement.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};
use sutazai_persistence::DatabaseError;

use super::{
    Store, View,
    rows::{EventRow, decoded, milliseconds},
    submit::Submitted,
};
use crate::credit::TaskType;
use crate::submission::Submission;
use crate::task::{Change, Task, TypeName};

impl Store {
    /// Stores tasks that need no key and no answer, all or none; answers in the given order.
    pub(crate) async fn submit_all(
        &self,
        submissions: &[Submission],
    ) -> Result<Vec<Submitted>, DatabaseError> {
        self.submissions
            .run("task.create", async {
                // One statement writes it all, and is a transaction by itself: two ways to the server less.
                let mut connection = self.db.pool().acquire().await?;
                make(&mut connection, submissions).await
            })
            .await
    }
}

/// Makes each task whose type there is; answers in the given order.
pub(super) async fn make(
    connection: &mut PgConnection,
    submissions: &[Submission],
) -> Result<Vec<Submitted>, sqlx::Error> {
    let types = find_types(connection, submissions).await?;
    let found = |submission: &Submission| types.get(&submission.task_type);
    let known = if submissions
        .iter()
        .all(|submission| found(submission).is_some())
    {
        Vec::new()
    } else {
        sqlx::query_scalar!("select name from task_types order by name")
            .fetch_all(&mut *connection)
            .await?
    };
    let mut changes = Vec::with_capacity(submissions.len());
    let submitted = submissions.iter().map(|submission| {
        let Some((task_type, now)) = found(submission) else {
            return Submitted::UnknownType {
                name: submission.task_type.clone(),
                known: known.clone(),
            };
        };
        let (spec, input) = (submission.spec(task_type, *now), submission.input.clone());
        let change = Task::create(submission.id, spec, input.clone(), *now);
        let task = change.task().clone();
        changes.push(change);
        Submitted::Made(View {
            task,
            input,
            result: None,
        })
    });
    let submitted = submitted.collect();
    if !changes.is_empty() {
        insert_tasks(connection, &changes).await?;
    }
    Ok(submitted)
}

/// Returns those of the types asked for that there are, each with the time when it was found.
async fn find_types(
    connection: &mut PgConnection,
    submissions: &[Submission],
) -> Result<HashMap<String, (TaskType, DateTime<Utc>)>, sqlx::Error> {
    let mut names: Vec<String> = submissions
        .iter()
        // Not every name that may be asked for is a text of the database.
        .filter(|submission| submission.task_type.parse::<TypeName>().is_ok())
        .map(|submission| submission.task_type.clone())
        .collect();
    names.sort_unstable();
    names.dedup();
    let rows = sqlx::query!(
        r#"select name, effect_mode, max_attempts, attempt_timeout_ms, clock_timestamp() as "now!"
           from task_types where name = any($1)"#,
        &names,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let task_type = TaskType {
                name: decoded(row.name.parse())?,
                effect_mode: decoded(row.effect_mode.parse())?,
                max_attempts: decoded(row.max_attempts.try_into())?,
                attempt_timeout: milliseconds(row.attempt_timeout_ms)?,
            };
            Ok((row.name, (task_type, row.now)))
        })
        .collect()
}

/// Writes new tasks, their first events and their outbox rows in one statement: every submission waits
/// for each way to the server.
async fn insert_tasks(tx: &mut PgConnection, changes: &[Change]) -> Result<(), sqlx::Error> {
    let (mut ids, mut tenants, mut subjects) = (vec![], vec![], vec![]);
    let (mut roles, mut scopes, mut traces) = (vec![], vec![], vec![]);
    let (mut types, mut priorities, mut attempts, mut modes) = (vec![], vec![], vec![], vec![]);
    let (mut timeouts, mut expiries, mut states) = (vec![], vec![], vec![]);
    let (mut times, mut kinds, mut data) = (vec![], vec![], vec![]);
    let (mut inputs, mut content_types) = (vec![], vec![]);
    for change in changes {
        let task = change.task();
        let spec = &*task.spec;
        let Some(created) = change.last() else {
            let message = "a new task without its first event".to_owned();
            return Err(sqlx::Error::Protocol(message));
        };
        let (kind, rest) = EventRow::split(created)?;
        let input = created.payload();
        ids.push(task.id.as_uuid());
        tenants.push(spec.tenant.as_str());
        subjects.push(spec.subject.as_str());
        roles.push(Json(&spec.roles));
        scopes.push(Json(&spec.scopes));
        traces.push(Json(&spec.trace));
        types.push(spec.task_type.as_str());
        priorities.push(i16::from(spec.priority));
        attempts.push(decoded(i32::try_from(spec.max_attempts))?);
        modes.push(spec.effect_mode.as_str());
        timeouts.push(decoded(i64::try_from(spec.attempt_timeout.as_millis()))?);
        expiries.push(spec.expires_at);
        states.push(task.state.as_str());
        times.push(task.created_at);
        kinds.push(kind);
        data.push(rest);
        inputs.push(input.map(|input| &input.data[..]));
        content_types.push(input.map(|input| input.content_type.as_str()));
    }
    // An array of arrays would lose where one ends: lists of texts travel as JSON.
    sqlx::query!(
        "with asked as (
             select * from unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::jsonb[],
                                  $6::jsonb[], $7::text[], $8::smallint[], $9::integer[],
                                  $10::text[], $11::bigint[], $12::timestamptz[], $13::text[],
                                  $14::timestamptz[], $15::text[], $16::jsonb[], $17::bytea[],
                                  $18::text[])
                  as u (id, tenant_id, subject, roles, scopes, trace, type, priority, max_attempts,
                        effect_mode, attempt_timeout_ms, expires_at, state, created_at, kind, data,
                        payload, content_type)
         ), made as (
             insert into tasks (id, tenant_id, subject, roles, scopes, trace, type, priority,
                                max_attempts, effect_mode, attempt_timeout_ms, expires_at, state,
                                attempt, released, cancel_requested, created_at, updated_at,
                                sequence)
             select id, tenant_id, subject, array(select jsonb_array_elements_text(roles)),
                    array(select jsonb_array_elements_text(scopes)), trace, type, priority,
                    max_attempts, effect_mode, attempt_timeout_ms, expires_at, state, 0, false,
                    false, created_at, created_at, 1
             from asked
         ), created as (
             insert into task_events (task_id, tenant_id, sequence, kind, at, attempt, state, data,
                                      payload, content_type)
             select id, tenant_id, 1, kind, created_at, 0, state, data, payload, content_type
             from asked
         )
         insert into outbox (task_id, tenant_id, type, priority, phase, due_at)
         select id, tenant_id, type, priority, 'ready', created_at from asked",
        &ids,
        &tenants as &[&str],
        &subjects as &[&str],
        &roles as &[Json<&Vec<String>>],
        &scopes as &[Json<&Vec<String>>],
        &traces as &[Json<&BTreeMap<String, String>>],
        &types as &[&str],
        &priorities,
        &attempts,
        &modes as &[&str],
        &timeouts,
        &expiries as &[Option<DateTime<Utc>>],
        &states as &[&str],
        &times,
        &kinds,
        &data as &[Option<serde_json::Value>],
        &inputs as &[Option<&[u8]>],
        &content_types as &[Option<&str>],
    )
    .execute(tx)
    .await
    .map(drop)
}
