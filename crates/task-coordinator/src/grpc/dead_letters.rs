//! `tasks.v1.DeadLetters`.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use sutazai_auth::Permission;
use sutazai_proto::Violation;
use sutazai_proto::platform::v1::PageInfo;
use sutazai_proto::tasks::v1::{
    self, DeleteDeadLetterRequest, DeleteDeadLetterResponse, GetDeadLetterRequest,
    ListDeadLettersRequest, ListDeadLettersResponse, RedriveDeadLetterRequest, dead_letters_server,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{allowed, place, refuse};
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::error::Error;
use crate::store::Spot;

pub(super) struct DeadLettersApi(pub(super) DeadLetters);

#[tonic::async_trait]
impl dead_letters_server::DeadLetters for DeadLettersApi {
    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        allowed(&request, Permission::TasksOperate)?;
        let page = request.into_inner().page.unwrap_or_default();
        let after = after(&page.cursor).map_err(refuse)?;
        let limit = place::limit(page.limit);
        let (letters, next) = self.0.list(after, limit).await.map_err(refuse)?;
        let next = next.map(|spot| place::cursor(spot.received_at, spot.id));
        Ok(Response::new(ListDeadLettersResponse {
            dead_letters: letters.into_iter().map(wire).collect(),
            page: Some(PageInfo {
                next_cursor: next.unwrap_or_default(),
            }),
        }))
    }

    async fn get_dead_letter(
        &self,
        request: Request<GetDeadLetterRequest>,
    ) -> Result<Response<v1::DeadLetter>, Status> {
        allowed(&request, Permission::TasksOperate)?;
        let id = id(&request.into_inner().id)?;
        let letter = self.0.get(id).await.map_err(refuse)?;
        Ok(Response::new(wire(letter)))
    }

    async fn redrive_dead_letter(
        &self,
        request: Request<RedriveDeadLetterRequest>,
    ) -> Result<Response<v1::DeadLetter>, Status> {
        allowed(&request, Permission::TasksOperate)?;
        let id = id(&request.into_inner().id)?;
        let letter = self.0.redrive(id).await.map_err(refuse)?;
        Ok(Response::new(wire(letter)))
    }

    async fn delete_dead_letter(
        &self,
        request: Request<DeleteDeadLetterRequest>,
    ) -> Result<Response<DeleteDeadLetterResponse>, Status> {
        allowed(&request, Permission::TasksOperate)?;
        let id = id(&request.into_inner().id)?;
        self.0.delete(id).await.map_err(refuse)?;
        Ok(Response::new(DeleteDeadLetterResponse {}))
    }
}

fn id(text: &str) -> Result<Uuid, Status> {
    let id = Uuid::try_parse(text).ok().filter(|_| text.len() == 36);
    id.ok_or_else(|| refuse(Error::InvalidId))
}

fn after(cursor: &str) -> Result<Option<Spot>, Error> {
    if cursor.is_empty() {
        return Ok(None);
    }
    let place = place::read(cursor).map(|(received_at, id)| Spot { received_at, id });
    place.map(Some).ok_or_else(|| {
        Error::Invalid(vec![Violation {
            field: "cursor".to_owned(),
            description: place::NO_PLACE.to_owned(),
        }])
    })
}

fn wire(letter: DeadLetter) -> v1::DeadLetter {
    v1::DeadLetter {
        id: letter.id.to_string(),
        received_at: Some(timestamp(letter.received_at)),
        queue: letter.queue,
        reason: letter.reason,
        message_id: letter.message_id,
        routing_key: letter.routing_key,
        headers: letter.headers.into_iter().collect(),
        content_type: letter.content_type,
        body: letter.body.into(),
        size: letter.size,
        task_id: letter.task.map_or_else(String::new, |id| id.to_string()),
        reply_to: letter.properties.reply_to.unwrap_or_default(),
        user_id: letter.properties.user_id.unwrap_or_default(),
        redrives: letter.redrives,
        redriven_at: letter.redriven_at.map(timestamp),
    }
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp::from(SystemTime::from(at))
}
