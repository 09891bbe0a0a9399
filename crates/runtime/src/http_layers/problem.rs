//! Gives every error one form: a problem document that knows its request (RFC 9457).

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use sutazai_proto::{ErrorCode, Problem, problem::CONTENT_TYPE};

/// Largest body that is looked into, in bytes; ours are far smaller.
const LOOK_INTO: u64 = 64 * 1024;

/// What a problem document says about its request.
pub(super) struct About<'a> {
    pub(super) path: &'a str,
    pub(super) request_id: &'a str,
    pub(super) trace_id: Option<String>,
    /// Whether a route took the request.
    pub(super) matched: bool,
}

/// Completes an error's document, or makes one where a plain text or nothing was; returns the
/// answer with the name of the error.
///
/// Errors in another dialect, such as JSON of a foreign API, pass untouched and unnamed.
pub(super) async fn complete(response: Response, about: About<'_>) -> (Response, Option<String>) {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return (response, None);
    }
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.map_or("", |kind| kind.to_str().unwrap_or("?"));
    let (ours, plain) = (
        kind == CONTENT_TYPE,
        kind.is_empty() || kind.starts_with("text/plain"),
    );
    let small = response
        .body()
        .size_hint()
        .upper()
        .is_some_and(|bytes| bytes <= LOOK_INTO);
    if !small || !(ours || plain) {
        return (response, None);
    }
    let (mut head, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        return (Response::from_parts(head, Body::empty()), None);
    };
    let body = body.to_bytes();
    let problem = if ours {
        serde_json::from_slice(&body).ok()
    } else {
        Some(from_plain(
            status,
            &String::from_utf8_lossy(&body),
            about.matched,
        ))
    };
    let Some(mut problem): Option<Problem> = problem else {
        return (Response::from_parts(head, Body::from(body)), None);
    };
    problem
        .instance
        .get_or_insert_with(|| about.path.to_owned());
    problem
        .request_id
        .get_or_insert_with(|| about.request_id.to_owned());
    problem.trace_id = problem.trace_id.or(about.trace_id);
    let reason = problem.code.clone();
    let mut response = problem.into_response().into_response();
    // Whatever else the answer said stays, for example which methods are allowed.
    head.headers.remove(header::CONTENT_TYPE);
    head.headers.remove(header::CONTENT_LENGTH);
    for (name, value) in &head.headers {
        if !response.headers().contains_key(name) || name == header::SET_COOKIE {
            response.headers_mut().append(name, value.clone());
        }
    }
    *response.extensions_mut() = head.extensions;
    (response, Some(reason))
}

fn from_plain(status: StatusCode, text: &str, matched: bool) -> Problem {
    let title = status.canonical_reason().unwrap_or("Error");
    let snake = title.to_lowercase().replace([' ', '-', '\''], "_");
    let reason = match status {
        StatusCode::NOT_FOUND if !matched => "route_not_found",
        StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
        StatusCode::INTERNAL_SERVER_ERROR => "internal",
        _ => &snake,
    };
    let detail = match status {
        StatusCode::NOT_FOUND if !matched => "no route takes this path",
        StatusCode::METHOD_NOT_ALLOWED => "the path takes other methods, see `Allow`",
        // The text of a fault of ours may name what nobody outside should know.
        status if status.is_client_error() && !text.is_empty() => text,
        _ => title,
    };
    let known = ErrorCode::ALL
        .into_iter()
        .find(|code| code.policy().http == status);
    let mut problem = Problem::new(known.unwrap_or(ErrorCode::Internal), reason, detail);
    problem.status = status.as_u16();
    title.clone_into(&mut problem.title);
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn completed(response: impl IntoResponse, matched: bool) -> (Response, Option<String>) {
        let about = About {
            path: "/x",
            request_id: "r1",
            trace_id: None,
            matched,
        };
        complete(response.into_response(), about).await
    }

    async fn document(response: Response) -> Problem {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn beh_01_plain_errors_become_documents_and_keep_their_headers() {
        let plain = (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")], "");
        let (response, reason) = completed(plain, true).await;
        assert_eq!(reason.as_deref(), Some("method_not_allowed"));
        assert_eq!(response.headers()[header::ALLOW], "GET");
        assert_eq!(response.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
        let problem = document(response).await;
        assert_eq!(
            (problem.status, &*problem.title),
            (405, "Method Not Allowed")
        );
        assert_eq!(problem.instance.as_deref(), Some("/x"));
    }

    #[tokio::test]
    async fn beh_01_a_fault_of_ours_keeps_its_text_inside() {
        let plain = (StatusCode::INTERNAL_SERVER_ERROR, "password=canary");
        let (response, _) = completed(plain, true).await;
        let problem = document(response).await;
        assert!(!problem.detail.contains("canary"), "{}", problem.detail);
    }

    #[tokio::test]
    async fn a_document_learns_its_request_and_keeps_what_it_said() {
        let mut said = Problem::new(ErrorCode::NotFound, "task_not_found", "no such task");
        said.instance = Some("/other".to_owned());
        let (response, reason) = completed(said.into_response(), true).await;
        assert_eq!(reason.as_deref(), Some("task_not_found"));
        let problem = document(response).await;
        assert_eq!(problem.request_id.as_deref(), Some("r1"));
        assert_eq!(problem.instance.as_deref(), Some("/other"));
        assert_eq!(problem.detail, "no such task");
    }

    #[tokio::test]
    async fn foreign_dialects_and_successes_pass_untouched() {
        let foreign = [(header::CONTENT_TYPE, "application/json")];
        let foreign = (StatusCode::NOT_FOUND, foreign, r#"{"error":"x"}"#);
        let (response, reason) = completed(foreign, true).await;
        assert_eq!(reason, None);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let (response, _) = completed((StatusCode::OK, "fine"), true).await;
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            "fine"
        );
    }
}
