//! The input of `llm.generate`.

use serde::Deserialize;
use serde_json::value::RawValue;
use sutazai_agent_kit::Failure;
use sutazai_proto::inference::v1 as wire;

/// What a client may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    prompt: Option<String>,
    #[serde(default)]
    messages: Vec<Message>,
    /// Instruction in front of everything.
    system: Option<String>,
    #[serde(default)]
    model: String,
    #[serde(default)]
    options: Options,
    /// JSON Schema of the answer.
    format: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    role: Role,
    content: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    User,
    Assistant,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<i64>,
    max_tokens: Option<u32>,
    context_length: Option<u32>,
    #[serde(default)]
    stop: Vec<String>,
}

impl Input {
    /// Makes the request to the fleet.
    pub(super) fn into_request(self) -> Result<wire::ChatRequest, Failure> {
        let system = self.system.map(|text| message(Role::System, text));
        let asked = match (self.prompt, self.messages) {
            (Some(prompt), messages) if messages.is_empty() => vec![message(Role::User, prompt)],
            (None, messages) if !messages.is_empty() => messages
                .into_iter()
                .map(|m| message(m.role, m.content))
                .collect(),
            _ => {
                return Err(Failure::invalid(
                    "the input needs either `prompt` or `messages`",
                ));
            }
        };
        let format = self.format.map(|schema| schema.get().as_bytes().to_vec());
        if format
            .as_ref()
            .is_some_and(|schema| schema.first() != Some(&b'{'))
        {
            return Err(Failure::invalid(
                "`format` has to be a JSON Schema, an object",
            ));
        }
        Ok(wire::ChatRequest {
            model: self.model,
            messages: system.into_iter().chain(asked).collect(),
            options: Some(wire::Options {
                temperature: self.options.temperature,
                top_p: self.options.top_p,
                seed: self.options.seed,
                max_tokens: self.options.max_tokens,
                context_length: self.options.context_length,
                stop: self.options.stop,
            }),
            format: format.unwrap_or_default(),
            cache: None,
        })
    }
}

fn message(role: Role, content: String) -> wire::Message {
    let role = match role {
        Role::System => wire::Role::System,
        Role::User => wire::Role::User,
        Role::Assistant => wire::Role::Assistant,
    };
    wire::Message {
        role: role.into(),
        content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<wire::ChatRequest, Failure> {
        serde_json::from_str::<Input>(text)
            .map_err(|e| Failure::invalid(e.to_string()))?
            .into_request()
    }

    #[test]
    fn a_prompt_becomes_one_message_behind_the_system_text() {
        let request =
            request(r#"{"prompt":"hi","system":"be brief","model":"m","options":{"seed":7}}"#);
        let request = request.unwrap();
        let texts: Vec<&str> = request
            .messages
            .iter()
            .map(|m| m.content.as_str())
            .collect();
        assert_eq!(texts, ["be brief", "hi"]);
        assert_eq!(
            (request.model.as_str(), request.options.unwrap().seed),
            ("m", Some(7))
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "{}",
            r#"{"prompt":"a","messages":[{"role":"user","content":"b"}]}"#,
            r#"{"prompt":"a","temprature":1}"#,
            r#"{"prompt":"a","options":{"temprature":1}}"#,
            r#"{"messages":[{"role":"wizard","content":"b"}]}"#,
            r#"{"prompt":"a","format":"json"}"#,
            r#"{"prompt":7}"#,
        ] {
            let failure = request(text).expect_err(text);
            assert_eq!(
                (failure.reason.as_str(), failure.retryable),
                ("validation_failed", false)
            );
        }
    }

    #[test]
    fn a_schema_travels_byte_for_byte() {
        let request =
            request(r#"{"prompt":"a","format":{"type":"object", "n": 12345678901234567890}}"#);
        assert_eq!(
            request.unwrap().format,
            br#"{"type":"object", "n": 12345678901234567890}"#
        );
    }
}
