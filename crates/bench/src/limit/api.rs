//! The bare API: axum over the same tables in one process; no key is checked, nothing is limited.

use std::{env, net::SocketAddr, process::ExitCode};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use uuid::Uuid;

use super::{
    answer::serve,
    api_rows::{StoredTask, Turn},
    task_rows::Rows,
};
use crate::{failure::Failure, upstream::MODEL};

/// Names the superuser's way to the platform's database.
pub(crate) const DATABASE: &str = "BENCH_DATABASE_URL";
/// Names the list of agents that ours answers: the limit sends the same bytes.
pub(crate) const AGENTS: &str = "BENCH_AGENTS";

#[derive(Clone)]
struct Bare {
    rows: Rows,
    model: Client<HttpConnector, Full<Bytes>>,
    node: SocketAddr,
    agents: Bytes,
}

/// Serves on a port of 127.0.0.1 until the process is ended.
pub(crate) async fn run(port: u16, node: SocketAddr) -> Result<ExitCode, Failure> {
    let variable =
        |name: &str| env::var(name).map_err(|_| Failure::wrong(format!("{name} is not set")));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let bare = Bare {
        rows: Rows::new(&variable(DATABASE)?).await?,
        model: Client::builder(TokioExecutor::new()).build(connector),
        node,
        agents: variable(AGENTS)?.into(),
    };
    let routes = Router::new()
        .route("/health", get(async || "ok"))
        .route("/api/v1/agents", get(agents))
        .route("/api/v1/tasks", post(create))
        .route("/api/v1/tasks/{id}", get(read))
        .route("/api/v1/chat", post(chat))
        .with_state(bare);
    serve(port, routes).await
}

async fn agents(State(bare): State<Bare>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], bare.agents)
}

#[derive(Deserialize)]
struct NewTask {
    #[serde(rename = "type")]
    kind: String,
    input: Box<RawValue>,
}

#[derive(Serialize)]
struct Task {
    id: Uuid,
    #[serde(rename = "type")]
    kind: String,
    state: String,
    priority: i16,
    attempt: i32,
    max_attempts: i32,
    effect_mode: String,
    input: Box<RawValue>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    cancel_requested: bool,
    subject: String,
}

async fn create(
    State(bare): State<Bare>,
    Json(asked): Json<NewTask>,
) -> Result<(StatusCode, Json<Task>), StatusCode> {
    let id = Uuid::now_v7();
    let stored = bare.rows.accept(id, asked.input.get().as_bytes()).await;
    stored.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let now = Utc::now();
    let task = Task {
        id,
        kind: asked.kind,
        state: "queued".to_owned(),
        priority: 5,
        attempt: 0,
        max_attempts: 3,
        effect_mode: "idempotent".to_owned(),
        input: asked.input,
        created_at: now,
        updated_at: now,
        cancel_requested: false,
        subject: "bench".to_owned(),
    };
    Ok((StatusCode::ACCEPTED, Json(task)))
}

async fn read(State(bare): State<Bare>, Path(id): Path<Uuid>) -> Result<Json<Task>, StatusCode> {
    let found = bare.rows.read(id).await;
    let row: StoredTask = found
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?
        .ok_or(StatusCode::NOT_FOUND)?;
    let input = serde_json::from_slice(&row.payload);
    Ok(Json(Task {
        id: row.id,
        kind: row.kind,
        state: row.state,
        priority: row.priority,
        attempt: row.attempt,
        max_attempts: row.max_attempts,
        effect_mode: row.effect_mode,
        input: input.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?,
        created_at: row.created_at,
        updated_at: row.updated_at,
        cancel_requested: row.cancel_requested,
        subject: row.subject,
    }))
}

#[derive(Deserialize)]
struct Question {
    message: String,
}

#[derive(Deserialize)]
struct Line {
    message: Said,
    #[serde(default)]
    done_reason: String,
    #[serde(default)]
    prompt_eval_count: i64,
    #[serde(default)]
    eval_count: i64,
}

#[derive(Deserialize)]
struct Said {
    content: String,
}

/// Asks the model node, joins its lines, and keeps the turn before it answers, as ours does.
async fn chat(
    State(bare): State<Bare>,
    Json(question): Json<Question>,
) -> Result<Json<serde_json::Value>, StatusCode> {
    let gone = StatusCode::BAD_GATEWAY;
    let asked_at = Utc::now();
    let asked =
        json!({"model": MODEL, "messages": [{"role": "user", "content": question.message}]});
    let request = http::Request::post(format!("http://{}/api/chat", bare.node))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(asked.to_string()));
    let answer = bare.model.request(request.map_err(|_| gone)?).await;
    let body = answer.map_err(|_| gone)?.into_body().collect().await;
    let body = body.map_err(|_| gone)?.to_bytes();
    let lines: Result<Vec<Line>, _> = serde_json::Deserializer::from_slice(&body)
        .into_iter()
        .collect();
    let lines = lines.map_err(|_| gone)?;
    let last = lines.last().ok_or(gone)?;
    let turn = Turn {
        conversation: Uuid::now_v7(),
        question: question.message,
        answer: lines
            .iter()
            .map(|line| line.message.content.as_str())
            .collect(),
        finish_reason: last.done_reason.clone(),
        prompt_tokens: last.prompt_eval_count,
        completion_tokens: last.eval_count,
        asked_at,
    };
    let kept = bare.rows.keep(&turn).await;
    kept.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(json!({
        "response": turn.answer, "model": MODEL, "cached": false,
        "usage": {"prompt_tokens": turn.prompt_tokens, "completion_tokens": turn.completion_tokens,
                  "duration_ms": 0},
        "finish_reason": turn.finish_reason, "conversation_id": turn.conversation, "stored": true,
    })))
}
