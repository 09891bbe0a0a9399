//! `/api/v1/tasks/dead-letters`: messages that nobody could use, looked at and sent again.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use sutazai_auth::http::Authenticated;
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::{
    platform::v1::PageRequest,
    tasks::v1::{
        DeadLetter, DeleteDeadLetterRequest, GetDeadLetterRequest, ListDeadLettersRequest,
        RedriveDeadLetterRequest, dead_letters_client::DeadLettersClient,
    },
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Access;
use crate::http::{
    input::{params::Params, path::Id},
    page::{Page, PageQuery},
    problem::Failure,
    time::instant,
};

const PATH: &str = "/api/v1/tasks/dead-letters";
/// Largest answer of the coordinator: a page of letters with all their headers.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A message that nobody could use.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterAnswer {
    #[schema(format = "uuid")]
    id: String,
    /// When it died, the last time.
    received_at: Option<DateTime<Utc>>,
    /// Queue where it died.
    queue: String,
    /// Why; begins with a stable snake_case word where the platform refused it.
    reason: String,
    /// The sender's id of the message.
    message_id: String,
    routing_key: String,
    /// By lower-case name, shortened.
    headers: BTreeMap<String, String>,
    content_type: String,
    /// As text; left out in lists, and when it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// In base64, when the body is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Bytes of the whole body, of which at most 1 MiB is kept.
    size: u64,
    /// Task that the message names.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    /// Queue for answers, if the sender named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    /// Login name of the sender, if the broker validated one.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    /// How often it was sent again before it died.
    redrives: u32,
    /// When it was sent again since it died.
    #[serde(skip_serializing_if = "Option::is_none")]
    redriven_at: Option<DateTime<Utc>>,
}

/// Lists the messages that nobody could use, newest first; bodies are left out.
#[utoipa::path(
    get,
    path = "/api/v1/tasks/dead-letters",
    operation_id = "list_dead_letters",
    tag = "tasks",
    params(
        ("limit" = Option<u32>, Query, description = "Items of the page, 1 to 100; 20 by default"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of an earlier page"),
    ),
    responses((
        status = 200,
        description = "A page of dead letters; `Link` leads to the next one",
        body = Page<DeadLetterAnswer>,
    )),
)]
pub(in crate::http) async fn list(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
    mut params: Params,
) -> Result<Response, Failure> {
    let query = PageQuery::take(&mut params)?;
    params.finish()?;
    // They belong to the platform, not to a tenant.
    let scope = [PATH];
    let cursor = query
        .cursor
        .map(|cursor| access.cursors.open(&scope, &cursor))
        .transpose()?;
    let request = ListDeadLettersRequest {
        page: Some(PageRequest {
            limit: query.limit,
            cursor: cursor.unwrap_or_default(),
        }),
    };
    let found = access
        .peers
        .call(
            ServiceName::TaskCoordinator,
            &principal,
            request,
            async |channel, request| {
                let client = DeadLettersClient::new(channel);
                let mut client = client.max_decoding_message_size(MAX_ANSWER);
                client.list_dead_letters(request).await
            },
        )
        .await?;
    let next = found
        .page
        .map(|page| page.next_cursor)
        .filter(|cursor| !cursor.is_empty());
    let letters = found.dead_letters.into_iter().map(DeadLetterAnswer::from);
    let page = Page {
        items: letters.map(DeadLetterAnswer::in_list).collect(),
        next_cursor: next.map(|cursor| access.cursors.seal(&scope, &cursor)),
    };
    Ok(page.answer(PATH, query.limit, &[]))
}

/// Returns a message that nobody could use, with its body.
#[utoipa::path(
    get,
    path = "/api/v1/tasks/dead-letters/{id}",
    operation_id = "get_dead_letter",
    tag = "tasks",
    params(("id" = String, Path, description = "Id of the dead letter")),
    responses(
        (status = 200, description = "The dead letter", body = DeadLetterAnswer),
        (status = 404, description = "There is no such dead letter"),
    ),
)]
pub(in crate::http) async fn get(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
    Id(id): Id<Uuid>,
) -> Result<axum::Json<DeadLetterAnswer>, Failure> {
    let request = GetDeadLetterRequest { id: id.to_string() };
    let letter = access
        .peers
        .call(
            ServiceName::TaskCoordinator,
            &principal,
            request,
            async |channel, request| {
                DeadLettersClient::new(channel)
                    .get_dead_letter(request)
                    .await
            },
        )
        .await?;
    Ok(axum::Json(letter.into()))
}

/// Sends a message to the queue where it died, as if it had never been delivered.
///
/// When this answers, the broker has taken it over. Asking again changes nothing until it dies
/// again.
#[utoipa::path(
    post,
    path = "/api/v1/tasks/dead-letters/{id}/redrive",
    operation_id = "redrive_dead_letter",
    tag = "tasks",
    params(("id" = String, Path, description = "Id of the dead letter")),
    responses(
        (status = 202, description = "It was sent again", body = DeadLetterAnswer),
        (status = 404, description = "There is no such dead letter"),
        (status = 409, description = "It is being sent again, or its queue is gone"),
        (status = 422, description = "Only a part of it was kept"),
    ),
)]
pub(in crate::http) async fn redrive(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
    Id(id): Id<Uuid>,
) -> Result<Response, Failure> {
    let request = RedriveDeadLetterRequest { id: id.to_string() };
    let letter = access
        .peers
        .call(
            ServiceName::TaskCoordinator,
            &principal,
            request,
            async |channel, request| {
                let mut client = DeadLettersClient::new(channel);
                client.redrive_dead_letter(request).await
            },
        )
        .await?;
    let letter = DeadLetterAnswer::from(letter);
    Ok((StatusCode::ACCEPTED, axum::Json(letter)).into_response())
}

/// Removes a message that nobody could use, for good.
#[utoipa::path(
    delete,
    path = "/api/v1/tasks/dead-letters/{id}",
    operation_id = "delete_dead_letter",
    tag = "tasks",
    params(("id" = String, Path, description = "Id of the dead letter")),
    responses(
        (status = 204, description = "It is removed"),
        (status = 404, description = "There is no such dead letter"),
    ),
)]
pub(in crate::http) async fn delete(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
    Id(id): Id<Uuid>,
) -> Result<StatusCode, Failure> {
    let request = DeleteDeadLetterRequest { id: id.to_string() };
    access
        .peers
        .call(
            ServiceName::TaskCoordinator,
            &principal,
            request,
            async |channel, request| {
                let mut client = DeadLettersClient::new(channel);
                client.delete_dead_letter(request).await
            },
        )
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

impl DeadLetterAnswer {
    /// Leaves out what a list does not show.
    fn in_list(self) -> Self {
        Self {
            body: None,
            body_base64: None,
            ..self
        }
    }
}

impl From<DeadLetter> for DeadLetterAnswer {
    fn from(letter: DeadLetter) -> Self {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let (body, body_base64) = match String::from_utf8(letter.body) {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
        };
        Self {
            id: letter.id,
            received_at: instant(letter.received_at),
            queue: letter.queue,
            reason: letter.reason,
            message_id: letter.message_id,
            routing_key: letter.routing_key,
            headers: letter.headers.into_iter().collect(),
            content_type: letter.content_type,
            body,
            body_base64,
            size: letter.size,
            task_id: given(letter.task_id),
            reply_to: given(letter.reply_to),
            user_id: given(letter.user_id),
            redrives: letter.redrives,
            redriven_at: instant(letter.redriven_at),
        }
    }
}
