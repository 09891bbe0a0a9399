//! `/api/v1/tasks/{id}/events`: a task as it happens.

use std::time::Duration;

use axum::{
    extract::State,
    response::{Response, sse::Event},
};
use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt, stream};
use http::HeaderMap;
use serde::Serialize;
use serde_json::value::RawValue;
use sutazai_auth::http::Authenticated;
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::{
    Coded, ErrorCode, RemoteError,
    ids::TaskId,
    tasks::v1::{
        TaskEvent, TaskEventKind, TaskProgressReport, WatchTaskRequest, WatchTaskResponse,
        tasks_client::TasksClient, watch_task_response::Item,
    },
};
use sutazai_resilience::Deadline;
use tonic::Streaming;

use super::{
    Access,
    body::{TaskFault, TaskStateName, json},
};
use crate::{
    error::Error,
    http::{
        input::{InputError, params::Params, path::Id},
        problem::{Failure, Occurrence},
        sse,
        time::instant,
    },
};

/// Longest time of one connection; a client goes on with `Last-Event-ID`.
const CONNECTION: Duration = Duration::from_secs(30 * 60);
/// Longest wait for its beginning.
const OPENING: Duration = Duration::from_secs(10);
const LAST_EVENT_ID: &str = "last-event-id";

/// Data of an event that the task's history holds.
#[derive(Debug, Serialize)]
struct HistoryEvent {
    task_id: String,
    sequence: u64,
    kind: &'static str,
    at: Option<DateTime<Utc>>,
    attempt: u32,
    state: TaskStateName,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<TaskFault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
}

/// Data of a `progress` event, which no history holds.
#[derive(Debug, Serialize)]
struct ProgressEvent {
    attempt: u32,
    data: Option<Box<RawValue>>,
}

/// Streams the events of a task as server-sent events and ends after the terminal one.
///
/// Each event of the history has its sequence as `id`, its kind as `event` and JSON as `data`; a
/// client that comes back with `Last-Event-ID` gets what it missed. `progress` events have no `id`
/// and may be lost.
#[utoipa::path(
    get,
    path = "/api/v1/tasks/{id}/events",
    operation_id = "watch_task",
    tag = "tasks",
    params(
        ("id" = String, Path, description = "Id of the task"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Sequence of the last event seen"),
        ("last_event_id" = Option<u64>, Query, description = "The same, for clients without headers"),
    ),
    responses(
        (
            status = 200,
            description = "The events from there on",
            content_type = "text/event-stream",
            body = String,
        ),
        (status = 404, description = "The tenant has no such task"),
    ),
)]
pub(in crate::http) async fn events(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
    occurrence: Occurrence,
    Id(id): Id<TaskId>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Failure> {
    let parameter = params.take("last_event_id")?;
    params.finish()?;
    let request = WatchTaskRequest {
        id: id.to_string(),
        after_sequence: last_event_id(&headers)?.or(parameter).unwrap_or(0),
    };
    let deadline = Deadline::after(CONNECTION);
    let to = ServiceName::TaskCoordinator;
    let opening = access.peers.call_within(
        deadline,
        to,
        &principal,
        request,
        async |channel, request| TasksClient::new(channel).watch_task(request).await,
    );
    let stream = Deadline::after(OPENING).run(opening).await;
    let stream = stream.map_err(|_| Error::DeadlineExceeded)??;
    let events = follow(stream, deadline).take_until(access.stopping.cancelled_owned());
    Ok(sse::answer(occurrence, events))
}

/// Reads the header that browsers send when they reconnect; empty is the same as absent.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, InputError> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let sequence = value.to_str().ok().and_then(|text| text.parse().ok());
    sequence
        .map(Some)
        .ok_or_else(|| InputError::invalid("Last-Event-ID", "the `id` of an event of this task"))
}

/// Ends regularly after the terminal event, and when the connection's time is over: the client goes
/// on from its last event then.
fn follow(
    stream: Streaming<WatchTaskResponse>,
    deadline: Deadline,
) -> impl Stream<Item = Result<Event, RemoteError>> {
    stream::unfold(Some(stream), move |stream| async move {
        let mut stream = stream?;
        loop {
            match deadline
                .run(stream.message())
                .await
                .ok()?
                .map_err(RemoteError::from)
            {
                Ok(Some(message)) => {
                    // Absent in an item that this version does not know.
                    if let Some(item) = message.item {
                        return Some((Ok(render(item)), Some(stream)));
                    }
                }
                Ok(None) => return None,
                Err(error) if error.code() == ErrorCode::DeadlineExceeded => return None,
                Err(error) => return Some((Err(error), None)),
            }
        }
    })
}

fn render(item: Item) -> Event {
    match item {
        Item::Event(event) => {
            let data = HistoryEvent::from(event);
            sse::event(data.kind, &data).id(data.sequence.to_string())
        }
        Item::Progress(TaskProgressReport { attempt, data }) => sse::event(
            "progress",
            &ProgressEvent {
                attempt,
                data: data.and_then(json),
            },
        ),
    }
}

impl From<TaskEvent> for HistoryEvent {
    fn from(event: TaskEvent) -> Self {
        Self {
            kind: kind(event.kind()),
            state: event.state().into(),
            task_id: event.task_id,
            sequence: event.sequence,
            at: instant(event.at),
            attempt: event.attempt,
            error: event.error.map(TaskFault::from),
            retry_at: instant(event.retry_at),
            worker: Some(event.worker).filter(|worker| !worker.is_empty()),
        }
    }
}

fn kind(kind: TaskEventKind) -> &'static str {
    match kind {
        TaskEventKind::Unspecified => "unknown",
        TaskEventKind::Created => "created",
        TaskEventKind::Released => "released",
        TaskEventKind::Started => "started",
        TaskEventKind::AttemptFailed => "attempt_failed",
        TaskEventKind::CancelRequested => "cancel_requested",
        TaskEventKind::Succeeded => "succeeded",
        TaskEventKind::Failed => "failed",
        TaskEventKind::Cancelled => "cancelled",
        TaskEventKind::Interrupted => "interrupted",
        TaskEventKind::Expired => "expired",
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn header(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(LAST_EVENT_ID),
            HeaderValue::from_static(value),
        )])
    }

    #[test]
    fn the_last_event_id_is_a_sequence() {
        assert_eq!(last_event_id(&HeaderMap::new()).unwrap(), None);
        assert_eq!(last_event_id(&header("")).unwrap(), None);
        assert_eq!(last_event_id(&header("7")).unwrap(), Some(7));
        for value in ["-1", "x", "7, 8", "18446744073709551616"] {
            assert!(last_event_id(&header(value)).is_err(), "{value}");
        }
    }

    #[test]
    fn every_kind_of_the_wire_has_a_name() {
        for number in 1..=10 {
            let event = TaskEventKind::try_from(number).unwrap();
            let expected = event.as_str_name().trim_start_matches("TASK_EVENT_KIND_");
            assert_eq!(kind(event), expected.to_lowercase());
        }
    }
}
