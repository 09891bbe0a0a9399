//! Ollama's own API.

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use serde_json::json;

use super::{
    Door,
    dialect::Dialect,
    forward::{Passage, forward},
};

/// Every path of Ollama's that is served; a `GET` answers `HEAD` too, by which clients probe.
pub(super) fn routes() -> Router<Door> {
    Router::new()
        .route("/", get("Ollama is running"))
        .route("/api/version", get(version))
        .route("/api/tags", get(tags))
        .route("/api/ps", get(ps))
        .route("/api/show", passed("/api/show", false))
        .route("/api/chat", passed("/api/chat", true))
        .route("/api/generate", passed("/api/generate", true))
        .route("/api/embed", passed("/api/embed", false))
        .route("/api/embeddings", passed("/api/embeddings", false))
}

fn passed(path: &'static str, streams: bool) -> MethodRouter<Door> {
    let passage = Passage {
        dialect: Dialect::Native,
        path,
        streams,
    };
    post(
        move |State(door): State<Door>, request: Request| async move {
            forward(&door.fleet, passage, door.body_limit, request).await
        },
    )
}

async fn version(State(door): State<Door>) -> Response {
    match door.fleet.version() {
        Ok(version) => Json(json!({"version": version})).into_response(),
        Err(error) => Dialect::Native.refuse(&error),
    }
}

async fn tags(State(door): State<Door>) -> Response {
    let models: Vec<_> = door
        .fleet
        .models()
        .await
        .into_iter()
        .map(|model| model.raw)
        .collect();
    Json(json!({"models": models})).into_response()
}

async fn ps(State(door): State<Door>) -> Response {
    Json(json!({"models": door.fleet.running().await})).into_response()
}
