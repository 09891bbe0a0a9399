//! `/api/v1/chat`: a question and its answer, whole or as it is produced.

mod body;

use axum::{
    extract::State,
    response::{IntoResponse, Response, sse::Event},
};
use futures::{Stream, stream};
use sutazai_auth::http::Authenticated;

use self::body::{ChatAnswer, ChatBody, ChatEnd, ChatStart, ChatToken};
use super::{
    input::json::Json,
    problem::{Failure, Occurrence},
    sse,
};
use crate::{
    chat::{Answer, Chat, Piece},
    error::Error,
};

/// Asks a question.
///
/// Without `stream` the whole answer comes as one JSON document. With it the answer is a stream of
/// server-sent events: `start`, one `token` per token as it is produced, then `done`. A failure
/// before the first token is a problem document; after it an `error` event with the problem
/// document, and the connection ends abnormally.
#[utoipa::path(
    post,
    path = "/api/v1/chat",
    operation_id = "create_chat",
    tag = "chat",
    request_body = ChatBody,
    responses((
        status = 200,
        description = "The answer; with `stream` as server-sent events",
        content((ChatAnswer = "application/json"), (String = "text/event-stream")),
    )),
)]
pub(super) async fn create(
    State(chat): State<Chat>,
    Authenticated(principal): Authenticated,
    occurrence: Occurrence,
    Json(body): Json<ChatBody>,
) -> Result<Response, Failure> {
    let (question, stream) = body.read()?;
    let mut answer = chat.ask(&principal, question).await?;
    if stream {
        return Ok(sse::answer(occurrence, events(answer)));
    }
    let end = answer.end().await?;
    Ok(axum::Json(ChatAnswer::of(&answer, &end)).into_response())
}

fn events(answer: Answer) -> impl Stream<Item = Result<Event, Error>> {
    let start = sse::event("start", &ChatStart::of(&answer));
    let rest = stream::unfold(Some(answer), async |answer| {
        let mut answer = answer?;
        match answer.next().await {
            Ok(Piece::Token(content)) => Some((
                Ok(sse::event("token", &ChatToken { content })),
                Some(answer),
            )),
            Ok(Piece::End(end)) => {
                Some((Ok(sse::event("done", &ChatEnd::of(&answer, &end))), None))
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    futures::StreamExt::chain(stream::iter([Ok(start)]), rest)
}
