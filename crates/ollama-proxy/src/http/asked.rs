//! The few fields of a request that decide where it goes and how its answer looks.

use serde::Deserialize;
use serde_json::Value;

use super::dialect::Dialect;
use crate::{error::Error, models};

/// What is read of a body that is otherwise passed on as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Name of the model as the caller wrote it.
    pub(super) model: String,
    /// Whether the answer comes in pieces.
    pub(super) stream: bool,
}

/// Parameters of OpenAI that Ollama would ignore.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    model: Option<String>,
    /// Earlier name of `model`, still sent by some clients.
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    n: Option<Value>,
    #[serde(default)]
    logit_bias: Option<Value>,
    #[serde(default)]
    tool_choice: Option<Value>,
}

impl Asked {
    /// Reads a body; `streams` says whether the path can answer in pieces at all.
    ///
    /// # Errors
    ///
    /// [`Error::Json`], a missing model or one whose name is too long, or in OpenAI's dialect a
    /// parameter that Ollama ignores.
    pub(super) fn read(body: &[u8], dialect: Dialect, streams: bool) -> Result<Self, Error> {
        let fields: Fields = serde_json::from_slice(body)?;
        let model = match dialect {
            // Ollama's own client sends both, and leaves one of them empty.
            Dialect::Native => fields
                .model
                .filter(|model| !model.is_empty())
                .or(fields.name),
            Dialect::OpenAi => {
                let one = fields.n.as_ref().is_none_or(|n| n.as_u64() == Some(1));
                let ignored = [
                    (!one, "n"),
                    (fields.logit_bias.is_some(), "logit_bias"),
                    (fields.tool_choice.is_some(), "tool_choice"),
                ];
                if let Some((_, field)) = ignored.into_iter().find(|(asked, _)| *asked) {
                    return Err(Error::Unsupported { field });
                }
                fields.model
            }
        };
        let model = model
            .filter(|model| !model.is_empty())
            .ok_or_else(|| Error::Invalid {
                field: "/model".to_owned(),
                description: "model is required".to_owned(),
            })?;
        models::check(&model)?;
        // Ollama streams unless told not to, OpenAI only when told to.
        let stream = streams && fields.stream.unwrap_or(dialect == Dialect::Native);
        Ok(Self { model, stream })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, dialect: Dialect) -> Result<Asked, Error> {
        Asked::read(body.as_bytes(), dialect, true)
    }

    #[test]
    fn each_dialect_has_its_default_for_streaming() {
        for (dialect, default) in [(Dialect::Native, true), (Dialect::OpenAi, false)] {
            for (stream, expected) in [
                ("", default),
                (r#","stream":null"#, default),
                (r#","stream":true"#, true),
                (r#","stream":false"#, false),
            ] {
                let asked = read(&format!(r#"{{"model":"a"{stream}}}"#), dialect).unwrap();
                assert_eq!(
                    asked,
                    Asked {
                        model: "a".into(),
                        stream: expected
                    },
                    "{dialect:?} {stream}"
                );
            }
            let body = br#"{"model":"a","stream":true}"#;
            assert!(
                !Asked::read(body, dialect, false).unwrap().stream,
                "embeddings do not stream"
            );
        }
    }

    #[test]
    fn what_ollama_would_ignore_is_refused_by_name() {
        for (field, value) in [
            ("n", "2"),
            ("n", "\"two\""),
            ("logit_bias", r#"{"50256":-100}"#),
            ("tool_choice", "\"auto\""),
        ] {
            let body = format!(r#"{{"model":"a","{field}":{value}}}"#);
            let refused = read(&body, Dialect::OpenAi).unwrap_err();
            assert!(
                matches!(refused, Error::Unsupported { field: named } if named == field),
                "{body}"
            );
            assert!(
                read(&body, Dialect::Native).is_ok(),
                "the native dialect knows no such field"
            );
        }
        for harmless in [
            r#"{"model":"a","n":1}"#,
            r#"{"model":"a","tool_choice":null,"n":null}"#,
        ] {
            assert!(read(harmless, Dialect::OpenAi).is_ok(), "{harmless}");
        }
    }

    #[test]
    fn a_body_without_a_model_or_without_sense_is_refused() {
        for body in ["{}", r#"{"model":""}"#, r#"{"model":null}"#] {
            assert!(
                matches!(read(body, Dialect::OpenAi), Err(Error::Invalid { .. })),
                "{body}"
            );
        }
        for body in [
            "",
            "[1]",
            "{",
            r#"{"model":7}"#,
            r#"{"model":"a","model":"b"}"#,
            "\u{feff}{}",
        ] {
            assert!(
                matches!(read(body, Dialect::Native), Err(Error::Json(_))),
                "{body}"
            );
        }
    }

    #[test]
    fn only_ollamas_dialect_knows_the_earlier_name_and_an_empty_model_is_none() {
        // As `ollama show a` and `ollama run a` send it.
        let of_ollama =
            r#"{"model":"","system":"","template":"","verbose":false,"options":null,"name":"a"}"#;
        for body in [
            r#"{"name":"a"}"#,
            r#"{"model":null,"name":"a"}"#,
            r#"{"model":"a","name":"b"}"#,
            r#"{"model":"a","name":""}"#,
            of_ollama,
        ] {
            assert_eq!(read(body, Dialect::Native).unwrap().model, "a", "{body}");
        }
        for (body, dialect) in [
            (of_ollama, Dialect::OpenAi),
            (r#"{"model":"","name":""}"#, Dialect::Native),
            (r#"{"model":""}"#, Dialect::Native),
        ] {
            assert!(
                matches!(read(body, dialect), Err(Error::Invalid { .. })),
                "{body}"
            );
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_refused_in_both_dialects() {
        for dialect in [Dialect::Native, Dialect::OpenAi] {
            let named = |length| format!(r#"{{"model":"{}"}}"#, "x".repeat(length));
            assert!(read(&named(512), dialect).is_ok(), "{dialect:?}");
            let refused = read(&named(513), dialect).unwrap_err();
            assert!(
                matches!(&refused, Error::Invalid { field, .. } if field == "/model"),
                "{dialect:?}: {refused}"
            );
        }
        let earlier = format!(r#"{{"model":"","name":"{}"}}"#, "x".repeat(513));
        assert!(matches!(
            read(&earlier, Dialect::Native),
            Err(Error::Invalid { .. })
        ));
    }
}
