//! Ollama's JSON, as far as the proxy itself reads or writes it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// `/api/version`.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    pub(super) version: String,
}

/// `/api/tags` and `/api/ps`: the entries stay as the node wrote them.
#[derive(Debug, Deserialize)]
pub(super) struct Listing {
    models: Option<Vec<Box<RawValue>>>,
}

/// One listed model, as the node wrote it and as far as it is understood.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) raw: Box<RawValue>,
    pub(crate) entry: Entry,
}

/// What is understood of one listed model.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    #[serde(default)]
    pub(crate) digest: String,
    #[serde(default)]
    pub(crate) size: u64,
    /// RFC 3339.
    #[serde(default)]
    pub(crate) modified_at: String,
    #[serde(default)]
    pub(crate) details: Details,
}

/// What is understood of the details of a model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Details {
    pub(crate) family: String,
    pub(crate) parameter_size: String,
    pub(crate) quantization_level: String,
}

impl Listed {
    pub(crate) fn name(&self) -> &str {
        &self.entry.name
    }
}

impl Listing {
    pub(super) fn read(self) -> Result<Vec<Listed>, serde_json::Error> {
        self.models
            .unwrap_or_default()
            .into_iter()
            .map(|raw| {
                Ok(Listed {
                    entry: serde_json::from_str(raw.get())?,
                    raw,
                })
            })
            .collect()
    }
}

/// Request of `/api/chat`.
#[derive(Debug, Serialize)]
pub(crate) struct ChatBody<'a> {
    pub(crate) model: &'a str,
    pub(crate) messages: &'a [ChatMessage],
    pub(crate) stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<&'a RawValue>,
    pub(crate) options: &'a ChatOptions,
}

/// One turn of a conversation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChatMessage {
    pub(crate) role: &'static str,
    pub(crate) content: String,
}

/// Sampling parameters; what is absent is left to the model's own defaults.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ChatOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) num_predict: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) num_ctx: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) stop: Vec<String>,
}

/// One line of a streamed answer of `/api/chat`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ChatLine {
    pub(crate) message: Said,
    pub(crate) done: bool,
    pub(crate) done_reason: Option<String>,
    /// Nanoseconds.
    pub(crate) total_duration: u64,
    pub(crate) prompt_eval_count: u32,
    pub(crate) eval_count: u32,
    pub(crate) error: Option<String>,
}

/// The next piece of a message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Said {
    pub(crate) content: String,
    /// Tokens that are no part of the answer.
    pub(crate) thinking: String,
}

/// Reads the words of an error answer in either dialect, or as they are.
pub(crate) fn words_of_error(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        error: Words,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Native(String),
        OpenAi { message: String },
    }
    match serde_json::from_slice(body) {
        Ok(Answer {
            error: Words::Native(message) | Words::OpenAi { message },
        }) => message,
        Err(_) if body.is_empty() => "no explanation".to_owned(),
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_what_it_does_not_understand() {
        let raw = r#"{"name":"a:latest","size":7,"capabilities":["x"],"details":{"family":"f"}}"#;
        let listing: Listing = serde_json::from_str(&format!(r#"{{"models":[{raw}]}}"#)).unwrap();
        let models = listing.read().unwrap();
        assert_eq!(models[0].raw.get(), raw);
        assert_eq!(
            (
                models[0].entry.size,
                models[0].entry.details.family.as_str()
            ),
            (7, "f")
        );
        let none: Listing = serde_json::from_str(r#"{"models":null}"#).unwrap();
        assert!(none.read().unwrap().is_empty());
    }

    #[test]
    fn errors_are_read_in_either_dialect() {
        assert_eq!(
            words_of_error(br#"{"error":"out of memory"}"#),
            "out of memory"
        );
        assert_eq!(
            words_of_error(br#"{"error":{"message":"no","type":"x"}}"#),
            "no"
        );
        assert_eq!(
            words_of_error(b"<html>Bad Gateway</html>\n"),
            "<html>Bad Gateway</html>"
        );
        assert_eq!(words_of_error(b""), "no explanation");
    }
}
