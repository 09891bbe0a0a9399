//! Reading tasks and their events, always within one tenant.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};
use sutazai_persistence::DatabaseError;
use sutazai_proto::ids::TaskId;
use uuid::Uuid;

use super::{
    Store, View,
    rows::{EventRow, decoded, milliseconds, payload, task_of},
};
use crate::credit::TaskType;
use crate::task::{Recorded, State, Task, TypeName};

/// Events of one batch; a long history is read in several.
const EVENTS: i64 = 500;

/// What a list shows.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) states: Vec<State>,
    pub(crate) task_type: Option<TypeName>,
    /// Show what comes after this place.
    pub(crate) after: Option<Place>,
    pub(crate) limit: u32,
}

/// Where a task stands in the list, which begins with the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) id: TaskId,
}

impl Store {
    pub(crate) async fn get(
        &self,
        tenant: &str,
        id: TaskId,
    ) -> Result<Option<View>, DatabaseError> {
        let views = self
            .db
            .run("task.get", async {
                let mut connection = self.db.pool().acquire().await?;
                views(&mut connection, tenant, &[id.as_uuid()]).await
            })
            .await?;
        Ok(views.into_iter().next())
    }

    /// Lists tasks, newest first.
    pub(crate) async fn list(&self, tenant: &str, page: &Page) -> Result<Vec<Task>, DatabaseError> {
        self.db
            .run("task.list", async {
                let mut connection = self.db.pool().acquire().await?;
                let ids = list_ids(&mut connection, tenant, page).await?;
                let mut tasks: HashMap<TaskId, Task> = tasks(&mut connection, tenant, &ids)
                    .await?
                    .into_iter()
                    .map(|task| (task.id, task))
                    .collect();
                Ok(ids
                    .into_iter()
                    .filter_map(|id| tasks.remove(&id.into()))
                    .collect())
            })
            .await
    }

    /// Returns a batch of events after `sequence`, oldest first.
    pub(crate) async fn events(
        &self,
        tenant: &str,
        id: TaskId,
        sequence: u64,
    ) -> Result<Vec<Recorded>, DatabaseError> {
        // Nothing has a sequence beyond what the column can hold.
        let after = i64::try_from(sequence).unwrap_or(i64::MAX);
        self.db
            .run("task.events", async {
                let rows = sqlx::query_as!(
                    EventRow,
                    "select sequence, kind, at, attempt, state, data, payload, content_type
                     from task_events
                     where task_id = $1 and tenant_id = $2 and sequence > $3
                     order by sequence limit $4",
                    id.as_uuid(),
                    tenant,
                    after,
                    EVENTS,
                )
                .fetch_all(self.db.pool())
                .await?;
                rows.into_iter().map(Recorded::try_from).collect()
            })
            .await
    }

    /// Lists what workers have brought, for every tenant.
    pub(crate) async fn task_types(&self) -> Result<Vec<TaskType>, DatabaseError> {
        self.db
            .run("task.types", async {
                let rows = sqlx::query!(
                    "select name, effect_mode, max_attempts, attempt_timeout_ms
                     from task_types order by name",
                )
                .fetch_all(self.db.pool())
                .await?;
                rows.into_iter()
                    .map(|row| {
                        Ok(TaskType {
                            name: decoded(row.name.parse())?,
                            effect_mode: decoded(row.effect_mode.parse())?,
                            max_attempts: decoded(row.max_attempts.try_into())?,
                            attempt_timeout: milliseconds(row.attempt_timeout_ms)?,
                        })
                    })
                    .collect()
            })
            .await
    }
}

/// Reads tasks of a tenant with their payloads, in any order.
pub(super) async fn views(
    connection: &mut PgConnection,
    tenant: &str,
    ids: &[Uuid],
) -> Result<Vec<View>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select t.id, t.tenant_id, t.subject, t.roles, t.scopes,
                  t.trace as "trace: Json<BTreeMap<String, String>>", t.type as task_type,
                  t.priority, t.max_attempts, t.effect_mode, t.attempt_timeout_ms, t.expires_at,
                  t.state, t.attempt, t.released, t.cancel_requested, t.worker, t.error_reason,
                  t.error_message, t.error_code, t.not_before, t.created_at, t.updated_at,
                  t.finished_at, t.sequence,
                  first.payload as "input?", first.content_type as "input_type?",
                  last.payload as "result?", last.content_type as "result_type?"
           from tasks t
           left join lateral (
               select payload, content_type from task_events
               where task_id = t.id and sequence = 1 limit 1
           ) first on true
           left join lateral (
               select payload, content_type from task_events
               where task_id = t.id and sequence = t.sequence and t.state = 'succeeded' limit 1
           ) last on true
           where t.id = any($1) and t.tenant_id = $2"#,
        ids,
        tenant,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(View {
                input: payload(row.input, row.input_type).unwrap_or_default(),
                result: payload(row.result, row.result_type),
                task: task_of!(row),
            })
        })
        .collect()
}

/// Reads tasks of a tenant, in any order. Their payloads stay where they are: a page of them may be a hundred
/// times as large as all else.
async fn tasks(
    connection: &mut PgConnection,
    tenant: &str,
    ids: &[Uuid],
) -> Result<Vec<Task>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select id, tenant_id, subject, roles, scopes,
                  trace as "trace: Json<BTreeMap<String, String>>", type as task_type, priority,
                  max_attempts, effect_mode, attempt_timeout_ms, expires_at, state, attempt,
                  released, cancel_requested, worker, error_reason, error_message, error_code,
                  not_before, created_at, updated_at, finished_at, sequence
           from tasks where id = any($1) and tenant_id = $2"#,
        ids,
        tenant,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok(task_of!(row))).collect()
}

/// Walks one index range per state, so that no filter makes a list slow.
async fn list_ids(
    connection: &mut PgConnection,
    tenant: &str,
    page: &Page,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let states = match page.states.as_slice() {
        [] => State::ALL,
        some => some,
    };
    let states: Vec<String> = states.iter().map(State::to_string).collect();
    let before = page.after.map(|place| place.created_at);
    let before_id = page.after.map(|place| place.id.as_uuid());
    let limit = i64::from(page.limit);
    match &page.task_type {
        None => {
            sqlx::query_scalar!(
                r#"select t.id from unnest($2::text[]) wanted (state)
                   cross join lateral (
                       select id, created_at from tasks
                       where tenant_id = $1 and state = wanted.state
                         and (created_at, id) < (coalesce($3, timestamptz 'infinity'),
                                                 coalesce($4, uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
                       order by created_at desc, id desc limit $5
                   ) t
                   order by t.created_at desc, t.id desc limit $5"#,
                tenant,
                &states,
                before,
                before_id,
                limit,
            )
            .fetch_all(connection)
            .await
        }
        Some(task_type) => {
            sqlx::query_scalar!(
                r#"select t.id from unnest($2::text[]) wanted (state)
                   cross join lateral (
                       select id, created_at from tasks
                       where tenant_id = $1 and type = $6 and state = wanted.state
                         and (created_at, id) < (coalesce($3, timestamptz 'infinity'),
                                                 coalesce($4, uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
                       order by created_at desc, id desc limit $5
                   ) t
                   order by t.created_at desc, t.id desc limit $5"#,
                tenant,
                &states,
                before,
                before_id,
                limit,
                task_type.as_str(),
            )
            .fetch_all(connection)
            .await
        }
    }
}
