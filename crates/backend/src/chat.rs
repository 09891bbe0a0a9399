//! Chat: a question in a conversation, its answer as it is produced, and the finished turn kept.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sutazai_auth::principal::Principal;
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::{
    ids::ConversationId,
    inference::v1::{
        ChatRequest, ChatResponse, Finished, Message, Options, Role, chat_response::Event,
        inference_client::InferenceClient,
    },
};
use sutazai_resilience::Deadline;
use tokio_util::task::TaskTracker;
use tonic::Streaming;
use tracing::Instrument;

use crate::{
    conversation::{ContextLimits, ContextTurn, Exchange, Owner, Place},
    error::Error,
    peers::Peers,
    store::Conversations,
};

/// Longest time of an answer, from the question to its last token.
const TOTAL: Duration = Duration::from_secs(600);
/// Largest answer in bytes; no answer grows in memory without an end.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Answers questions.
#[derive(Clone)]
pub(crate) struct Chat {
    peers: Peers,
    conversations: Conversations,
    /// Holds the storing of finished turns, which outlives a client that left.
    storing: TaskTracker,
}

/// What a user asks.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) text: String,
    /// Absent asks for the default model.
    pub(crate) model: Option<String>,
    /// Absent begins a conversation.
    pub(crate) conversation: Option<ConversationId>,
    pub(crate) options: Options,
    /// Whether the answer may come out of the cache; absent: when it is deterministic.
    pub(crate) cache: Option<bool>,
}

/// An answer that has begun; dropping it aborts the model's work.
pub(crate) struct Answer {
    stream: Streaming<ChatResponse>,
    deadline: Deadline,
    chat: Chat,
    owner: Owner,
    place: Place,
    question: String,
    asked_at: DateTime<Utc>,
    model: String,
    cached: bool,
    text: String,
}

/// What an answer consists of: any number of tokens, then one end.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The next piece of text, usually one token.
    Token(String),
    /// The regular end.
    End(End),
}

/// The regular end of an answer.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) finish_reason: String,
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
    /// Time spent by the node on loading, prompt and generation.
    pub(crate) duration: Duration,
    /// Whether the turn is in its conversation now.
    pub(crate) stored: bool,
}

impl Chat {
    pub(crate) fn new(peers: Peers, conversations: Conversations, storing: TaskTracker) -> Self {
        Self {
            peers,
            conversations,
            storing,
        }
    }

    /// Asks a question and waits for the first token.
    pub(crate) async fn ask(
        &self,
        principal: &Principal,
        question: Question,
    ) -> Result<Answer, Error> {
        let asked_at = Utc::now();
        let owner = Owner::from(principal);
        let (place, context) = match question.conversation {
            None => (Place::Beginning(ConversationId::new()), Vec::new()),
            Some(id) => {
                let context = self
                    .conversations
                    .context(&owner, id, ContextLimits::default());
                (
                    Place::Continuing(id),
                    context.await?.ok_or(Error::ConversationNotFound)?,
                )
            }
        };
        let message = ChatRequest {
            model: question.model.unwrap_or_default(),
            messages: messages(context, question.text.clone()),
            options: Some(question.options),
            format: Vec::new(),
            cache: question.cache,
        };
        let deadline = Deadline::after(TOTAL);
        let mut stream = self
            .peers
            .call_within(
                deadline,
                ServiceName::OllamaProxy,
                principal,
                message,
                async |channel, request| InferenceClient::new(channel).chat(request).await,
            )
            .await?;
        let Some(Event::Opened(opened)) = next_event(&mut stream, deadline).await? else {
            return Err(Error::BrokenStream);
        };
        Ok(Answer {
            stream,
            deadline,
            chat: self.clone(),
            owner,
            place,
            question: question.text,
            asked_at,
            model: opened.model,
            cached: opened.cached,
            text: String::new(),
        })
    }

