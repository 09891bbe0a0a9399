//! `/api/v1/tasks`: durable work, submitted and followed.

mod body;
pub(super) mod dead_letters;
mod events;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use sutazai_auth::http::Authenticated;
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::{
    ids::TaskId,
    platform::v1::PageRequest,
    tasks::v1::{
        CancelTaskRequest, GetTaskRequest, ListTaskTypesRequest, ListTasksRequest,
        tasks_client::TasksClient,
    },
};

use self::body::{NewTask, TaskAnswer, TaskStateName, TaskTypeItem};
pub(super) use self::events::{__path_events, events};
use super::{
    input::{idempotency::IdempotencyKey, json::Json, params::Params, path::Id},
    page::{Page, PageQuery},
    problem::Failure,
};
use tokio_util::sync::CancellationToken;

use crate::{cursor::Cursors, error::Error, peers::Peers};

const PATH: &str = "/api/v1/tasks";
/// Says that an earlier request with the same key created the task.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What the handlers need.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) peers: Peers,
    pub(super) cursors: Cursors,
    /// Ends event streams when the process begins to stop; clients go on elsewhere.
    pub(super) stopping: CancellationToken,
}

/// Submits a task.
///
/// The task is stored when this answers; it runs as soon as a worker has a free slot. A request with
/// an `Idempotency-Key` may be repeated: the first one counts, later ones get the same task.
#[utoipa::path(
    post,
    path = "/api/v1/tasks",
    operation_id = "create_task",
    tag = "tasks",
    params((
        "Idempotency-Key" = Option<String>,
        Header,
        description = "At most 255 visible ASCII characters, as a structured field string or bare",
    )),
    request_body = NewTask,
    responses(
        (
            status = 202,
            description = "The task is stored",
            body = TaskAnswer,
            headers(
                ("Location" = String, description = "Where the task is"),
                ("Idempotency-Replayed" = Option<String>, description = "`true` for a repetition"),
            ),
        ),
        (status = 409, description = "A request with the same key is in flight"),
        (status = 413, description = "The input is larger than 64 KiB"),
        (status = 422, description = "The type is unknown, or the key belongs to another request"),
    ),
)]
pub(super) async fn create(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
    key: IdempotencyKey,
    Json(body): Json<NewTask, { body::MAX_BODY }>,
) -> Result<Response, Failure> {
    let request = body.read(key)?;
    let answer = access
        .peers
        .call(
            ServiceName::TaskCoordinator,
            &principal,
            request,
            async |channel, request| TasksClient::new(channel).create_task(request).await,
        )
        .await?;
    let task = TaskAnswer::from(answer.task.ok_or(Error::IncompleteAnswer)?);
    let location = HeaderValue::try_from(format!("{PATH}/{}", task.id)).ok();
    let mut response = (StatusCode::ACCEPTED, axum::Json(task)).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if answer.replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Lists the tenant's tasks, newest first; inputs and results are left out.
#[utoipa::path(
    get,
    path = "/api/v1/tasks",
    operation_id = "list_tasks",
    tag = "tasks",
    params(
        ("state" = Option<Vec<TaskStateName>>, Query, description = "Only these states; repeatable"),
        ("type" = Option<String>, Query, description = "Only this task type"),
        ("limit" = Option<u32>, Query, description = "Items of the page, 1 to 100; 20 by default"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of an earlier page"),
    ),
    responses((
        status = 200,
        description = "A page of tasks; `Link` leads to the next one",
        body = Page<TaskAnswer>,
    )),
)]
pub(super) async fn list(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
    mut params: Params,
) -> Result<Response, Failure> {
    let states: Vec<TaskStateName> = params.take_all("state")?;
    let kind: Option<body::TypeName> = params.take("type")?;
    let query = PageQuery::take(&mut params)?;
    params.finish()?;
    let mut filters: Vec<_> = states
        .iter()
        .map(|state| ("state", state.as_str()))
        .collect();
    filters.extend(kind.as_ref().map(|kind| ("type", kind.as_str())));
    let mut scope = vec![principal.tenant.as_str(), PATH];
    scope.extend(filters.iter().flat_map(|(name, value)| [*name, *value]));
    let cursor = query
        .cursor
        .map(|cursor| access.cursors.open(&scope, &cursor))
        .transpose()?;
    let request = ListTasksRequest {
        page: Some(PageRequest {
            limit: query.limit,
            cursor: cursor.unwrap_or_default(),
        }),
        states: states.iter().map(|state| state.to_wire().into()).collect(),
        r#type: kind
            .as_ref()
            .map_or_else(String::new, |kind| kind.as_str().to_owned()),
    };
    let found = access
        .peers
        .call(
            ServiceName::TaskCoordinator,
            &principal,
            request,
            async |channel, request| TasksClient::new(channel).list_tasks(request).await,
        )
        .await?;
    let next = found
        .page
        .map(|page| page.next_cursor)
        .filter(|cursor| !cursor.is_empty());
    let page = Page {
        items: found.tasks.into_iter().map(TaskAnswer::from).collect(),
        next_cursor: next.map(|cursor| access.cursors.seal(&scope, &cursor)),
    };
    Ok(page.answer(PATH, query.limit, &filters))
}

