//! A user of the HTTP doors, made of somebody else's client.

use std::time::Duration;

use futures::StreamExt;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use sutazai_cli::site::Description;

/// Longest time for one answer, or for the next event of a stream.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of one door with one credential.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    credential: Option<String>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body; JSON null when it is no JSON.
    pub json: Value,
    /// Body as text.
    pub text: String,
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Field `id`.
    pub id: Option<String>,
    /// Field `event`.
    pub kind: String,
    /// Field `data`.
    pub data: String,
}

/// What a request for a stream brought.
pub enum Opened {
    /// The stream.
    Events(Events),
    /// Something else, with its end.
    Whole(Answer),
}

impl Answer {
    /// Fails unless this is a problem document with this status and code.
    pub fn assert_problem(&self, status: u16, code: &str) {
        let kind = self.header("content-type");
        let found = (self.status.as_u16(), self.json["code"].as_str(), kind);
        assert_eq!(
            found,
            (status, Some(code), Some("application/problem+json")),
            "{}",
            self.text
        );
    }

    /// Returns a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns after how many seconds the server wants to be asked again.
    pub fn retry_after(&self) -> Option<u64> {
        self.header("retry-after")?.parse().ok()
    }

    /// Returns the items of a list.
    pub fn items(&self) -> &[Value] {
        let items = self.json["items"].as_array();
        items.unwrap_or_else(|| panic!("no list: {} {}", self.status, self.text))
    }
}

impl Event {
    /// Parses the data.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or(Value::Null)
    }
}

