//! What `/api/v1/tasks` reads and writes.

use std::str::FromStr;

use axum::body::Bytes;
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sutazai_proto::tasks::v1::{
    CreateTaskRequest, EffectMode, Payload, Task, TaskError, TaskState, TaskType,
};
use utoipa::ToSchema;

use crate::http::{
    input::{InputError, idempotency::IdempotencyKey},
    time::instant,
};

/// Largest input in bytes, as it was sent.
const MAX_INPUT: usize = 64 * 1024;
/// Largest body: the input and what stands around it.
pub(super) const MAX_BODY: usize = MAX_INPUT + 4 * 1024;
/// Longest life that a submission may ask for: 30 days.
const MAX_EXPIRY_SECONDS: u32 = 30 * 24 * 3600;
/// Most attempts that a submission may ask for.
const MAX_ATTEMPTS: u32 = 20;
const JSON: &str = "application/json";

/// A task to submit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "type": "llm.generate", "input": { "prompt": "hello" } }))]
pub(crate) struct NewTask {
    /// Task type, for example `llm.generate`.
    #[serde(rename = "type")]
    kind: String,
    /// What the type's worker reads; any JSON of at most 64 KiB, handed on byte for byte.
    #[schema(value_type = serde_json::Value)]
    input: Box<RawValue>,
    /// 0 (background) to 9 (first); 5 by default.
    #[schema(minimum = 0, maximum = 9)]
    priority: Option<u32>,
    /// Attempts before the task is parked; the type's own number by default.
    #[schema(minimum = 1, maximum = 20)]
    max_attempts: Option<u32>,
    /// Seconds after which the task expires unless finished; never by default.
    #[schema(minimum = 1, maximum = 2_592_000)]
    expires_in_seconds: Option<u32>,
}

/// A task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskAnswer {
    #[schema(format = "uuid")]
    pub(super) id: String,
    #[serde(rename = "type")]
    kind: String,
    state: TaskStateName,
    priority: u32,
    /// Attempts begun so far.
    attempt: u32,
    max_attempts: u32,
    effect_mode: EffectModeName,
    /// As it was submitted; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    input: Option<Box<RawValue>>,
    /// Once the task succeeded; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
    /// Why the newest attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<TaskFault>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    /// Once the task ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<DateTime<Utc>>,
    /// When the next attempt may start, while a retry waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<DateTime<Utc>>,
    /// When the task expires unless finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    cancel_requested: bool,
    /// Who submitted the task.
    subject: String,
    /// Instance that runs the attempt, while one runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
}

/// Why an attempt failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskFault {
    /// Stable snake_case name, for example `model_not_found`.
    reason: String,
    /// For people.
    message: String,
    /// Name of the closed error code, for example `UNAVAILABLE`.
    code: String,
}

/// How tasks of one type are run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskTypeItem {
    name: String,
    effect_mode: EffectModeName,
    max_attempts: u32,
    /// Longest time of one attempt.
    attempt_timeout_seconds: i64,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TaskStateName {
    /// Waits for a worker, or for the next attempt's time.
    Queued,
    /// An attempt runs.
    Running,
    /// Ended with a result.
    Succeeded,
    /// Ended with an error, or parked after its last attempt.
    Failed,
    /// Ended because that was asked for.
    Cancelled,
    /// The worker was lost, and whether it had an effect is unknown.
    Interrupted,
    /// Its time passed.
    Expired,
    /// A state that this version of the API does not know.
    Unknown,
}

/// What a crash between start and end means.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EffectModeName {
    /// May be started more than once; the effect counts once.
    Idempotent,
    /// Never launched again.
    AtMostOnce,
    /// A mode that this version of the API does not know.
    Unknown,
}

/// Dotted lower-case name of a task type.
#[derive(Debug)]
pub(crate) struct TypeName(String);

impl TypeName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TypeName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a dotted lower-case name of at most 64 characters, like `llm.generate`")
        }
    }
}

