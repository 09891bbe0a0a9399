//! `tasks.v1.Tasks`.

use std::{collections::BTreeMap, pin::Pin};

use futures::{Stream, StreamExt};
use sutazai_auth::Permission;
use sutazai_proto::ids::TaskId;
use sutazai_proto::platform::v1::PageInfo;
use sutazai_proto::tasks::v1::{
    CancelTaskRequest, CreateTaskRequest, CreateTaskResponse, GetTaskRequest, ListTaskTypesRequest,
    ListTaskTypesResponse, ListTasksRequest, ListTasksResponse, Task, WatchTaskRequest,
    WatchTaskResponse, tasks_server,
};
use sutazai_telemetry::propagate;
use tonic::{Request, Response, Status};

use super::{allowed, convert, list, place, refuse, submission};
use crate::error::Error;
use crate::submission::Operation;
use crate::tasks::Tasks;

pub(super) struct TasksApi(pub(super) Tasks);

#[tonic::async_trait]
impl tasks_server::Tasks for TasksApi {
    async fn create_task(
        &self,
        request: Request<CreateTaskRequest>,
    ) -> Result<Response<CreateTaskResponse>, Status> {
        let principal = allowed(&request, Permission::TasksWrite)?;
        let mut trace = BTreeMap::new();
        propagate::inject_map(&mut trace);
        let request = request.into_inner();
        let submission =
            submission::read(request, &principal, trace, Operation::CreateTask).map_err(refuse)?;
        let (view, replayed) = self.0.submit(submission).await.map_err(refuse)?;
        let task = Some(convert::task(view));
        Ok(Response::new(CreateTaskResponse { task, replayed }))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<Response<Task>, Status> {
        let principal = allowed(&request, Permission::TasksRead)?;
        let id = id(&request.into_inner().id)?;
        let view = self.0.get(&principal.tenant, id).await.map_err(refuse)?;
        Ok(Response::new(convert::task(view)))
    }

    async fn list_tasks(
        &self,
        request: Request<ListTasksRequest>,
    ) -> Result<Response<ListTasksResponse>, Status> {
        let principal = allowed(&request, Permission::TasksRead)?;
        let page = list::read(request.into_inner()).map_err(refuse)?;
        let (tasks, next) = self.0.list(&principal.tenant, page).await.map_err(refuse)?;
        let next = next.map(|place| place::cursor(place.created_at, place.id.as_uuid()));
        Ok(Response::new(ListTasksResponse {
            tasks: tasks.into_iter().map(convert::head).collect(),
            page: Some(PageInfo {
                next_cursor: next.unwrap_or_default(),
            }),
        }))
    }

    async fn cancel_task(
        &self,
        request: Request<CancelTaskRequest>,
    ) -> Result<Response<Task>, Status> {
        let principal = allowed(&request, Permission::TasksWrite)?;
        let id = id(&request.into_inner().id)?;
        let view = self.0.cancel(&principal.tenant, id).await.map_err(refuse)?;
        Ok(Response::new(convert::task(view)))
    }

    type WatchTaskStream = Pin<Box<dyn Stream<Item = Result<WatchTaskResponse, Status>> + Send>>;

    async fn watch_task(
        &self,
        request: Request<WatchTaskRequest>,
    ) -> Result<Response<Self::WatchTaskStream>, Status> {
        let principal = allowed(&request, Permission::TasksRead)?;
        let WatchTaskRequest {
            id: text,
            after_sequence,
        } = request.into_inner();
        let id = id(&text)?;
        let items = self
            .0
            .watch(&principal.tenant, id, after_sequence)
            .await
            .map_err(refuse)?;
        let responses =
            items.map(move |item| item.map(|item| convert::item(id, item)).map_err(refuse));
        Ok(Response::new(Box::pin(responses)))
    }

    async fn list_task_types(
        &self,
        request: Request<ListTaskTypesRequest>,
    ) -> Result<Response<ListTaskTypesResponse>, Status> {
        allowed(&request, Permission::TasksRead)?;
        let task_types = self.0.types().await.map_err(refuse)?;
        let task_types = task_types.iter().map(convert::task_type).collect();
        Ok(Response::new(ListTaskTypesResponse { task_types }))
    }
}

fn id(text: &str) -> Result<TaskId, Status> {
    text.parse().map_err(|_| refuse(Error::InvalidId))
}
