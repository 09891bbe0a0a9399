//! What a request can be wrong in, and the extractors that say so.

pub(super) mod idempotency;
pub(super) mod json;
pub(super) mod params;
pub(super) mod path;

use sutazai_proto::{Coded, Details, ErrorCode, Violation};

/// A request that breaks a rule of its schema.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// The body has no media type, or one other than JSON.
    #[error("the body has to be JSON: send `Content-Type: application/json`")]
    MediaType,
    /// The body, or one part of it, is larger than its limit.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// The body or the part.
        what: &'static str,
        /// Limit in bytes.
        limit: usize,
    },
    /// The body stopped arriving.
    #[error("the body did not arrive within {seconds} s")]
    Slow {
        /// Time that was allowed.
        seconds: u64,
    },
    /// The connection broke while the body arrived.
    #[error("the body ended early")]
    Cut,
    /// The body is not UTF-8.
    #[error("the body is not UTF-8 (at byte {at})")]
    Utf8 {
        /// Offset of the first wrong byte.
        at: usize,
    },
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    Syntax(String),
    /// A member or parameter that the operation does not know.
    #[error("unknown field")]
    UnknownField {
        /// JSON Pointer or name of the parameter.
        pointer: String,
        /// What is known instead.
        detail: String,
    },
    /// A value of the wrong type or outside its bounds.
    #[error("the request is not valid")]
    Invalid {
        /// JSON Pointer or name of the parameter.
        pointer: String,
        /// The rule that it breaks.
        detail: String,
    },
    /// An id that cannot name anything.
    #[error("the id is not valid")]
    Id {
        /// Name of the path's parameter, or JSON Pointer.
        parameter: &'static str,
        /// The rule that it breaks.
        detail: String,
    },
    /// The `Idempotency-Key` header breaks its syntax.
    #[error("the Idempotency-Key header is malformed: {0}")]
    IdempotencyKey(&'static str),
}

impl InputError {
    /// Refuses the value at a JSON Pointer or of a parameter.
    pub(crate) fn invalid(pointer: &str, detail: impl Into<String>) -> Self {
        Self::Invalid {
            pointer: pointer.to_owned(),
            detail: detail.into(),
        }
    }
}

impl Coded for InputError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            _ => ErrorCode::InvalidArgument,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::MediaType => "unsupported_media_type",
            Self::TooLarge { .. } => "body_too_large",
            Self::Slow { .. } => "body_timeout",
            Self::Cut => "body_incomplete",
            Self::Utf8 { .. } => "invalid_utf8",
            Self::Syntax(_) => "invalid_json",
            Self::UnknownField { .. } => "unknown_field",
            Self::Invalid { .. } => "validation_failed",
            Self::Id { .. } => "invalid_id",
            Self::IdempotencyKey(_) => "idempotency_key_malformed",
        }
    }

    fn details(&self) -> Details {
        let (field, description) = match self {
            Self::UnknownField { pointer, detail } | Self::Invalid { pointer, detail } => {
                (pointer.clone(), detail.clone())
            }
            Self::Id { parameter, detail } => ((*parameter).to_owned(), detail.clone()),
            Self::IdempotencyKey(rule) => ("Idempotency-Key".to_owned(), (*rule).to_owned()),
            _ => return Details::default(),
        };
        Details {
            violations: vec![Violation { field, description }],
            ..Details::default()
        }
    }
}