impl NewTask {
    /// Checks the bounds and makes the command.
    pub(super) fn read(self, key: IdempotencyKey) -> Result<CreateTaskRequest, InputError> {
        let kind: TypeName = self
            .kind
            .parse()
            .map_err(|rule: &str| InputError::invalid("/type", rule))?;
        if self.input.get().len() > MAX_INPUT {
            return Err(InputError::TooLarge {
                what: "the input",
                limit: MAX_INPUT,
            });
        }
        bounded("/priority", self.priority, 0, 9)?;
        bounded("/max_attempts", self.max_attempts, 1, MAX_ATTEMPTS)?;
        bounded(
            "/expires_in_seconds",
            self.expires_in_seconds,
            1,
            MAX_EXPIRY_SECONDS,
        )?;
        Ok(CreateTaskRequest {
            r#type: kind.0,
            input: Some(Payload {
                data: Bytes::copy_from_slice(self.input.get().as_bytes()),
                content_type: JSON.to_owned(),
            }),
            priority: self.priority,
            max_attempts: self.max_attempts,
            expires_in: self
                .expires_in_seconds
                .map(|seconds| prost_types::Duration {
                    seconds: seconds.into(),
                    nanos: 0,
                }),
            idempotency_key: key.0,
        })
    }
}

fn bounded(pointer: &str, value: Option<u32>, min: u32, max: u32) -> Result<(), InputError> {
    match value {
        Some(value) if !(min..=max).contains(&value) => Err(InputError::invalid(
            pointer,
            format!("between {min} and {max}"),
        )),
        _ => Ok(()),
    }
}

impl From<Task> for TaskAnswer {
    fn from(task: Task) -> Self {
        Self {
            state: task.state().into(),
            effect_mode: task.effect_mode().into(),
            id: task.id,
            kind: task.r#type,
            priority: task.priority,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            input: task.input.and_then(json),
            result: task.result.and_then(json),
            error: task.error.map(TaskFault::from),
            created_at: instant(task.created_at),
            updated_at: instant(task.updated_at),
            finished_at: instant(task.finished_at),
            not_before: instant(task.not_before),
            expires_at: instant(task.expires_at),
            cancel_requested: task.cancel_requested,
            subject: task.subject,
            worker: Some(task.worker).filter(|worker| !worker.is_empty()),
        }
    }
}

/// Shows a payload: JSON as it is, anything else as its media type and its bytes in base64.
pub(super) fn json(payload: Payload) -> Option<Box<RawValue>> {
    #[derive(Serialize)]
    struct Opaque {
        content_type: String,
        base64: String,
    }
    let Payload { data, content_type } = payload;
    if content_type == JSON {
        let text = std::str::from_utf8(&data).ok().map(str::to_owned);
        if let Some(raw) = text.and_then(|text| RawValue::from_string(text).ok()) {
            return Some(raw);
        }
    }
    to_raw_value(&Opaque {
        content_type,
        base64: STANDARD.encode(data),
    })
    .ok()
}

impl From<TaskError> for TaskFault {
    fn from(error: TaskError) -> Self {
        Self {
            reason: error.reason,
            message: error.message,
            code: error.code,
        }
    }
}

impl From<TaskType> for TaskTypeItem {
    fn from(kind: TaskType) -> Self {
        Self {
            effect_mode: kind.effect_mode().into(),
            name: kind.name,
            max_attempts: kind.max_attempts,
            attempt_timeout_seconds: kind.attempt_timeout.map_or(0, |timeout| timeout.seconds),
        }
    }
}

impl TaskStateName {
    const FILTERS: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Interrupted,
        Self::Expired,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }

    pub(super) fn to_wire(self) -> TaskState {
        match self {
            Self::Queued => TaskState::Queued,
            Self::Running => TaskState::Running,
            Self::Succeeded => TaskState::Succeeded,
            Self::Failed => TaskState::Failed,
            Self::Cancelled => TaskState::Cancelled,
            Self::Interrupted => TaskState::Interrupted,
            Self::Expired => TaskState::Expired,
            Self::Unknown => TaskState::Unspecified,
        }
    }
}

impl FromStr for TaskStateName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::FILTERS
            .into_iter()
            .find(|state| state.as_str() == text);
        known.ok_or("a task state, like `queued`")
    }
}

impl From<TaskState> for TaskStateName {
    fn from(state: TaskState) -> Self {
        let known = Self::FILTERS
            .into_iter()
            .find(|name| name.to_wire() == state);
        known.unwrap_or(Self::Unknown)
    }
}

impl From<EffectMode> for EffectModeName {
    fn from(mode: EffectMode) -> Self {
        match mode {
            EffectMode::Idempotent => Self::Idempotent,
            EffectMode::AtMostOnce => Self::AtMostOnce,
            EffectMode::Unspecified => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
