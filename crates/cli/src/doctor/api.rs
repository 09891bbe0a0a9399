//! The public API, used as a client would: a token judged, a task followed to its result.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use sutazai_mesh::http::HttpClient;
use tracing::{Instrument, Span};

use super::{report::Row, trace::Trace};
use crate::{site::Description, token};

/// Name of the row about credentials.
pub(super) const TOKEN: &str = "token";
/// Name of the row about the main job.
pub(super) const TASK: &str = "task";
/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest time for a task from submission to result.
const TASK_PATIENCE: Duration = Duration::from_secs(180);
/// Pause between two looks at the task.
const PACE: Duration = Duration::from_millis(100);

/// Judges credentials: a fresh token and the API key are taken, a damaged token is refused.
pub(super) async fn token_row(description: &Description) -> Row {
    match token_evidence(description).await {
        Ok(evidence) => Row::good(TOKEN, evidence),
        Err(cause) => Row::bad(TOKEN, cause),
    }
}

async fn token_evidence(description: &Description) -> Result<String, String> {
    let client = Client::new(description)?;
    let token = token::mint(&description.keys).map_err(|error| text(&error))?;
    let me = client
        .get("/api/v1/auth/me", &token)
        .await?
        .expect(StatusCode::OK)?;
    let subject = me["subject"].as_str().unwrap_or_default().to_owned();
    let key = client.key.clone();
    client
        .get("/api/v1/auth/me", &key)
        .await?
        .expect(StatusCode::OK)?;
    let damaged = flip(&token);
    client
        .get("/api/v1/auth/me", &damaged)
        .await?
        .expect(StatusCode::UNAUTHORIZED)?;
    Ok(format!(
        "a token and the API key of {subject} are taken, a damaged token is refused"
    ))
}

/// Changes one character in the middle of the signature.
fn flip(token: &str) -> String {
    let at = token.len() - 20;
    token
        .char_indices()
        .map(|(i, c)| {
            if i != at {
                c
            } else if c == 'A' {
                'B'
            } else {
                'A'
            }
        })
        .collect()
}

/// Judges the main job: a task submitted over HTTP, in a trace, ends with a model's result.
pub(super) async fn task_row(description: &Description, trace: &Trace) -> Row {
    match task_evidence(description, trace).await {
        Ok(evidence) => Row::good(TASK, evidence),
        Err(cause) => Row::bad(TASK, cause),
    }
}

async fn task_evidence(description: &Description, trace: &Trace) -> Result<String, String> {
    let client = Client::new(description)?;
    let key = client.key.clone();
    let begun = Instant::now();
    let body = json!({
        "type": "llm.generate",
        "input": {"prompt": "Answer with one word.", "options": {"max_tokens": 8}},
    });
    let task = client
        .send(Method::POST, "/api/v1/tasks", &key, Some((&body, trace)))
        .await?;
    let task = task.expect(StatusCode::ACCEPTED)?;
    let id = task["id"]
        .as_str()
        .ok_or("the accepted task has no id")?
        .to_owned();
    loop {
        let task = client.get(&format!("/api/v1/tasks/{id}"), &key).await?;
        let task = task.expect(StatusCode::OK)?;
        match task["state"].as_str().unwrap_or_default() {
            "queued" | "running" if begun.elapsed() < TASK_PATIENCE => {
                tokio::time::sleep(PACE).await;
            }
            "succeeded" => {
                let model = task["result"]["model"]
                    .as_str()
                    .unwrap_or("a model")
                    .to_owned();
                let seconds = begun.elapsed().as_secs_f64();
                return Ok(format!(
                    "task {id} succeeded with {model} after {seconds:.2} s"
                ));
            }
            state => return Err(format!("task {id} is {state}: {}", task["error"])),
        }
    }
}

/// The public API with the administrator's key.
struct Client {
    http: HttpClient,
    base: String,
    key: String,
}

struct Answer {
    what: String,
    status: StatusCode,
    body: Value,
}

impl Client {
    fn new(description: &Description) -> Result<Self, String> {
        let file = &description.api_key_file;
        let key = std::fs::read_to_string(file)
            .map_err(|error| format!("can not read {}: {error}", file.display()))?;
        let http = HttpClient::external(PATIENCE).map_err(|error| text(&error))?;
        Ok(Self {
            http,
            base: description.api.clone(),
            key: key.trim().to_owned(),
        })
    }

    async fn get(&self, path: &str, credential: &str) -> Result<Answer, String> {
        self.send(Method::GET, path, credential, None).await
    }

    /// Sends a request; one with a body is part of a trace.
    async fn send(
        &self,
        method: Method,
        path: &str,
        credential: &str,
        content: Option<(&Value, &Trace)>,
    ) -> Result<Answer, String> {
        let what = format!("{method} {path}");
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .timeout(PATIENCE)
            .bearer_auth(credential);
        let mut span = Span::none();
        if let Some((body, trace)) = content {
            span = trace.span();
            request = request.json(body);
            for (name, value) in trace.headers() {
                request = request.header(name, value);
            }
        }
        let answer = self
            .http
            .send(request)
            .instrument(span)
            .await
            .map_err(|error| format!("{what}: {}", text(&error)))?;
        let status = answer.status();
        let body = answer
            .bytes()
            .await
            .map_err(|error| format!("{what}: {}", text(&error)))?;
        Ok(Answer {
            what,
            status,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        })
    }
}

impl Answer {
    fn expect(self, wanted: StatusCode) -> Result<Value, String> {
        if self.status == wanted {
            return Ok(self.body);
        }
        let detail = self.body["detail"].as_str().unwrap_or("no detail");
        Err(format!(
            "{} answered {} where {wanted} is right: {detail}",
            self.what, self.status
        ))
    }
}

fn text(error: &(dyn std::error::Error + 'static)) -> String {
    sutazai_proto::status::chain(error)
}
