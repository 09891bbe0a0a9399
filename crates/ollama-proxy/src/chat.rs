//! A conversation with a model, token by token.

mod answers;
mod order;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode};
use sutazai_resilience::Deadline;

use crate::{
    error::{Error, Fault},
    fleet::{Call, Fleet, Opens, Reply},
    ollama::{self, ChatLine, Lines},
};

pub(crate) use self::{
    answers::{Answer, Answers},
    order::Order,
};

/// How long the end of an answer may lag behind its last line.
const END_PATIENCE: Duration = Duration::from_millis(250);

/// How a model says that it has no more to say.
const NORMAL_STOP: &str = "stop";

/// An answer whose first token is there.
pub(crate) struct Tokens {
    /// Full name of the model that answers.
    pub(crate) model: Arc<str>,
    /// Name of the node that answers.
    pub(crate) node: Arc<str>,
    /// Nothing once everything was read.
    reply: Option<Reply>,
    /// Whether the model said that this was all.
    complete: bool,
    lines: Lines,
    /// Whether a token came, of the text or not.
    spoken: bool,
    /// Read and not yet handed out.
    ready: VecDeque<Event>,
}

/// What happens in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The next piece of the text.
    Delta(String),
    /// A token that is no part of the text.
    Thought,
    /// The regular end.
    Finished(Ending),
}

/// The regular end of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// `stop` or `length`, as the model reported it.
    pub(crate) reason: String,
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
    pub(crate) duration: Duration,
}

/// Asks the fleet and waits for the first token, for a caller who may have said how long it waits.
///
/// # Errors
///
/// Everything that can go wrong before the first token; see [`Error`].
pub(crate) async fn open(
    fleet: &Fleet,
    order: &Order,
    deadline: Option<Deadline>,
) -> Result<Tokens, Error> {
    let model = fleet.resolve(&order.model).await?;
    let call = Call {
        path: "/api/chat",
        content_type: HeaderValue::from_static("application/json"),
        body: order.body(&model)?,
        opens: Opens::WithFirstToken,
        deadline,
        model: model.clone(),
    };
    fleet.open(&call, |reply| begin(reply, model.clone())).await
}

/// Reads until the first token or the regular end.
async fn begin(mut reply: Reply, model: Arc<str>) -> Result<Tokens, Error> {
    if !reply.status.is_success() {
        return Err(refusal(&mut reply, &model).await);
    }
    let mut tokens = Tokens {
        model,
        node: reply.node.clone(),
        reply: Some(reply),
        complete: false,
        lines: Lines::default(),
        spoken: false,
        ready: VecDeque::new(),
    };
    let event = tokens
        .read()
        .await?
        .ok_or_else(|| tokens.fault(Fault::Empty))?;
    tokens.ready.push_front(event);
    Ok(tokens)
}

/// Reads why a node refuses.
async fn refusal(reply: &mut Reply, model: &str) -> Error {
    let words = reply.next().await.ok().flatten().unwrap_or_default();
    if reply.status == StatusCode::NOT_FOUND {
        return Error::ModelNotFound {
            model: model.to_owned(),
            near: Vec::new(),
        };
    }
    let message = ollama::words_of_error(&words);
    Error::Refused {
        node: reply.node.to_string(),
        status: reply.status,
        message,
    }
}

impl Tokens {
    /// Returns the next event; nothing after [`Event::Finished`].
    ///
    /// # Errors
    ///
    /// [`Error::Node`] when the node broke off, fell silent, took too long or talked nonsense;
    /// [`Error::Deadline`].
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Error> {
        let next = match self.ready.pop_front() {
            Some(event) => Some(event),
            None => self.read().await?,
        };
        if next.is_none() && !self.complete {
            return Err(self.fault(Fault::BrokenOff(None)));
        }
        Ok(next)
    }

    /// Reads the next event; nothing when the bytes have ended.
    async fn read(&mut self) -> Result<Option<Event>, Error> {
        if self.complete {
            // Read to its end, the connection can serve the next request.
            if let Some(reply) = self.reply.take() {
                reply.finish(END_PATIENCE).await;
            }
            return Ok(None);
        }
        while let Some(reply) = &mut self.reply {
            let line = self.lines.next_line();
            if let Some(line) = line.map_err(|error| nonsense(&self.node, &error))? {
                self.understand(&line)?;
            } else if let Some(bytes) = reply.next().await? {
                self.lines.push(&bytes);
            } else if let Some(line) = self.lines.rest() {
                self.understand(&line)?;
            } else {
                return Ok(None);
            }
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn understand(&mut self, line: &[u8]) -> Result<(), Error> {
        let line: ChatLine =
            serde_json::from_slice(line).map_err(|error| nonsense(&self.node, &error))?;
        if let Some(error) = line.error {
            return Err(self.fault(Fault::Reported(error)));
        }
        if !line.message.content.is_empty() {
            self.ready.push_back(Event::Delta(line.message.content));
        } else if !line.message.thinking.is_empty() {
            self.ready.push_back(Event::Thought);
        }
        self.spoken |= !self.ready.is_empty();
        if line.done {
            // A model may have nothing to say, but then it says so.
            if !self.spoken && line.done_reason.as_deref() != Some(NORMAL_STOP) {
                return Err(self.fault(Fault::Empty));
            }
            self.ready.push_back(Event::Finished(Ending {
                reason: line.done_reason.unwrap_or_else(|| NORMAL_STOP.to_owned()),
                prompt_tokens: line.prompt_eval_count,
                completion_tokens: line.eval_count,
                duration: Duration::from_nanos(line.total_duration),
            }));
            self.complete = true;
        }
        Ok(())
    }

    fn fault(&self, fault: Fault) -> Error {
        Error::Node {
            node: self.node.to_string(),
            fault,
        }
    }
}

fn nonsense(node: &str, error: &dyn std::error::Error) -> Error {
    Error::Node {
        node: node.to_owned(),
        fault: Fault::Nonsense(error.to_string()),
    }
}
