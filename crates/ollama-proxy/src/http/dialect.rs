//! How errors are said in each of the two dialects.

use std::sync::OnceLock;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, header};
use serde_json::{Value, json};
use sutazai_proto::{Coded, ErrorCode, Problem, RemoteError};
use sutazai_runtime::parting::shutting_down;

/// Whose API a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Ollama's own.
    Native,
    /// OpenAI's.
    OpenAi,
}

/// How the pieces of an answer are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// One JSON document a line.
    Lines,
    /// Server-sent events.
    Events,
    /// The answer is one piece.
    Whole,
}

impl Dialect {
    /// Answers with an error before anything else was sent.
    pub(super) fn refuse(self, error: &impl Coded) -> Response {
        let problem = Problem::of(error);
        let mut response = (error.code().policy().http, Json(self.error(error))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = problem.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if error.code() == ErrorCode::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    fn error(self, error: &impl Coded) -> Value {
        let problem = Problem::of(error);
        match self {
            Self::Native => json!({"error": problem.detail}),
            Self::OpenAi => {
                let field = problem
                    .errors
                    .first()
                    .map(|fault| fault.pointer.trim_start_matches('/'));
                json!({"error": {
                    "message": problem.detail,
                    "type": kind(error.code()),
                    "param": field,
                    "code": problem.code,
                }})
            }
        }
    }

    /// Returns what a caller is told when the end of the process cuts its answer off. It is the same for
    /// all, and written once: each streamed answer carries it from its beginning.
    pub(super) fn parting_words(self, framing: Framing) -> Option<Bytes> {
        static WORDS: [[OnceLock<Option<Bytes>>; 3]; 2] =
            [const { [const { OnceLock::new() }; 3] }; 2];
        let words = &WORDS[self as usize][framing as usize];
        let write = || {
            let problem = shutting_down();
            let error = RemoteError::new(ErrorCode::Unavailable, problem.code, problem.detail);
            self.last_words(framing, &error)
        };
        words.get_or_init(write).clone()
    }

    /// Returns the last piece of an answer that breaks off, for a caller that has the earlier
    /// ones.
    pub(super) fn last_words(self, framing: Framing, error: &impl Coded) -> Option<Bytes> {
        let error = self.error(error);
        match framing {
            Framing::Lines => Some(format!("{error}\n").into()),
            Framing::Events => Some(format!("data: {error}\n\n").into()),
            Framing::Whole => None,
        }
    }
}

/// OpenAI's classes of errors.
fn kind(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Unauthenticated => "authentication_error",
        ErrorCode::PermissionDenied => "permission_error",
        ErrorCode::Exhausted => "rate_limit_error",
        code if code.policy().http.is_client_error() => "invalid_request_error",
        _ => "server_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Fault};

    fn unknown() -> Error {
        Error::ModelNotFound {
            model: "mistrall".into(),
            near: vec!["mistral:7b".into()],
        }
    }

    #[test]
    fn llm_15_an_unknown_model_is_404_with_near_names_in_both_dialects() {
        for dialect in [Dialect::Native, Dialect::OpenAi] {
            assert_eq!(dialect.refuse(&unknown()).status(), 404);
            assert!(dialect.error(&unknown()).to_string().contains("mistral:7b"));
        }
        let openai = &Dialect::OpenAi.error(&unknown())["error"];
        assert_eq!(
            (&openai["code"], &openai["type"]),
            (&json!("model_not_found"), &json!("invalid_request_error"))
        );
    }

    #[test]
    fn olp_02_a_full_queue_says_when_to_come_again() {
        let full = Error::QueueFull {
            waiting: 64,
            retry_after: std::time::Duration::from_millis(1500),
        };
        let response = Dialect::OpenAi.refuse(&full);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn llm_02_last_words_fit_the_framing() {
        let error = Error::Node {
            node: "gpu-1:11434".into(),
            fault: Fault::BrokenOff(None),
        };
        let line = Dialect::Native.last_words(Framing::Lines, &error).unwrap();
        assert!(line.starts_with(b"{\"error\":\"") && line.ends_with(b"\"}\n"));
        let event = Dialect::OpenAi.last_words(Framing::Events, &error).unwrap();
        assert!(event.starts_with(b"data: {\"error\":{") && event.ends_with(b"}}\n\n"));
        assert_eq!(Dialect::Native.last_words(Framing::Whole, &error), None);
        let parting = |dialect: Dialect, framing| dialect.parting_words(framing);
        let line = parting(Dialect::Native, Framing::Lines).unwrap();
        assert!(line.starts_with(b"{\"error\":\"") && line.ends_with(b"\"}\n"));
        let event = parting(Dialect::OpenAi, Framing::Events).unwrap();
        assert!(event.starts_with(b"data: {\"error\":{") && event.ends_with(b"}}\n\n"));
        assert_eq!(parting(Dialect::OpenAi, Framing::Whole), None);
    }
}