    /// Keeps a finished turn, even when the client has left; answers whether it is kept.
    async fn keep(&self, owner: Owner, place: Place, exchange: Exchange) -> bool {
        let conversations = self.conversations.clone();
        let storing = async move {
            match conversations.append(&owner, place, &exchange).await {
                Ok(true) => true,
                Ok(false) => {
                    tracing::info!(
                        conversation = %place.id(),
                        "the conversation was deleted while its answer was produced"
                    );
                    false
                }
                Err(error) => {
                    let cause = sutazai_proto::status::chain(&error);
                    tracing::error!(conversation = %place.id(), cause, "turn not stored");
                    false
                }
            }
        };
        self.storing
            .spawn(storing.in_current_span())
            .await
            .unwrap_or(false)
    }
}

impl Answer {
    /// Returns the conversation that the answer belongs to.
    pub(crate) fn conversation(&self) -> ConversationId {
        self.place.id()
    }

    /// Returns the name of the model that answers.
    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// Returns whether it comes out of the cache.
    pub(crate) fn is_cached(&self) -> bool {
        self.cached
    }

    /// Returns the text so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Waits for the next piece; after [`Piece::End`] there is none.
    pub(crate) async fn next(&mut self) -> Result<Piece, Error> {
        match next_event(&mut self.stream, self.deadline).await? {
            Some(Event::Delta(delta)) => {
                if self.text.len() + delta.content.len() > MAX_ANSWER {
                    return Err(Error::AnswerTooLong { limit: MAX_ANSWER });
                }
                self.text.push_str(&delta.content);
                Ok(Piece::Token(delta.content))
            }
            Some(Event::Finished(finished)) => Ok(Piece::End(self.finish(finished).await)),
            Some(Event::Opened(_)) | None => Err(Error::BrokenStream),
        }
    }

    /// Waits for the end; the whole text is in [`Answer::text`] then.
    pub(crate) async fn end(&mut self) -> Result<End, Error> {
        loop {
            if let Piece::End(end) = self.next().await? {
                return Ok(end);
            }
        }
    }

    async fn finish(&mut self, finished: Finished) -> End {
        let usage = finished.usage.unwrap_or_default();
        let exchange = Exchange {
            question: self.question.clone(),
            answer: self.text.clone(),
            model: self.model.clone(),
            finish_reason: finished.reason.clone(),
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            asked_at: self.asked_at,
        };
        let stored = self
            .chat
            .keep(self.owner.clone(), self.place, exchange)
            .await;
        End {
            finish_reason: finished.reason,
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            duration: Duration::from_nanos(usage.total_duration_ns),
            stored,
        }
    }
}

/// Waits for the next event; `None` at the end of the stream.
async fn next_event(
    stream: &mut Streaming<ChatResponse>,
    deadline: Deadline,
) -> Result<Option<Event>, Error> {
    let message = deadline
        .run(stream.message())
        .await
        .map_err(|_| Error::DeadlineExceeded)??;
    Ok(message.and_then(|message| message.event))
}

/// Lays out the earlier turns and the question as the model reads them.
fn messages(context: Vec<ContextTurn>, question: String) -> Vec<Message> {
    let message = |role: Role, content| Message {
        role: role.into(),
        content,
    };
    let earlier = context.into_iter().flat_map(|turn| {
        [
            message(Role::User, turn.question),
            message(Role::Assistant, turn.answer),
        ]
    });
    earlier.chain([message(Role::User, question)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_reads_the_turns_in_order_and_the_question_last() {
        let turn = |n: u8| ContextTurn {
            question: format!("q{n}"),
            answer: format!("a{n}"),
        };
        let messages = messages(vec![turn(1), turn(2)], "q3".to_owned());
        let read: Vec<_> = messages
            .iter()
            .map(|m| (m.role(), m.content.as_str()))
            .collect();
        assert_eq!(
            read,
            [
                (Role::User, "q1"),
                (Role::Assistant, "a1"),
                (Role::User, "q2"),
                (Role::Assistant, "a2"),
                (Role::User, "q3"),
            ]
        );
    }
}
