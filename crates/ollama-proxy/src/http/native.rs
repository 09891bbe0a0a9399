//! Ollama's own API.

use axum::{
    Json, Router,
    extract::Request,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use serde_json::json;

use super::{
    Door,
    access::Locked,
    dialect::Dialect,
    forward::{Passage, forward},
};

/// Every path of Ollama's that is served; a `GET` answers `HEAD` too, by which clients probe.
pub(super) fn routes() -> Router<Locked> {
    Router::new()
        .route("/", get(async |_: Door| "Ollama is running"))
        .route("/api/version", get(version))
        .route("/api/tags", get(tags))
        .route("/api/ps", get(ps))
        .route("/api/show", passed("/api/show", false))
        .route("/api/chat", passed("/api/chat", true))
        .route("/api/generate", passed("/api/generate", true))
        .route("/api/embed", passed("/api/embed", false))
        .route("/api/embeddings", passed("/api/embeddings", false))
}

fn passed(path: &'static str, streams: bool) -> MethodRouter<Locked> {
    let passage = Passage {
        dialect: Dialect::Native,
        path,
        streams,
    };
    post(move |door: Door, request: Request| forward(door, passage, request))
}

async fn version(door: Door) -> Response {
    match door.0.fleet.version() {
        Ok(version) => Json(json!({"version": version})).into_response(),
        Err(error) => Dialect::Native.refuse(&error),
    }
}

async fn tags(door: Door) -> Response {
    let models: Vec<_> = door
        .0
        .fleet
        .models()
        .await
        .into_iter()
        .map(|model| model.raw)
        .collect();
    Json(json!({"models": models})).into_response()
}

async fn ps(door: Door) -> Response {
    Json(json!({"models": door.0.fleet.running().await})).into_response()
}
