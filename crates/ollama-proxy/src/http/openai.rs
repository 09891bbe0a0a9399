//! OpenAI's API, as far as Ollama speaks it.

use axum::{
    Json, Router,
    extract::{Path, Request},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use chrono::DateTime;
use serde_json::{Value, json};

use super::{
    Door,
    access::Locked,
    dialect::Dialect,
    forward::{Passage, forward},
};
use crate::{error::Error, fleet::ModelView};

/// What Ollama calls the owner of a model that names none.
const OWNER: &str = "library";

/// Every path of OpenAI's that is served. Ids of models may contain slashes and colons.
pub(super) fn routes() -> Router<Locked> {
    Router::new()
        .route("/v1/chat/completions", passed("/v1/chat/completions", true))
        .route("/v1/embeddings", passed("/v1/embeddings", false))
        .route("/v1/models", get(list))
        .route("/v1/models/{*id}", get(show))
}

fn passed(path: &'static str, streams: bool) -> MethodRouter<Locked> {
    let passage = Passage {
        dialect: Dialect::OpenAi,
        path,
        streams,
    };
    post(move |door: Door, request: Request| forward(door, passage, request))
}

async fn list(door: Door) -> Response {
    let data: Vec<_> = door.0.fleet.models().await.iter().map(model).collect();
    Json(json!({"object": "list", "data": data})).into_response()
}

async fn show(door: Door, Path(id): Path<String>) -> Response {
    match find(&door, &id).await {
        Ok(found) => Json(model(&found)).into_response(),
        Err(error) => Dialect::OpenAi.refuse(&error),
    }
}

async fn find(door: &Door, id: &str) -> Result<ModelView, Error> {
    let name = door.0.fleet.resolve(id).await?;
    let mut models = door.0.fleet.models().await.into_iter();
    models
        .find(|model| *model.entry.name == *name)
        .ok_or_else(|| Error::ModelNotFound {
            model: id.to_owned(),
            near: Vec::new(),
        })
}

fn model(view: &ModelView) -> Value {
    let entry = &view.entry;
    // `owner/name:tag`, and `host/owner/name:tag` for other registries.
    let owner = entry
        .name
        .rsplit_once('/')
        .map_or(OWNER, |(owner, _)| owner);
    let created =
        DateTime::parse_from_rfc3339(&entry.modified_at).map_or(0, |time| time.timestamp());
    json!({"id": entry.name, "object": "model", "created": created, "owned_by": owner})
}
