//! What `/api/v1/chat` reads and writes.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use sutazai_proto::inference::v1::Options;
use utoipa::ToSchema;

use crate::{
    chat::{Answer, End, Question},
    http::input::{InputError, json::object},
};

/// Longest message in bytes.
const MAX_MESSAGE: usize = 128 * 1024;
/// Longest model name in characters.
const MAX_MODEL: usize = 200;
/// Most stop sequences.
const MAX_STOPS: usize = 8;
/// Longest stop sequence in bytes.
const MAX_STOP: usize = 256;
/// Largest bound on tokens.
const MAX_TOKENS: u32 = 1_048_576;

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "message": "hello" }))]
pub(crate) struct ChatBody {
    /// What the user says; at most 128 KiB of UTF-8.
    message: String,
    /// Name of the model, with or without its tag; absent asks for the default model.
    model: Option<String>,
    /// Id of the conversation to continue; absent begins one.
    #[schema(format = "uuid")]
    conversation_id: Option<String>,
    /// Whether the answer comes as server-sent events.
    #[serde(default)]
    stream: bool,
    /// Whether the answer may come out of the cache and is kept there. Absent: when it is
    /// deterministic, which is at temperature 0 or with a seed.
    cache: Option<bool>,
    /// Sampling parameters.
    #[serde(default, deserialize_with = "object")]
    options: ChatOptions,
}

/// Sampling parameters; what is absent is left to the model.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatOptions {
    /// 0 is deterministic on one node.
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    /// Share of the probability that is sampled from.
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    /// Seed of the sampling.
    seed: Option<i64>,
    /// Largest number of tokens to generate.
    #[schema(minimum = 1, maximum = 1_048_576)]
    max_tokens: Option<u32>,
    /// Context window in tokens.
    #[schema(minimum = 1, maximum = 1_048_576)]
    context_length: Option<u32>,
    /// Generation ends before any of these texts; at most 8 of at most 256 bytes.
    #[serde(default)]
    #[schema(max_items = 8)]
    stop: Vec<String>,
}

/// A whole answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatAnswer {
    /// The text.
    response: String,
    /// The model that answered.
    model: String,
    /// Whether the answer came from a cache.
    cached: bool,
    usage: ChatUsage,
    /// `stop` or `length`.
    finish_reason: String,
    /// The conversation that the turn belongs to.
    #[schema(format = "uuid")]
    conversation_id: String,
    /// Whether the turn was stored in its conversation.
    stored: bool,
}

/// What an answer cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatUsage {
    /// Tokens that the model read.
    prompt_tokens: u32,
    /// Tokens that it generated.
    completion_tokens: u32,
    /// Time of the node for loading, prompt and generation, in milliseconds.
    duration_ms: u64,
}

/// Event `start`.
#[derive(Debug, Serialize)]
pub(crate) struct ChatStart<'a> {
    conversation_id: String,
    model: &'a str,
}

/// Event `token`.
#[derive(Debug, Serialize)]
pub(crate) struct ChatToken {
    pub(super) content: String,
}

/// Event `done`.
#[derive(Debug, Serialize)]
pub(crate) struct ChatEnd<'a> {
    model: &'a str,
    cached: bool,
    usage: ChatUsage,
    finish_reason: &'a str,
    conversation_id: String,
    stored: bool,
}

impl ChatBody {
    /// Checks the bounds; answers the question and whether to stream.
    pub(super) fn read(self) -> Result<(Question, bool), InputError> {
        if self.message.trim().is_empty() {
            return Err(InputError::invalid("/message", "a text that is not blank"));
        }
        if self.message.len() > MAX_MESSAGE {
            let detail = format!("at most {MAX_MESSAGE} bytes");
            return Err(InputError::invalid("/message", detail));
        }
        if self
            .model
            .as_ref()
            .is_some_and(|model| !is_model_name(model))
        {
            let detail = format!("1 to {MAX_MODEL} visible ASCII characters");
            return Err(InputError::invalid("/model", detail));
        }
        let conversation = self
            .conversation_id
            .map(|id| id.parse())
            .transpose()
            .map_err(|error: sutazai_proto::ids::InvalidId| InputError::Id {
                parameter: "/conversation_id",
                detail: error.to_string(),
            })?;
        let question = Question {
            text: self.message,
            model: self.model,
            conversation,
            options: self.options.read()?,
            cache: self.cache,
        };
        Ok((question, self.stream))
    }
}