/// Returns a task with its input and, once it succeeded, its result.
#[utoipa::path(
    get,
    path = "/api/v1/tasks/{id}",
    operation_id = "get_task",
    tag = "tasks",
    params(("id" = String, Path, description = "Id of the task")),
    responses(
        (status = 200, description = "The task", body = TaskAnswer),
        (status = 404, description = "The tenant has no such task"),
    ),
)]
pub(super) async fn get(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
    Id(id): Id<TaskId>,
) -> Result<axum::Json<TaskAnswer>, Failure> {
    let request = GetTaskRequest { id: id.to_string() };
    let task = access
        .peers
        .call(
            ServiceName::TaskCoordinator,
            &principal,
            request,
            async |channel, request| TasksClient::new(channel).get_task(request).await,
        )
        .await?;
    Ok(axum::Json(task.into()))
}

/// Asks for the end of a task.
///
/// A queued task is cancelled at once, a running one when its worker stops; a finished one stays as
/// it is. Asking again changes nothing.
#[utoipa::path(
    post,
    path = "/api/v1/tasks/{id}/cancel",
    operation_id = "cancel_task",
    tag = "tasks",
    params(("id" = String, Path, description = "Id of the task")),
    responses(
        (status = 200, description = "The task as it is now", body = TaskAnswer),
        (status = 404, description = "The tenant has no such task"),
    ),
)]
pub(super) async fn cancel(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
    Id(id): Id<TaskId>,
) -> Result<axum::Json<TaskAnswer>, Failure> {
    let request = CancelTaskRequest { id: id.to_string() };
    let task = access
        .peers
        .call(
            ServiceName::TaskCoordinator,
            &principal,
            request,
            async |channel, request| TasksClient::new(channel).cancel_task(request).await,
        )
        .await?;
    Ok(axum::Json(task.into()))
}

/// Lists the task types that workers have brought.
#[utoipa::path(
    get,
    path = "/api/v1/tasks/types",
    operation_id = "list_task_types",
    tag = "tasks",
    responses((status = 200, description = "The task types", body = Page<TaskTypeItem>)),
)]
pub(super) async fn types(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
) -> Result<axum::Json<Page<TaskTypeItem>>, Failure> {
    let found = access
        .peers
        .call(
            ServiceName::TaskCoordinator,
            &principal,
            ListTaskTypesRequest {},
            async |channel, request| TasksClient::new(channel).list_task_types(request).await,
        )
        .await?;
    let items = found
        .task_types
        .into_iter()
        .map(TaskTypeItem::from)
        .collect();
    Ok(axum::Json(Page {
        items,
        next_cursor: None,
    }))
}
