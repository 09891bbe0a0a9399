//! A small node that speaks Ollama's API for machines without Ollama. It is no model and says so.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::Utc;
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::Error;

/// Name that nobody takes for a model's.
const MODEL: &str = "sutazai-demo:latest";
/// Marks every answer of this node.
const HEADER: HeaderName = HeaderName::from_static("x-sutazai-demo");
/// Pause before each word, so that streaming can be seen.
const PACE: Duration = Duration::from_millis(12);
/// Longest part of the question that an answer repeats, in characters.
const ECHO: usize = 200;

/// The running node.
#[derive(Debug)]
pub struct DemoNode {
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl DemoNode {
    /// Starts the node on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// Why it can not listen.
    pub async fn start() -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(Error::DemoNode)?;
        let address = listener.local_addr().map_err(Error::DemoNode)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            use axum::serve::ListenerExt;

            let listener = listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            });
            // Streams that are still open end with the process; nobody waits for a demo.
            let serve = axum::serve(listener, routes());
            tokio::select! {
                _ = serve.into_future() => {}
                () = stopped => {}
            }
        });
        Ok(Self {
            address,
            stop,
            server,
        })
    }

    /// Returns the base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops the node.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.server.await;
    }
}

fn routes() -> Router {
    Router::new()
        .route(
            "/",
            get(|| async { "Ollama's API, spoken by the demo node of sutazai dev" }),
        )
        .route(
            "/api/version",
            get(|| async { Json(json!({"version": "0.0.0-sutazai-demo"})) }),
        )
        .route(
            "/api/tags",
            get(|| async { Json(json!({"models": [model()]})) }),
        )
        .route(
            "/api/ps",
            get(|| async { Json(json!({"models": [model()]})) }),
        )
        .route(
            "/api/show",
            post(|| async { Json(json!({"details": details(), "modelfile": "# no model"})) }),
        )
        .route("/api/chat", post(chat))
        .route("/api/generate", post(generate))
        .route("/api/embed", post(no_embeddings))
        .route("/api/embeddings", post(no_embeddings))
        .route("/v1/embeddings", post(no_embeddings))
        .route("/v1/chat/completions", post(completions))
        .layer(middleware::from_fn(mark))
}

async fn mark(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert(HEADER, HeaderValue::from_static("1"));
    response
}

#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    prompt: String,
    stream: Option<bool>,
    #[serde(default)]
    options: Options,
    /// Name of the limit in OpenAI's dialect.
    max_tokens: Option<usize>,
}

#[derive(Default, Deserialize)]
struct Options {
    num_predict: Option<usize>,
}

#[derive(Deserialize)]
struct Message {
    content: Value,
}

impl Question {
    /// Makes the words of the answer; the first thing it says is that no model speaks.
    fn words(&self) -> Vec<String> {
        let last = self
            .messages
            .last()
            .and_then(|message| message.content.as_str());
        let question: String = last.unwrap_or(&self.prompt).chars().take(ECHO).collect();
        let text = format!(
            "[demo node, not a model] Nothing here can think: no Ollama answered when this platform \
             started. The way through the platform was real, though. You said: {question}"
        );
        let limit = self.options.num_predict.or(self.max_tokens);
        let words = text.split_inclusive(' ').map(str::to_owned);
        words.take(limit.unwrap_or(usize::MAX)).collect()
    }
}

async fn chat(Json(prompt): Json<Question>) -> Response {
    native(
        &prompt,
        |text| json!({"message": {"role": "assistant", "content": text}}),
    )
}

async fn generate(Json(prompt): Json<Question>) -> Response {
    native(&prompt, |text| json!({"response": text}))
}

async fn no_embeddings() -> impl IntoResponse {
    let error = "the demo node has no embeddings: start Ollama and run `ollama pull all-minilm`";
    (StatusCode::NOT_IMPLEMENTED, Json(json!({"error": error})))
}

/// Answers in Ollama's dialect: a line for each word and a last one with the counts.
fn native(prompt: &Question, piece: impl Fn(&str) -> Value + Send + 'static) -> Response {
    let words = prompt.words();
    let line = move |text: &str, end: Option<usize>| {
        let mut line = piece(text);
        line["model"] = MODEL.into();
        line["created_at"] = Utc::now().to_rfc3339().into();
        line["done"] = end.is_some().into();
        if let Some(count) = end {
            line["done_reason"] = "stop".into();
            line["prompt_eval_count"] = 1.into();
            line["eval_count"] = count.into();
            line["total_duration"] = (PACE * u32::try_from(count).unwrap_or(0))
                .as_nanos()
                .to_string()
                .parse::<u64>()
                .unwrap_or(0)
                .into();
        }
        line
    };
    if prompt.stream == Some(false) {
        return Json(line(&words.concat(), Some(words.len()))).into_response();
    }
    let last = words.len();
    let lines = paced(words).map(move |word| match word {
        Some(word) => line(&word, None),
        None => line("", Some(last)),
    });
    let body = lines.map(|line| Ok::<_, Infallible>(Bytes::from(format!("{line}\n"))));
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(body),
    )
        .into_response()
}

/// Answers in OpenAI's dialect.
async fn completions(Json(prompt): Json<Question>) -> Response {
    let words = prompt.words();
    let count = words.len();
    let usage = json!({"prompt_tokens": 1, "completion_tokens": count, "total_tokens": count + 1});
    let frame = |object: &str, choice: Value| json!({"id": "chatcmpl-demo", "object": object, "created": Utc::now().timestamp(), "model": MODEL, "choices": [choice]});
    if prompt.stream != Some(true) {
        let message = json!({"role": "assistant", "content": words.concat()});
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
        let mut answer = frame("chat.completion", choice);
        answer["usage"] = usage;
        return Json(answer).into_response();
    }
    let events = paced(words).map(move |word| {
        let (delta, reason) = match word {
            Some(word) => (json!({"role": "assistant", "content": word}), Value::Null),
            None => (json!({}), "stop".into()),
        };
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        format!("data: {}\n\n", frame("chat.completion.chunk", choice))
    });
    let body = events.chain(stream::iter(["data: [DONE]\n\n".to_owned()]));
    let body = body.map(|event| Ok::<_, Infallible>(Bytes::from(event)));
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(body),
    )
        .into_response()
}

/// Yields each word after a pause, then `None` once.
fn paced(words: Vec<String>) -> impl Stream<Item = Option<String>> {
    let words = stream::iter(words).then(|word| async {
        tokio::time::sleep(PACE).await;
        Some(word)
    });
    words.chain(stream::iter([None]))
}

fn model() -> Value {
    json!({
        "name": MODEL, "model": MODEL, "modified_at": "2026-01-01T00:00:00Z", "size": 0,
        "digest": "0".repeat(64), "details": details(),
    })
}

fn details() -> Value {
    json!({"format": "none", "family": "demo", "parameter_size": "0", "quantization_level": "none"})
}