fn is_model_name(name: &str) -> bool {
    (1..=MAX_MODEL).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

impl ChatOptions {
    fn read(self) -> Result<Options, InputError> {
        in_range("/options/temperature", self.temperature, 0.0, 2.0)?;
        in_range("/options/top_p", self.top_p, 0.0, 1.0)?;
        in_range("/options/max_tokens", self.max_tokens, 1, MAX_TOKENS)?;
        in_range(
            "/options/context_length",
            self.context_length,
            1,
            MAX_TOKENS,
        )?;
        if self.stop.len() > MAX_STOPS {
            return Err(InputError::invalid(
                "/options/stop",
                format!("at most {MAX_STOPS} texts"),
            ));
        }
        let wrong = self
            .stop
            .iter()
            .position(|text| !(1..=MAX_STOP).contains(&text.len()));
        if let Some(index) = wrong {
            let detail = format!("1 to {MAX_STOP} bytes");
            return Err(InputError::invalid(
                &format!("/options/stop/{index}"),
                detail,
            ));
        }
        Ok(Options {
            temperature: self.temperature,
            top_p: self.top_p,
            seed: self.seed,
            max_tokens: self.max_tokens,
            context_length: self.context_length,
            stop: self.stop,
        })
    }
}

fn in_range<T: PartialOrd + Copy + Display>(
    pointer: &str,
    value: Option<T>,
    min: T,
    max: T,
) -> Result<(), InputError> {
    match value {
        Some(value) if value < min || value > max => Err(InputError::invalid(
            pointer,
            format!("between {min} and {max}"),
        )),
        _ => Ok(()),
    }
}

impl ChatUsage {
    fn of(end: &End) -> Self {
        Self {
            prompt_tokens: end.prompt_tokens,
            completion_tokens: end.completion_tokens,
            duration_ms: u64::try_from(end.duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl ChatAnswer {
    pub(super) fn of(answer: &Answer, end: &End) -> Self {
        Self {
            response: answer.text().to_owned(),
            model: answer.model().to_owned(),
            cached: answer.is_cached(),
            usage: ChatUsage::of(end),
            finish_reason: end.finish_reason.clone(),
            conversation_id: answer.conversation().to_string(),
            stored: end.stored,
        }
    }
}

impl<'a> ChatStart<'a> {
    pub(super) fn of(answer: &'a Answer) -> Self {
        Self {
            conversation_id: answer.conversation().to_string(),
            model: answer.model(),
        }
    }
}

impl<'a> ChatEnd<'a> {
    pub(super) fn of(answer: &'a Answer, end: &'a End) -> Self {
        Self {
            model: answer.model(),
            cached: answer.is_cached(),
            usage: ChatUsage::of(end),
            finish_reason: &end.finish_reason,
            conversation_id: answer.conversation().to_string(),
            stored: end.stored,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: serde_json::Value) -> Result<(Question, bool), InputError> {
        serde_json::from_value::<ChatBody>(body).unwrap().read()
    }

    #[test]
    fn api_08_a_message_alone_is_enough() {
        let (question, stream) = read(json!({ "message": "hello" })).unwrap();
        assert_eq!(question.text, "hello");
        assert!(!stream && question.model.is_none() && question.conversation.is_none());
        assert_eq!(question.options, Options::default());
    }

    #[test]
    fn sec_10_values_outside_their_bounds_are_named() {
        let options = |options| json!({ "message": "m", "options": options });
        for (body, expected) in [
            (json!({ "message": " \n" }), "/message"),
            (
                json!({ "message": "m".repeat(MAX_MESSAGE + 1) }),
                "/message",
            ),
            (json!({ "message": "m", "model": "" }), "/model"),
            (json!({ "message": "m", "model": "a b" }), "/model"),
            (
                options(json!({ "temperature": -0.1 })),
                "/options/temperature",
            ),
            (
                options(json!({ "temperature": 2.1 })),
                "/options/temperature",
            ),
            (options(json!({ "top_p": 1.5 })), "/options/top_p"),
            (options(json!({ "max_tokens": 0 })), "/options/max_tokens"),
            (options(json!({ "stop": vec!["a"; 9] })), "/options/stop"),
            (options(json!({ "stop": ["a", ""] })), "/options/stop/1"),
        ] {
            match read(body.clone()).map(|_| ()) {
                Err(InputError::Invalid { pointer, .. }) => assert_eq!(pointer, expected),
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn sec_10_a_conversation_id_is_an_id() {
        let body = json!({ "message": "m", "conversation_id": "7" });
        assert!(matches!(read(body), Err(InputError::Id { .. })));
    }
}
