//! The paths of a fake node.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Extension, Path, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::stream;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::{
    Fault, Script,
    answer::{self, Dialect, Plan, Wish},
    record::{Record, Running, Seen},
    server::Connection,
};

/// Largest request body that the fake reads.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

#[derive(Clone)]
struct Node {
    script: watch::Receiver<Script>,
    record: Arc<Record>,
}

impl Node {
    fn script(&self) -> Script {
        self.script.borrow().clone()
    }
}

pub(super) fn routes(script: watch::Receiver<Script>, record: Arc<Record>) -> Router {
    let node = Node { script, record };
    Router::new()
        .route("/", get("Ollama is running"))
        .route("/api/version", get(version))
        .route("/api/tags", get(tags))
        .route("/api/ps", get(ps))
        .route("/api/show", post(show))
        .route("/api/chat", post(chat))
        .route("/api/generate", post(generate))
        .route("/api/embed", post(embed))
        .route("/api/embeddings", post(embeddings))
        .route("/v1/chat/completions", post(completions))
        .route("/v1/embeddings", post(openai_embeddings))
        .route("/v1/models", get(models))
        .route("/v1/models/{*id}", get(model))
        .layer(middleware::from_fn_with_state(node.clone(), record_request))
        .with_state(node)
}

/// Writes the request down and marks the answer of a demo node.
async fn record_request(State(node): State<Node>, request: Request, next: Next) -> Response {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let headers = head.headers.iter();
    node.record.see(Seen {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: headers
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        at,
    });
    let mut response = next.run(Request::from_parts(head, Body::from(body))).await;
    if node.script.borrow().demo {
        response
            .headers_mut()
            .insert("x-sutazai-demo", HeaderValue::from_static("1"));
    }
    response
}

async fn version(State(node): State<Node>) -> Json<Value> {
    Json(json!({"version": node.script().version}))
}

async fn tags(State(node): State<Node>) -> Json<Value> {
    let models: Vec<_> = node
        .script()
        .models
        .iter()
        .map(|name| answer::listed(name))
        .collect();
    Json(json!({"models": models}))
}

async fn ps(State(node): State<Node>) -> Json<Value> {
    let models: Vec<_> = node
        .script()
        .loaded
        .iter()
        .map(|name| answer::running(name))
        .collect();
    Json(json!({"models": models}))
}

async fn models(State(node): State<Node>) -> Json<Value> {
    let data: Vec<_> = node
        .script()
        .models
        .iter()
        .map(|name| answer::openai_model(name))
        .collect();
    Json(json!({"object": "list", "data": data}))
}

async fn model(State(node): State<Node>, Path(id): Path<String>) -> Response {
    match node.script().resolve(&id) {
        Some(name) => Json(answer::openai_model(name)).into_response(),
        None => openai_not_found(&id),
    }
}

async fn show(State(node): State<Node>, body: Bytes) -> Response {
    let asked = Asked::read(&body);
    match node.script().resolve(&asked.model) {
        Some(name) => Json(json!({
            "modelfile": format!("FROM {name}"), "parameters": "", "template": "{{ .Prompt }}",
            "details": answer::listed(name)["details"], "model_info": {}, "capabilities": ["completion"],
        }))
        .into_response(),
        None => not_found(&asked.model),
    }
}

async fn chat(node: State<Node>, connection: Extension<Connection>, body: Bytes) -> Response {
    speak(node, connection, &body, Dialect::Chat).await
}

async fn generate(node: State<Node>, connection: Extension<Connection>, body: Bytes) -> Response {
    speak(node, connection, &body, Dialect::Generate).await
}

async fn completions(
    node: State<Node>,
    connection: Extension<Connection>,
    body: Bytes,
) -> Response {
    speak(node, connection, &body, Dialect::OpenAi).await
}

async fn embed(node: State<Node>, connection: Extension<Connection>, body: Bytes) -> Response {
    compute(node, connection, &body, Dialect::Chat, |model, asked| {
        let vectors: Vec<_> = asked.texts("input").map(answer::embedding).collect();
        json!({"model": model, "embeddings": vectors, "total_duration": 1000, "prompt_eval_count": 3})
    })
    .await
}

async fn embeddings(node: State<Node>, connection: Extension<Connection>, body: Bytes) -> Response {
    compute(
        node,
        connection,
        &body,
        Dialect::Chat,
        |_, asked| json!({"embedding": asked.texts("prompt").map(answer::embedding).next()}),
    )
    .await
}

