//! Domain values to messages, and messages of workers to domain values.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use sutazai_proto::ids::TaskId;
use sutazai_proto::{ErrorCode, tasks::v1};

use crate::credit::TaskType;
use crate::store::View;
use crate::task::{EffectMode, Event, Failure, Outcome, Payload, Recorded, State, Task};
use crate::watch::Item;

/// Stands for a content type that is missing or can not be one.
const OCTETS: &str = "application/octet-stream";
/// Longest content type, in bytes.
const CONTENT_TYPE_LENGTH: usize = 127;

pub(crate) fn payload(payload: Payload) -> v1::Payload {
    v1::Payload {
        data: payload.data,
        content_type: payload.content_type,
    }
}

/// Reads a payload; the sender's word on its type counts only when it can be one.
pub(crate) fn payload_of(payload: v1::Payload) -> Payload {
    let named = is_content_type(&payload.content_type);
    Payload {
        data: payload.data,
        content_type: if named {
            payload.content_type
        } else {
            OCTETS.to_owned()
        },
    }
}

pub(crate) fn is_content_type(text: &str) -> bool {
    (1..=CONTENT_TYPE_LENGTH).contains(&text.len())
        && text.contains('/')
        && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
}

pub(crate) fn effect_mode(mode: EffectMode) -> v1::EffectMode {
    match mode {
        EffectMode::Idempotent => v1::EffectMode::Idempotent,
        EffectMode::AtMostOnce => v1::EffectMode::AtMostOnce,
    }
}

pub(crate) fn duration(length: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(length.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(length.subsec_nanos()).unwrap_or_default(),
    }
}

pub(super) fn state(state: State) -> v1::TaskState {
    match state {
        State::Queued => v1::TaskState::Queued,
        State::Running => v1::TaskState::Running,
        State::Succeeded => v1::TaskState::Succeeded,
        State::Failed => v1::TaskState::Failed,
        State::Cancelled => v1::TaskState::Cancelled,
        State::Interrupted => v1::TaskState::Interrupted,
        State::Expired => v1::TaskState::Expired,
    }
}

pub(super) fn task(view: View) -> v1::Task {
    v1::Task {
        input: Some(payload(view.input)),
        result: view.result.map(payload),
        ..head(view.task)
    }
}

/// What a list shows of a task: all but its payloads.
pub(super) fn head(task: Task) -> v1::Task {
    v1::Task {
        id: task.id.to_string(),
        r#type: task.spec.task_type.to_string(),
        state: state(task.state).into(),
        priority: task.spec.priority.into(),
        attempt: task.attempt,
        max_attempts: task.spec.max_attempts,
        effect_mode: effect_mode(task.spec.effect_mode).into(),
        input: None,
        result: None,
        error: task.error.as_ref().map(error),
        created_at: Some(timestamp(task.created_at)),
        updated_at: Some(timestamp(task.updated_at)),
        finished_at: task.finished_at.map(timestamp),
        not_before: task.not_before.map(timestamp),
        cancel_requested: task.cancel_requested,
        subject: task.spec.subject.clone(),
        worker: task.worker.unwrap_or_default(),
        expires_at: task.spec.expires_at.map(timestamp),
    }
}

pub(super) fn task_type(task_type: &TaskType) -> v1::TaskType {
    v1::TaskType {
        name: task_type.name.to_string(),
        effect_mode: effect_mode(task_type.effect_mode).into(),
        max_attempts: task_type.max_attempts,
        attempt_timeout: Some(duration(task_type.attempt_timeout)),
    }
}

pub(super) fn item(task: TaskId, item: Item) -> v1::WatchTaskResponse {
    use v1::watch_task_response::Item as Wire;
    let item = match item {
        Item::Event(recorded) => Wire::Event(event(task, &recorded)),
        Item::Progress(progress) => Wire::Progress(v1::TaskProgressReport {
            attempt: progress.attempt,
            data: Some(payload(progress.data)),
        }),
    };
    v1::WatchTaskResponse { item: Some(item) }
}

fn event(task: TaskId, recorded: &Recorded) -> v1::TaskEvent {
    use v1::TaskEventKind as Kind;
    let mut wire = v1::TaskEvent {
        task_id: task.to_string(),
        sequence: recorded.sequence,
        at: Some(timestamp(recorded.at)),
        attempt: recorded.attempt,
        state: state(recorded.state).into(),
        ..v1::TaskEvent::default()
    };
    let (kind, failure) = match &recorded.event {
        Event::Created { .. } => (Kind::Created, None),
        Event::Released => (Kind::Released, None),
        Event::Started { worker, .. } => {
            wire.worker.clone_from(worker);
            (Kind::Started, None)
        }
        Event::AttemptFailed {
            error, retry_at, ..
        } => {
            wire.retry_at = Some(timestamp(*retry_at));
            (Kind::AttemptFailed, Some(error))
        }
        Event::CancelRequested => (Kind::CancelRequested, None),
        Event::Succeeded { .. } => (Kind::Succeeded, None),
        Event::Failed { error, .. } => (Kind::Failed, Some(error)),
        Event::Cancelled => (Kind::Cancelled, None),
        Event::Interrupted { error } => (Kind::Interrupted, Some(error)),
        Event::Expired { error } => (Kind::Expired, Some(error)),
    };
    wire.kind = kind.into();
    wire.error = failure.map(error);
    wire
}

/// Reads what a worker says about the end of its attempt; `None` when it says nothing.
pub(crate) fn outcome(outcome: Option<v1::task_finished::Outcome>) -> Option<Outcome> {
    use v1::task_finished::Outcome as Wire;
    Some(match outcome? {
        Wire::Succeeded(result) if result.data.len() > Payload::LIMIT => Outcome::Failed {
            error: Failure::new(
                ErrorCode::TooLarge,
                "result_too_large",
                &format!(
                    "the result has {} bytes, at most {} are kept",
                    result.data.len(),
                    Payload::LIMIT
                ),
            ),
            retryable: false,
        },
        Wire::Succeeded(result) => Outcome::Succeeded(payload_of(result)),
        Wire::Failed(failure) => {
            let error = failure.error.unwrap_or_default();
            let code = error.code.parse().unwrap_or(ErrorCode::Internal);
            Outcome::Failed {
                error: Failure::new(code, &error.reason, &error.message),
                retryable: failure.retryable,
            }
        }
        Wire::Cancelled(_) => Outcome::Cancelled,
    })
}

fn error(failure: &Failure) -> v1::TaskError {
    v1::TaskError {
        reason: failure.reason().to_owned(),
        message: failure.message().to_owned(),
        code: failure.code().to_string(),
    }
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp::from(SystemTime::from(at))
}
