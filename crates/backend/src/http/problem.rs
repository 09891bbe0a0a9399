//! Errors as answers: `application/problem+json`. The runtime adds which request they belong to.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use sutazai_proto::{Coded, Problem};

/// Header by which a request is found in the logs.
const REQUEST_ID: &str = "x-request-id";

/// What a handler answers instead of its result.
#[derive(Debug)]
pub(crate) struct Failure(Box<Problem>);

impl Failure {
    /// Answers with a document that stands for no error of ours.
    pub(crate) fn from_problem(problem: Problem) -> Self {
        Self(Box::new(problem))
    }

    /// Returns the document, for answers that are streams already.
    pub(crate) fn into_problem(self) -> Problem {
        *self.0
    }

    /// Gives the failure a status that the closed table of codes does not know.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status.as_u16();
        status
            .canonical_reason()
            .unwrap_or_default()
            .clone_into(&mut self.0.title);
        self
    }
}

impl<E: Coded> From<E> for Failure {
    fn from(error: E) -> Self {
        log(&error);
        Self(Box::new(Problem::of(&error)))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response().map(Body::from)
    }
}

/// Writes the one log line of an error, where it is handled.
fn log(error: &impl Coded) {
    let (code, reason) = (error.code(), error.reason());
    let cause = sutazai_proto::status::chain(error);
    // A macro's level is part of its call site, so each level has its own.
    match code.policy().level {
        tracing::Level::ERROR => tracing::error!(%code, reason, cause, "request failed"),
        tracing::Level::WARN => tracing::warn!(%code, reason, cause, "request failed"),
        tracing::Level::INFO => tracing::info!(%code, reason, cause, "request refused"),
        _ => tracing::debug!(%code, reason, cause, "request refused"),
    }
}

/// Which request a problem belongs to, for streams: their head is long gone when they fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Occurrence {
    instance: String,
    request_id: Option<String>,
    trace_id: Option<String>,
}

impl Occurrence {
    /// Adds path, request id and trace id.
    pub(crate) fn complete(&self, problem: &mut Problem) {
        problem.instance = Some(self.instance.clone());
        problem.request_id.clone_from(&self.request_id);
        problem.trace_id.clone_from(&self.trace_id);
    }
}

impl<S: Sync> FromRequestParts<S> for Occurrence {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let request_id = parts
            .headers
            .get(REQUEST_ID)
            .and_then(|id| id.to_str().ok());
        Ok(Self {
            instance: parts.uri.path().to_owned(),
            request_id: request_id.map(str::to_owned),
            trace_id: sutazai_telemetry::propagate::trace_id(),
        })
    }
}
