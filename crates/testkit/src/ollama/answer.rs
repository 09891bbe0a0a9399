//! What a fake node says, piece by piece, in the two dialects of Ollama.

use std::{fmt::Write, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Fault, Script};

const CREATED_AT: &str = "2026-01-02T03:04:05.678901Z";
/// Seconds since the epoch of [`CREATED_AT`].
const CREATED: u64 = 1_767_323_045;

/// Form of a generated answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Chat,
    Generate,
    OpenAi,
}

/// How a client wants its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Token by token.
    pub(super) stream: bool,
    /// A stream of OpenAI's dialect ends with what it used.
    pub(super) usage: bool,
}

/// What is said, and when.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) content_type: &'static str,
    /// Wait before the head.
    pub(super) head_after: Duration,
    /// Pieces, each with the wait before it.
    pub(super) pieces: Vec<(Duration, Bytes)>,
    /// Whether nothing more comes after the last piece, not even the end.
    pub(super) hangs: bool,
}

/// Plans the answer to one request for `model`.
pub(super) fn plan(script: &Script, dialect: Dialect, model: &str, wish: Wish) -> Plan {
    let speech = Speech {
        script,
        dialect,
        model,
        wish,
    };
    if wish.stream {
        speech.streamed()
    } else {
        speech.whole()
    }
}

struct Speech<'a> {
    script: &'a Script,
    dialect: Dialect,
    model: &'a str,
    wish: Wish,
}

