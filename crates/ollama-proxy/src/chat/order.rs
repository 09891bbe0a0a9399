//! What a caller asks for, checked.

use bytes::Bytes;
use serde_json::value::RawValue;
use sutazai_proto::inference::v1::{ChatRequest, Message, Options, Role};

use crate::{
    error::Error,
    models,
    ollama::{ChatBody, ChatMessage, ChatOptions},
};

/// A chat request that a node can be given.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// As asked for; empty for the default model.
    pub(crate) model: String,
    messages: Vec<ChatMessage>,
    options: ChatOptions,
    /// JSON Schema of the answer.
    format: Option<Box<RawValue>>,
    /// Whether the caller wants the cache, or does not want it.
    cache: Option<bool>,
}

impl Order {
    /// Asks the default model for one token, to see that everything on the way works.
    pub(crate) fn one_token() -> Self {
        Self {
            model: String::new(),
            messages: vec![ChatMessage {
                role: "user",
                content: "hello".to_owned(),
            }],
            options: ChatOptions {
                num_predict: Some(1),
                ..ChatOptions::default()
            },
            format: None,
            cache: Some(false),
        }
    }

    /// Says whether the answer may come out of the cache: as the caller wants it, else when the same
    /// request has the same answer.
    pub(super) fn may_be_cached(&self) -> bool {
        let deterministic = self.options.temperature == Some(0.0) || self.options.seed.is_some();
        self.cache.unwrap_or(deterministic)
    }

    /// Writes the body for a node.
    pub(super) fn body(&self, model: &str) -> Result<Bytes, Error> {
        let body = ChatBody {
            model,
            messages: &self.messages,
            stream: true,
            format: self.format.as_deref(),
            options: &self.options,
        };
        Ok(serde_json::to_vec(&body)?.into())
    }
}

impl TryFrom<ChatRequest> for Order {
    type Error = Error;

    fn try_from(request: ChatRequest) -> Result<Self, Error> {
        models::check(&request.model)?;
        if request.messages.is_empty() {
            return Err(invalid("/messages", "at least one message is needed"));
        }
        let messages = request
            .messages
            .into_iter()
            .enumerate()
            .map(|(i, message)| turn(i, message));
        let format = match request.format.as_slice() {
            [] => None,
            schema => Some(
                serde_json::from_slice(schema)
                    .map_err(|error| invalid("/format", &error.to_string()))?,
            ),
        };
        Ok(Self {
            model: request.model,
            messages: messages.collect::<Result<_, _>>()?,
            options: sampling(request.options.unwrap_or_default())?,
            format,
            cache: request.cache,
        })
    }
}

fn turn(index: usize, message: Message) -> Result<ChatMessage, Error> {
    let role = match message.role() {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
        Role::Unspecified => {
            return Err(invalid(
                &format!("/messages/{index}/role"),
                "a role is needed",
            ));
        }
    };
    Ok(ChatMessage {
        role,
        content: message.content,
    })
}

fn sampling(options: Options) -> Result<ChatOptions, Error> {
    // JSON has no infinity, and Ollama reads the rest without complaint.
    if options
        .temperature
        .is_some_and(|t| !t.is_finite() || t < 0.0)
    {
        return Err(invalid(
            "/options/temperature",
            "a number from 0 is expected",
        ));
    }
    if options.top_p.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
        return Err(invalid(
            "/options/top_p",
            "a number from 0 to 1 is expected",
        ));
    }
    Ok(ChatOptions {
        temperature: options.temperature,
        top_p: options.top_p,
        seed: options.seed,
        num_predict: options.max_tokens,
        num_ctx: options.context_length,
        stop: options.stop,
    })
}

fn invalid(field: &str, description: &str) -> Error {
    Error::Invalid {
        field: field.to_owned(),
        description: description.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ChatRequest {
        ChatRequest {
            model: "a".into(),
            messages: vec![Message {
                role: Role::User.into(),
                content: "hi".into(),
            }],
            ..ChatRequest::default()
        }
    }

    #[test]
    fn what_is_absent_is_not_sent() {
        let body = Order::try_from(request())
            .unwrap()
            .body("a:latest")
            .unwrap();
        let expected = r#"{"model":"a:latest","messages":[{"role":"user","content":"hi"}],"stream":true,"options":{}}"#;
        assert_eq!(body, expected);
    }

    #[test]
    fn llm_12_sampled_answers_are_cached_only_when_asked() {
        let order = |temperature, seed, cache| {
            let options = Options {
                temperature,
                seed,
                ..Options::default()
            };
            let request = ChatRequest {
                options: Some(options),
                cache,
                ..request()
            };
            Order::try_from(request).unwrap().may_be_cached()
        };
        for (temperature, seed, by_default) in [
            (Some(0.0), None, true),
            (Some(0.7), Some(1), true),
            (Some(0.7), None, false),
            (None, None, false),
        ] {
            assert_eq!(order(temperature, seed, None), by_default);
            assert!(order(temperature, seed, Some(true)));
            assert!(!order(temperature, seed, Some(false)));
        }
    }

    #[test]
    fn every_option_and_the_schema_reach_the_node() {
        let options = Options {
            temperature: Some(0.0),
            top_p: Some(0.5),
            seed: Some(-1),
            max_tokens: Some(3),
            context_length: Some(2048),
            stop: vec!["\n".into()],
        };
        let format = br#"{"type": "object"}"#.to_vec();
        let order = Order::try_from(ChatRequest {
            options: Some(options),
            format,
            ..request()
        });
        let body: serde_json::Value =
            serde_json::from_slice(&order.unwrap().body("a:latest").unwrap()).unwrap();
        assert_eq!(
            body["options"],
            serde_json::json!({
                "temperature": 0.0, "top_p": 0.5, "seed": -1, "num_predict": 3, "num_ctx": 2048, "stop": ["\n"],
            })
        );
        assert_eq!(body["format"]["type"], "object");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        let no_role = Message::default();
        let options = |options| ChatRequest {
            options: Some(options),
            ..request()
        };
        for (request, place) in [
            (
                ChatRequest {
                    model: "x".repeat(513),
                    ..request()
                },
                "/model",
            ),
            (
                ChatRequest {
                    messages: vec![],
                    ..request()
                },
                "/messages",
            ),
            (
                ChatRequest {
                    messages: vec![no_role],
                    ..request()
                },
                "/messages/0/role",
            ),
            (
                ChatRequest {
                    format: b"{".to_vec(),
                    ..request()
                },
                "/format",
            ),
            (
                options(Options {
                    temperature: Some(f64::NAN),
                    ..Options::default()
                }),
                "/options/temperature",
            ),
            (
                options(Options {
                    top_p: Some(1.5),
                    ..Options::default()
                }),
                "/options/top_p",
            ),
        ] {
            let error = Order::try_from(request).unwrap_err();
            assert!(
                matches!(&error, Error::Invalid { field, .. } if field == place),
                "{error}"
            );
        }
    }
}
