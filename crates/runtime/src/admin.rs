//! What every process tells about itself: health, readiness, metrics, diagnostics.

mod diagnostics;
mod metrics;
mod standing;
mod state;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use sutazai_proto::{ErrorCode, Problem};

pub(crate) use diagnostics::{Diagnostics, Operator, nobody};
pub(crate) use standing::Standing;
pub(crate) use state::Phase;

/// Paths that machines ask all the time; they are counted but not logged.
pub(crate) const PROBE_PATHS: [&str; 4] = ["/livez", "/readyz", "/health", "/metrics"];

/// Returns the administrative routes; `/health` also under other paths.
pub(crate) fn routes(standing: &Arc<Standing>, health_aliases: &[&str]) -> Router {
    let show_health = || -> MethodRouter { get(health).with_state(Arc::clone(standing)) };
    health_aliases.iter().fold(
        Router::new()
            .route("/livez", get(live))
            .route("/readyz", get(ready).with_state(Arc::clone(standing)))
            .route("/metrics", get(metrics::show))
            .route("/health", show_health()),
        |routes, path| routes.route(path, show_health()),
    )
}

/// Says that the process serves; whether its parts work is another question.
async fn live() -> Response {
    fresh(StatusCode::OK, &json!({ "status": "ok" }))
}

async fn ready(State(standing): State<Arc<Standing>>) -> Response {
    if standing.is_ready() {
        return fresh(StatusCode::OK, &json!({ "status": "ready" }));
    }
    Problem::new(ErrorCode::Unavailable, "not_ready", standing.complaint())
        .into_response()
        .into_response()
}

async fn health(State(standing): State<Arc<Standing>>) -> Response {
    let (status, body) = standing.health();
    let kind = HeaderValue::from_static("application/json");
    unkept((status, [(header::CONTENT_TYPE, kind)], body))
}

/// Answers with JSON that no cache keeps.
fn fresh(status: StatusCode, body: &impl serde::Serialize) -> Response {
    unkept((status, Json(body)))
}

fn unkept(response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