impl Client {
    /// Makes a client of a door.
    pub fn new(base: &str, credential: Option<String>) -> Self {
        sutazai_cli::install_tls_provider();
        #[expect(
            clippy::disallowed_methods,
            reason = "a foreign client, not one of the platform"
        )]
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("an HTTP client");
        Self {
            http,
            base: base.to_owned(),
            credential,
        }
    }

    /// Makes a client of the public API with the administrator's API key.
    pub fn with_key_of(description: &Description) -> Self {
        let key = std::fs::read_to_string(&description.api_key_file).expect("the API key");
        Self::new(&description.api, Some(key.trim().to_owned()))
    }

    /// Returns the same client with another credential.
    #[must_use]
    pub fn with_credential(&self, credential: Option<&str>) -> Self {
        Self {
            credential: credential.map(str::to_owned),
            ..self.clone()
        }
    }

    /// Returns the same client at another door.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self {
            base: base.to_owned(),
            ..self.clone()
        }
    }

    /// Returns the credential.
    pub fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    /// Begins a request.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.credential {
            Some(credential) => request.bearer_auth(credential),
            None => request,
        }
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.timeout(PATIENCE).send().await.expect("an answer");
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.expect("a body");
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer {
            status,
            headers,
            json,
            text,
        }
    }

    /// Sends a GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends a DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Sends a POST with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body))
            .await
    }

    /// Sends a request whose answer may be a stream of server-sent events.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn open(&self, request: reqwest::RequestBuilder) -> Result<Opened, reqwest::Error> {
        let answer = request.send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let kind = headers
            .get("content-type")
            .map(reqwest::header::HeaderValue::as_bytes);
        if kind == Some(b"text/event-stream") {
            return Ok(Opened::Events(Events {
                body: answer.bytes_stream().boxed(),
                pending: String::new(),
            }));
        }
        let text = answer.text().await?;
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Opened::Whole(Answer {
            status,
            headers,
            json,
            text,
        }))
    }

    /// Opens a stream of server-sent events and fails unless the answer is one.
    pub async fn events(&self, request: reqwest::RequestBuilder) -> Events {
        match self.open(request).await.expect("an answer") {
            Opened::Events(events) => events,
            Opened::Whole(answer) => panic!("no stream: {} {}", answer.status, answer.text),
        }
    }

    /// Asks the default model and waits for the whole answer.
    pub async fn chat(&self, message: &str) -> Answer {
        self.post("/api/v1/chat", json!({"message": message})).await
    }

    /// Begins to ask the default model, with its answer as a stream.
    pub fn streamed_chat(&self, message: &str) -> reqwest::RequestBuilder {
        let body = json!({"message": message, "stream": true});
        self.request(Method::POST, "/api/v1/chat").json(&body)
    }

    /// Submits a task and returns its id; a platform that is busy is asked again, as it says itself.
    pub async fn submit(&self, kind: &str, input: Value) -> String {
        let answer = crate::eventually("room for a task", async || {
            let answer = self
                .post("/api/v1/tasks", json!({"type": kind, "input": input}))
                .await;
            let busy = answer.status == StatusCode::SERVICE_UNAVAILABLE
                && answer.header("retry-after").is_some();
            (!busy).then_some(answer)
        })
        .await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
        answer.json["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until a task has ended and returns it.
    pub async fn finished(&self, id: &str) -> Value {
        crate::eventually(&format!("the end of task {id}"), async || {
            let task = self.get(&format!("/api/v1/tasks/{id}")).await.json;
            let state = task["state"].as_str().unwrap_or_default();
            (!["queued", "running", ""].contains(&state)).then_some(task)
        })
        .await
    }

    /// Reads the stored events of a task up to its end.
    pub async fn history(&self, id: &str) -> Vec<Event> {
        let request = self.request(Method::GET, &format!("/api/v1/tasks/{id}/events"));
        let mut events = self.events(request).await;
        let mut history = Vec::new();
        while let Some(event) = events.next().await.expect("a whole stream") {
            history.extend(Some(event).filter(|event| event.id.is_some()));
        }
        history
    }
}

/// What was left of a stream.
#[derive(Debug)]
pub struct Rest {
    /// The events, in order.
    pub events: Vec<Event>,
    /// Whether the stream was cut instead of ended.
    pub cut: bool,
}

impl Rest {
    /// Returns the kinds of the events.
    pub fn kinds(&self) -> Vec<&str> {
        self.events
            .iter()
            .map(|event| event.kind.as_str())
            .collect()
    }

    /// Returns the text that the `token` events of a chat make.
    pub fn text(&self) -> String {
        let tokens = self.events.iter().filter(|event| event.kind == "token");
        tokens
            .map(|event| {
                event.json()["content"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }
}

/// A stream of server-sent events.
pub struct Events {
    body: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    pending: String,
}

impl Events {
    /// Reads on to the end, regular or not.
    pub async fn rest(&mut self) -> Rest {
        let mut events = Vec::new();
        loop {
            match self.next().await {
                Ok(Some(event)) => events.push(event),
                end => {
                    return Rest {
                        events,
                        cut: end.is_err(),
                    };
                }
            }
        }
    }

    /// Returns the next event, nothing at a regular end, and an error when the stream was cut.
    ///
    /// # Errors
    /// The stream ended abnormally.
    pub async fn next(&mut self) -> Result<Option<Event>, reqwest::Error> {
        loop {
            while let Some((block, rest)) = self.pending.split_once("\n\n") {
                let (event, rest) = (parse(block), rest.to_owned());
                self.pending = rest;
                if event.is_some() {
                    return Ok(event);
                }
            }
            let piece = tokio::time::timeout(PATIENCE, self.body.next()).await;
            match piece.expect("the stream is silent for too long") {
                Some(piece) => self.pending.push_str(&String::from_utf8_lossy(&piece?)),
                None => return Ok(None),
            }
        }
    }
}

/// Parses one block; comments alone are no event.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| -> Vec<&str> {
        let lines = block
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines
            .map(|value| value.strip_prefix(' ').unwrap_or(value))
            .collect()
    };
    let data = field("data");
    if data.is_empty() {
        return None;
    }
    Some(Event {
        id: field("id").first().map(|id| (*id).to_owned()),
        kind: field("event")
            .first()
            .map_or("message", |kind| kind)
            .to_owned(),
        data: data.join("\n"),
    })
}
