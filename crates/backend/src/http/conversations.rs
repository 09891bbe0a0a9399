//! `/api/v1/chat/conversations`: what was said.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use sutazai_auth::http::Authenticated;
use sutazai_proto::ids::ConversationId;
use utoipa::ToSchema;

use super::{
    input::{params::Params, path::Id},
    page::{Page, PageQuery},
    problem::Failure,
};
use crate::{
    conversation::{Conversation, Owner, Turn},
    cursor::{Cursors, InvalidCursor},
    error::Error,
    store::Conversations,
};

const PATH: &str = "/api/v1/chat/conversations";

/// What the handlers need.
#[derive(Clone)]
pub(crate) struct Access {
    pub(super) conversations: Conversations,
    pub(super) cursors: Cursors,
}

/// A conversation in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConversationItem {
    #[schema(format = "uuid")]
    id: String,
    /// Beginning of the first message.
    title: String,
    /// Number of finished turns.
    turns: i64,
    created_at: DateTime<Utc>,
    /// When the newest turn was stored.
    updated_at: DateTime<Utc>,
}

/// A conversation with a page of its messages.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConversationAnswer {
    #[serde(flatten)]
    conversation: ConversationItem,
    /// Messages of the page, oldest first.
    messages: Vec<MessageItem>,
    /// Cursor of the page with the messages before these; null when there are none.
    next_cursor: Option<String>,
}

/// One message of a turn.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageItem {
    /// Number of the turn, from 1.
    turn: i64,
    role: MessageRole,
    content: String,
    /// The model that wrote it; absent for what the user said.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    created_at: DateTime<Utc>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MessageRole {
    /// The caller.
    User,
    /// The model.
    Assistant,
}

/// Lists the caller's conversations, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/chat/conversations",
    operation_id = "list_conversations",
    tag = "chat",
    params(
        ("limit" = Option<u32>, Query, description = "Items of the page, 1 to 100; 20 by default"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of an earlier page"),
    ),
    responses((
        status = 200,
        description = "A page of conversations; `Link` leads to the next one",
        body = Page<ConversationItem>,
    )),
)]
pub(super) async fn list(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
    mut params: Params,
) -> Result<Response, Failure> {
    let query = PageQuery::take(&mut params)?;
    params.finish()?;
    let owner = Owner::from(&principal);
    let scope = [owner.tenant.as_str(), owner.subject.as_str(), PATH];
    let before = match &query.cursor {
        None => None,
        Some(cursor) => Some(position(&access.cursors.open(&scope, cursor)?)?),
    };
    // One more than asked for tells whether there is a next page.
    let mut found = access
        .conversations
        .list(&owner, before, query.limit + 1)
        .await
        .map_err(Error::from)?;
    let more = found.len() > query.limit as usize;
    found.truncate(query.limit as usize);
    let last = found
        .last()
        .filter(|_| more)
        .map(|conversation| conversation.id.to_string());
    let page = Page {
        items: found.into_iter().map(ConversationItem::from).collect(),
        next_cursor: last.map(|last| access.cursors.seal(&scope, &last)),
    };
    Ok(page.answer(PATH, query.limit, &[]))
}

/// Returns a conversation with its newest messages; `next_cursor` leads to earlier ones.
#[utoipa::path(
    get,
    path = "/api/v1/chat/conversations/{id}",
    operation_id = "get_conversation",
    tag = "chat",
    params(
        ("id" = String, Path, description = "Id of the conversation"),
        ("limit" = Option<u32>, Query, description = "Turns of the page, 1 to 100; 20 by default"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of an earlier page"),
    ),
    responses(
        (status = 200, description = "The conversation", body = ConversationAnswer),
        (status = 404, description = "The caller has no such conversation"),
    ),
)]
pub(super) async fn get(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
    Id(id): Id<ConversationId>,
    mut params: Params,
) -> Result<axum::Json<ConversationAnswer>, Failure> {
    let query = PageQuery::take(&mut params)?;
    params.finish()?;
    let owner = Owner::from(&principal);
    let name = id.to_string();
    let scope = [
        owner.tenant.as_str(),
        owner.subject.as_str(),
        PATH,
        name.as_str(),
    ];
    let before = match &query.cursor {
        None => None,
        Some(cursor) => Some(position(&access.cursors.open(&scope, cursor)?)?),
    };
    let found = access
        .conversations
        .get(&owner, id, before, query.limit)
        .await;
    let (conversation, turns) = found
        .map_err(Error::from)?
        .ok_or(Error::ConversationNotFound)?;
    // Turn 1 is the first: a page that reaches it is the last one.
    let earliest = turns
        .last()
        .map(|turn| turn.number)
        .filter(|&number| number > 1);
    Ok(axum::Json(ConversationAnswer {
        conversation: conversation.into(),
        messages: turns.into_iter().rev().flat_map(messages).collect(),
        next_cursor: earliest.map(|number| access.cursors.seal(&scope, &number.to_string())),
    }))
}

/// Deletes a conversation with all its messages.
#[utoipa::path(
    delete,
    path = "/api/v1/chat/conversations/{id}",
    operation_id = "delete_conversation",
    tag = "chat",
    params(("id" = String, Path, description = "Id of the conversation")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "The caller has no such conversation"),
    ),
)]
pub(super) async fn delete(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
    Id(id): Id<ConversationId>,
) -> Result<Response, Failure> {
    let owner = Owner::from(&principal);
    if access
        .conversations
        .delete(&owner, id)
        .await
        .map_err(Error::from)?
    {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Error::ConversationNotFound.into())
    }
}

/// Reads what a cursor of ours hides; the signature held, so this fails for no client.
fn position<T: std::str::FromStr>(text: &str) -> Result<T, InvalidCursor> {
    text.parse().map_err(|_| InvalidCursor)
}

fn messages(turn: Turn) -> [MessageItem; 2] {
    let exchange = turn.exchange;
    [
        MessageItem {
            turn: turn.number,
            role: MessageRole::User,
            content: exchange.question,
            model: None,
            created_at: exchange.asked_at,
        },
        MessageItem {
            turn: turn.number,
            role: MessageRole::Assistant,
            content: exchange.answer,
            model: Some(exchange.model),
            created_at: turn.answered_at,
        },
    ]
}

impl From<Conversation> for ConversationItem {
    fn from(conversation: Conversation) -> Self {
        Self {
            id: conversation.id.to_string(),
            title: conversation.title,
            turns: conversation.turns,
            created_at: conversation.created_at,
            updated_at: conversation.updated_at,
        }
    }
}