impl Speech<'_> {
    fn streamed(&self) -> Plan {
        let script = self.script;
        let tokens = script.tokens.len();
        let said = match script.fault {
            Some(Fault::Empty | Fault::HangAfterHead) => 0,
            Some(
                Fault::StallAfterTokens(n)
                | Fault::GarbageAfterTokens(n)
                | Fault::ErrorAfterTokens(n)
                | Fault::EndAfterTokens(n),
            ) => n.min(tokens),
            _ => tokens,
        };
        let mut pieces: Vec<_> = script.tokens[..said]
            .iter()
            .enumerate()
            .map(|(i, token)| (self.wait(i), self.frame(&self.piece(token))))
            .collect();
        match script.fault {
            Some(
                Fault::Empty
                | Fault::HangAfterHead
                | Fault::StallAfterTokens(_)
                | Fault::EndAfterTokens(_),
            ) => {}
            Some(Fault::GarbageAfterTokens(n)) => {
                pieces.push((
                    self.wait(n),
                    Bytes::from_static(b"<html>no JSON</html>\n\n"),
                ));
            }
            Some(Fault::ErrorAfterTokens(n)) => {
                let error = match self.dialect {
                    Dialect::OpenAi => {
                        json!({"error": {"message": "out of memory", "type": "api_error"}})
                    }
                    _ => json!({"error": "out of memory"}),
                };
                pieces.push((self.wait(n), self.frame(&error)));
            }
            _ => pieces.push((self.wait(tokens), self.ending())),
        }
        let at_once = script.fault == Some(Fault::HangAfterHead);
        Plan {
            content_type: match self.dialect {
                Dialect::OpenAi => "text/event-stream",
                _ => "application/x-ndjson",
            },
            head_after: if at_once {
                Duration::ZERO
            } else {
                script.first_token_after
            },
            pieces,
            hangs: matches!(
                script.fault,
                Some(Fault::HangAfterHead | Fault::StallAfterTokens(_))
            ),
        }
    }

    /// The answer in one piece, after the time that all tokens take.
    fn whole(&self) -> Plan {
        let script = self.script;
        let text = script.tokens.concat();
        let pauses = u32::try_from(script.tokens.len()).unwrap_or(u32::MAX);
        let body = match self.dialect {
            Dialect::OpenAi => json!({
                "id": "chatcmpl-1", "object": "chat.completion", "created": CREATED, "model": self.model,
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                "usage": self.usage(),
            }),
            _ => self.done(&text),
        };
        let pieces = match script.fault {
            Some(Fault::Empty | Fault::HangAfterHead) => Vec::new(),
            _ => vec![(Duration::ZERO, Bytes::from(body.to_string()))],
        };
        Plan {
            content_type: "application/json; charset=utf-8",
            head_after: script.first_token_after + script.between_tokens * pauses,
            pieces,
            hangs: script.fault == Some(Fault::HangAfterHead),
        }
    }

    /// The first token comes with the head.
    fn wait(&self, index: usize) -> Duration {
        if index == 0 {
            Duration::ZERO
        } else {
            self.script.between_tokens
        }
    }

    fn frame(&self, value: &Value) -> Bytes {
        Bytes::from(match self.dialect {
            Dialect::OpenAi => format!("data: {value}\n\n"),
            _ => format!("{value}\n"),
        })
    }

    fn piece(&self, token: &str) -> Value {
        match self.dialect {
            Dialect::Chat => json!({
                "model": self.model, "created_at": CREATED_AT,
                "message": {"role": "assistant", "content": token}, "done": false,
            }),
            Dialect::Generate => json!({
                "model": self.model, "created_at": CREATED_AT, "response": token, "done": false,
            }),
            Dialect::OpenAi => self.chunk(
                &json!({"role": "assistant", "content": token}),
                &Value::Null,
            ),
        }
    }

    fn ending(&self) -> Bytes {
        match self.dialect {
            Dialect::OpenAi => {
                let last = self.chunk(&json!({}), &json!("stop"));
                let mut text = format!("data: {last}\n\n");
                if self.wish.usage {
                    let mut used = self.chunk(&Value::Null, &Value::Null);
                    (used["choices"], used["usage"]) = (json!([]), self.usage());
                    // Writing to a String can not fail.
                    let _ = write!(text, "data: {used}\n\n");
                }
                Bytes::from(text + "data: [DONE]\n\n")
            }
            _ => self.frame(&self.done("")),
        }
    }

    fn usage(&self) -> Value {
        let said = self.script.tokens.len();
        json!({"prompt_tokens": 7, "completion_tokens": said, "total_tokens": 7 + said})
    }

    fn chunk(&self, delta: &Value, finish: &Value) -> Value {
        json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED, "model": self.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        })
    }

    fn done(&self, text: &str) -> Value {
        let mut done = json!({
            "model": self.model, "created_at": CREATED_AT, "done": true, "done_reason": "stop",
            "total_duration": 5_000_000, "load_duration": 1_000_000,
            "prompt_eval_count": 7, "prompt_eval_duration": 2_000_000,
            "eval_count": self.script.tokens.len(), "eval_duration": 2_000_000,
        });
        match self.dialect {
            Dialect::Chat => done["message"] = json!({"role": "assistant", "content": text}),
            _ => done["response"] = json!(text),
        }
        done
    }
}

/// One entry of `/api/tags`; digest and size are made from the name, so that two nodes agree.
pub(super) fn listed(name: &str) -> Value {
    let size: usize = name.bytes().map(usize::from).sum();
    json!({
        "name": name, "model": name, "modified_at": CREATED_AT, "size": size * 1_000_000,
        "digest": format!("{size:064x}"),
        "details": {
            "parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
            "parameter_size": "1.1B", "quantization_level": "Q4_0",
        },
    })
}

/// One entry of `/api/ps`.
pub(super) fn running(name: &str) -> Value {
    let mut entry = listed(name);
    entry["expires_at"] = json!("2036-01-02T03:04:05Z");
    entry["size_vram"] = json!(0);
    entry
}

/// One entry of `/v1/models`.
pub(super) fn openai_model(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": CREATED, "owned_by": "library"})
}

/// The same three numbers for the same text.
pub(super) fn embedding(text: &str) -> Value {
    let sum: u32 = text.bytes().map(u32::from).sum();
    json!([text.len(), sum, 0.5])
}

/// A vector as clients ask for it to save bytes: single precision, little endian, in Base64.
pub(super) fn packed(vector: &Value) -> Value {
    let numbers = vector.as_array().into_iter().flatten();
    let numbers = numbers.filter_map(|number| number.to_string().parse().ok());
    let bytes: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
    json!(STANDARD.encode(bytes))
}
