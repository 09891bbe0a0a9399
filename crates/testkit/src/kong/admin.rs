//! The admin API itself.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, Request, State as Shared},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{declaration, schema::Schemas};

const VERSION: &str = "3.9.1";
/// Numbers of Kong's kinds of errors.
const UNSUPPORTED: u8 = 12;
const DECLARATION: u8 = 14;

/// What a Kong holds.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Entities side by side, and the version of their form.
    pub(super) loaded: Value,
    /// The text that was loaded.
    text: String,
    pub(super) loads: usize,
    pub(super) failure: Option<u16>,
}

type Kong = Arc<Mutex<State>>;

pub(super) fn routes(state: Kong) -> Router {
    Router::new()
        .route("/", get(node))
        .route("/status", get(status))
        .route("/config", get(config).post(load))
        .route("/{kind}", get(list).post(refuse))
        .route(
            "/{kind}/{name}",
            get(one).put(refuse).patch(refuse).delete(refuse),
        )
        .layer(middleware::from_fn_with_state(state.clone(), fail))
        .with_state(state)
}

async fn fail(Shared(kong): Shared<Kong>, request: Request, next: Next) -> Response {
    let failure = kong.lock().failure;
    match failure.and_then(|status| StatusCode::from_u16(status).ok()) {
        Some(status) => (
            status,
            Json(json!({"message": "An unexpected error occurred"})),
        )
            .into_response(),
        None => next.run(request).await,
    }
}

async fn node() -> Json<Value> {
    Json(json!({
        "version": VERSION,
        "tagline": "Welcome to kong",
        "configuration": { "database": "off" },
    }))
}

async fn status(Shared(kong): Shared<Kong>) -> Json<Value> {
    let empty = "00000000000000000000000000000000".to_owned();
    let state = kong.lock();
    let hash = if state.loads == 0 {
        empty
    } else {
        format!("{:032x}", state.loads)
    };
    Json(json!({
        "database": { "reachable": true },
        "configuration_hash": hash,
        "server": { "connections_active": 1 },
    }))
}

/// Answers what is loaded, as YAML inside JSON.
async fn config(Shared(kong): Shared<Kong>) -> Response {
    let loaded = match &kong.lock().loaded {
        Value::Null => json!({ "_format_version": "3.0", "_transform": false }),
        loaded => loaded.clone(),
    };
    match serde_saphyr::to_string(&loaded) {
        Ok(text) => Json(json!({ "config": text })).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn load(
    Shared(kong): Shared<Kong>,
    Query(query): Query<BTreeMap<String, String>>,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if body.is_null() {
        let message = json!({ "message": "expected a declarative configuration" });
        return (StatusCode::BAD_REQUEST, Json(message)).into_response();
    }
    let text = match &body["config"] {
        Value::String(text) => text.clone(),
        _ => body.to_string(),
    };
    if query.get("check_hash").is_some_and(|check| check == "1") && kong.lock().text == text {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    // JSON is YAML.
    let document: Value = serde_saphyr::from_str(&text).unwrap_or_default();
    match declaration::load(&Schemas::new(), &document) {
        Ok(entities) => {
            let mut state = kong.lock();
            state.loaded = entities.clone();
            state.text = text;
            state.loads += 1;
            (StatusCode::CREATED, Json(entities)).into_response()
        }
        Err(fields) => {
            let message = format!("declarative config is invalid: {}", lua(&fields));
            let answer = json!({
                "code": DECLARATION,
                "name": "invalid declarative configuration",
                "message": message,
                "fields": fields,
            });
            (StatusCode::BAD_REQUEST, Json(answer)).into_response()
        }
    }
}

async fn list(Shared(kong): Shared<Kong>, Path(kind): Path<String>) -> Json<Value> {
    let entities = kong.lock().loaded[&kind].clone();
    let entities = entities.as_array().cloned().unwrap_or_default();
    Json(json!({ "data": entities, "next": null }))
}

async fn one(Shared(kong): Shared<Kong>, Path((kind, name)): Path<(String, String)>) -> Response {
    let entities = kong.lock().loaded[&kind].clone();
    let mut entities = entities.as_array().cloned().unwrap_or_default().into_iter();
    let found = entities.find(|entity| entity["name"] == name || entity["id"] == name);
    found.map_or_else(
        || (StatusCode::NOT_FOUND, Json(json!({"message": "Not found"}))).into_response(),
        |entity| Json(entity).into_response(),
    )
}

/// Without a database nothing but `/config` may be written.
async fn refuse(method: Method, Path(path): Path<Vec<String>>) -> Response {
    let kind = path.first().map_or("", String::as_str);
    let verb = match method {
        Method::POST => "create",
        Method::DELETE => "delete",
        Method::PUT => "create or update",
        _ => "update",
    };
    let answer = json!({
        "code": UNSUPPORTED,
        "name": "operation unsupported",
        "message": format!("cannot {verb} '{kind}' entities when not using a database"),
    });
    (StatusCode::METHOD_NOT_ALLOWED, Json(answer)).into_response()
}

/// Writes errors as Kong writes them into a message.
fn lua(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let parts = object.iter().map(|(key, value)| {
                let plain = key.chars().all(|c| c.is_alphanumeric() || c == '_');
                let key = if plain {
                    key.clone()
                } else {
                    format!("[\"{key}\"]")
                };
                format!("{key}={}", lua(value))
            });
            format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
        }
        Value::Array(list) => {
            let whole = list.iter().all(|value| !value.is_null());
            let parts = list
                .iter()
                .enumerate()
                .filter(|(_, value)| !value.is_null());
            let parts = parts.map(|(at, value)| {
                if whole {
                    lua(value)
                } else {
                    format!("[{}]={}", at + 1, lua(value))
                }
            });
            format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}