async fn openai_embeddings(
    node: State<Node>,
    connection: Extension<Connection>,
    body: Bytes,
) -> Response {
    compute(node, connection, &body, Dialect::OpenAi, |model, asked| {
        let packed = asked.body["encoding_format"] == "base64";
        let vectors = asked.texts("input").map(answer::embedding).enumerate();
        let data: Vec<_> = vectors
            .map(|(i, v)| {
                let v = if packed { answer::packed(&v) } else { json!(v) };
                json!({"object": "embedding", "embedding": v, "index": i})
            })
            .collect();
        json!({"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": 3, "total_tokens": 3}})
    })
    .await
}

/// The fields of a request that decide how it is answered.
struct Asked {
    model: String,
    stream: Option<bool>,
    body: Value,
}

impl Asked {
    fn read(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let model = body["model"]
            .as_str()
            .or(body["name"].as_str())
            .unwrap_or_default();
        Self {
            model: model.to_owned(),
            stream: body["stream"].as_bool(),
            body,
        }
    }

    /// One text or a list of texts.
    fn texts<'a>(&'a self, field: &str) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        match &self.body[field] {
            Value::Array(items) => Box::new(items.iter().filter_map(Value::as_str)),
            one => Box::new(one.as_str().into_iter()),
        }
    }
}

async fn speak(
    State(node): State<Node>,
    Extension(connection): Extension<Connection>,
    body: &[u8],
    dialect: Dialect,
) -> Response {
    let (script, asked) = (node.script(), Asked::read(body));
    let Some(model) = script.resolve(&asked.model) else {
        return unknown(dialect, &asked.model);
    };
    let wish = Wish {
        stream: asked.stream.unwrap_or(dialect != Dialect::OpenAi),
        usage: asked.body["stream_options"]["include_usage"] == true,
    };
    let plan = answer::plan(&script, dialect, model, wish);
    play(&node, &script, connection, asked.body, dialect, plan).await
}

async fn compute(
    State(node): State<Node>,
    Extension(connection): Extension<Connection>,
    body: &[u8],
    dialect: Dialect,
    answer: impl FnOnce(&str, &Asked) -> Value,
) -> Response {
    let (script, asked) = (node.script(), Asked::read(body));
    let Some(model) = script.resolve(&asked.model) else {
        return unknown(dialect, &asked.model);
    };
    let plan = Plan {
        content_type: "application/json; charset=utf-8",
        head_after: script.first_token_after,
        pieces: vec![(
            std::time::Duration::ZERO,
            answer(model, &asked).to_string().into(),
        )],
        hangs: false,
    };
    play(&node, &script, connection, asked.body, dialect, plan).await
}

/// Says the plan, with the faults that concern the head.
async fn play(
    node: &Node,
    script: &Script,
    connection: Connection,
    asked: Value,
    dialect: Dialect,
    plan: Plan,
) -> Response {
    // An earlier answer on this connection may have been shorter than its cut.
    connection.keep();
    let mut running = Running::begin(&node.record, connection.clone(), asked);
    if script.fault == Some(Fault::Hang) {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(plan.head_after).await;
    if let Some(Fault::Status(status)) = script.fault {
        running.finish();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return (
            status,
            Json(error_body(dialect, "llama runner process has terminated")),
        )
            .into_response();
    }
    if let Some(Fault::CutAfterBytes(bytes)) = script.fault {
        connection.cut_after(bytes);
    }
    let content_type = [(header::CONTENT_TYPE, plan.content_type)];
    (content_type, Body::from_stream(pieces(plan, running))).into_response()
}

fn pieces(
    plan: Plan,
    running: Running,
) -> impl futures::Stream<Item = Result<bytes::Bytes, std::convert::Infallible>> {
    let state = (plan.pieces.into_iter(), plan.hangs, running);
    stream::unfold(state, |(mut pieces, hangs, mut running)| async move {
        let Some((wait, piece)) = pieces.next() else {
            if hangs {
                std::future::pending::<()>().await;
            }
            running.finish();
            return None;
        };
        tokio::time::sleep(wait).await;
        running.record().produce();
        Some((Ok(piece), (pieces, hangs, running)))
    })
}

fn unknown(dialect: Dialect, model: &str) -> Response {
    match dialect {
        Dialect::OpenAi => openai_not_found(model),
        _ => not_found(model),
    }
}

fn not_found(model: &str) -> Response {
    (
        StatusCode::NOT_FOUND,
        Json(json!({"error": format!("model '{model}' not found")})),
    )
        .into_response()
}

fn openai_not_found(model: &str) -> Response {
    let message = format!("model \"{model}\" not found, try pulling it first");
    (
        StatusCode::NOT_FOUND,
        Json(error_body(Dialect::OpenAi, &message)),
    )
        .into_response()
}

fn error_body(dialect: Dialect, message: &str) -> Value {
    match dialect {
        Dialect::OpenAi => json!({
            "error": {"message": message, "type": "api_error", "param": null, "code": null},
        }),
        _ => json!({"error": message}),
    }
}
