//! Rows to domain values.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::error::BoxDynError;

use crate::task::{Event, Failure, Payload, Recorded};

/// Turns what can not be read into the error for a row that the program does not understand.
pub(super) fn decoded<T, E: Into<BoxDynError>>(result: Result<T, E>) -> Result<T, sqlx::Error> {
    result.map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Makes a [`Task`](crate::task::Task) of any row that has the columns of table `tasks`.
macro_rules! task_of {
    ($row:expr) => {
        $crate::task::Task {
            id: $row.id.into(),
            spec: std::sync::Arc::new($crate::task::Spec {
                tenant: $row.tenant_id,
                subject: $row.subject,
                roles: $row.roles,
                scopes: $row.scopes,
                trace: $row.trace.0,
                task_type: $crate::store::rows::decoded($row.task_type.parse())?,
                priority: $crate::store::rows::decoded($row.priority.try_into())?,
                max_attempts: $crate::store::rows::decoded($row.max_attempts.try_into())?,
                effect_mode: $crate::store::rows::decoded($row.effect_mode.parse())?,
                attempt_timeout: $crate::store::rows::milliseconds($row.attempt_timeout_ms)?,
                expires_at: $row.expires_at,
            }),
            state: $crate::store::rows::decoded($row.state.parse())?,
            attempt: $crate::store::rows::decoded($row.attempt.try_into())?,
            released: $row.released,
            cancel_requested: $row.cancel_requested,
            worker: $row.worker,
            error: $crate::store::rows::failure(
                $row.error_code,
                $row.error_reason,
                $row.error_message,
            )?,
            not_before: $row.not_before,
            created_at: $row.created_at,
            updated_at: $row.updated_at,
            finished_at: $row.finished_at,
            sequence: $crate::store::rows::decoded($row.sequence.try_into())?,
        }
    };
}
pub(super) use task_of;

pub(super) fn milliseconds(count: i64) -> Result<std::time::Duration, sqlx::Error> {
    decoded(count.try_into()).map(std::time::Duration::from_millis)
}

pub(super) fn failure(
    code: Option<String>,
    reason: Option<String>,
    message: Option<String>,
) -> Result<Option<Failure>, sqlx::Error> {
    let (Some(code), Some(reason), Some(message)) = (code, reason, message) else {
        return Ok(None);
    };
    Ok(Some(Failure::new(
        decoded(code.parse())?,
        &reason,
        &message,
    )))
}

pub(super) fn payload(data: Option<Vec<u8>>, content_type: Option<String>) -> Option<Payload> {
    Some(Payload {
        data: Bytes::from(data?),
        content_type: content_type?,
    })
}

/// A row of table `task_events`.
pub(super) struct EventRow {
    pub(super) sequence: i64,
    pub(super) kind: String,
    pub(super) at: DateTime<Utc>,
    pub(super) attempt: i32,
    pub(super) state: String,
    pub(super) data: Option<Value>,
    pub(super) payload: Option<Vec<u8>>,
    pub(super) content_type: Option<String>,
}

impl EventRow {
    /// Takes an event apart: its kind and its data.
    pub(super) fn split(event: &Event) -> Result<(String, Option<Value>), sqlx::Error> {
        let mut value = decoded(serde_json::to_value(event))?;
        let kind = value["kind"].as_str().unwrap_or_default().to_owned();
        Ok((kind, value.get_mut("data").map(Value::take)))
    }
}

impl TryFrom<EventRow> for Recorded {
    type Error = sqlx::Error;

    fn try_from(row: EventRow) -> Result<Self, sqlx::Error> {
        let whole = match row.data {
            Some(data) => json!({ "kind": row.kind, "data": data }),
            None => json!({ "kind": row.kind }),
        };
        let mut event: Event = decoded(serde_json::from_value(whole))?;
        if let Some(payload) = payload(row.payload, row.content_type) {
            event.set_payload(payload);
        }
        Ok(Self {
            sequence: decoded(row.sequence.try_into())?,
            at: row.at,
            attempt: decoded(row.attempt.try_into())?,
            state: decoded(row.state.parse())?,
            event,
        })
    }
}
