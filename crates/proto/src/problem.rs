//! Errors over HTTP: `application/problem+json` (RFC 9457).

use std::collections::BTreeMap;

use http::{HeaderValue, Response, header};
use serde::{Deserialize, Serialize};

use crate::code::{Coded, Details, ErrorCode};
use crate::status::chain;

/// Media type of a problem document.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// URI reference that resolves to the description of `code` in the API's documentation.
    #[serde(rename = "type")]
    pub kind: String,
    /// Short text, the same for every occurrence of the status.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Stable snake_case name of what happened, for example `model_not_found`.
    pub code: String,
    /// Path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The `X-Request-Id` of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// W3C trace id, for whoever reads the logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Which parts of the request are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// Seconds after which the same request may work; also sent as `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// Further facts by snake_case name, for example `near_names`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// One fault in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// JSON Pointer (RFC 6901) into the body, or the name of a parameter or header.
    pub pointer: String,
    /// What is wrong and what is expected.
    pub detail: String,
}

impl Problem {
    /// Describes an error; the text of an internal one stays inside.
    pub fn of(error: &impl Coded) -> Self {
        let code = error.code();
        let detail = match code {
            ErrorCode::Internal => "an internal error occurred; the logs have it".to_owned(),
            _ => chain(error),
        };
        Self::new(code, error.reason(), detail).with(error.details())
    }

    /// Makes one from its parts.
    pub fn new(code: ErrorCode, reason: &str, detail: impl Into<String>) -> Self {
        let status = code.policy().http;
        Self {
            kind: format!("/docs/errors#{reason}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: reason.to_owned(),
            instance: None,
            request_id: None,
            trace_id: None,
            errors: Vec::new(),
            retry_after_seconds: None,
            facts: BTreeMap::new(),
        }
    }

    fn with(mut self, details: Details) -> Self {
        // Rounded up: trying a moment too early would fail again.
        self.retry_after_seconds = details
            .retry_after
            .map(|d| d.as_secs() + u64::from(d.subsec_nanos() > 0));
        self.errors = details
            .violations
            .into_iter()
            .map(|v| Fault {
                pointer: v.field,
                detail: v.description,
            })
            .collect();
        self.facts = details.metadata;
        self
    }

    /// Renders the document with its status and headers.
    pub fn into_response(self) -> Response<String> {
        let mut response = Response::new(serde_json::to_string(&self).unwrap_or_default());
        *response.status_mut() = http::StatusCode::from_u16(self.status)
            .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
