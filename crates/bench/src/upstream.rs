//! The model node of all rounds: fixed answers at once, or frames at fixed times.
//!
//! A request says what it wants in fields that every proxy passes on: `stream`, `max_tokens` (frames)
//! and `seed` (milliseconds between two); in Ollama's dialect they are `num_predict` and `seed`, and each
//! token is the time at which it leaves, in microseconds since 1970.

use std::{convert::Infallible, process::ExitCode, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, future, stream};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use serde::Deserialize;
use tokio::time::Instant;

use crate::{failure::Failure, load::since_1970, serve::serve};

/// The one model.
pub const MODEL: &str = "bench:latest";
/// The fixed answer of OpenAI's API: 270 bytes.
pub const ANSWER: &str = concat!(
    r#"{"id":"chatcmpl-bench","object":"chat.completion","created":1764374400,"model":"bench:latest","#,
    r#""choices":[{"index":0,"message":{"role":"assistant","content":"A fixed answer. "},"#,
    r#""finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":8,"total_tokens":19}}"#,
);
const FRAME: &str = concat!(
    r#"data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1764374400,"#,
    r#""model":"bench:latest","choices":[{"index":0,"delta":{"content":"token "},"finish_reason":null}]}"#,
    "\n\n",
);
const DONE: &str = "data: [DONE]\n\n";
const LISTING: &str = concat!(
    r#"{"models":[{"name":"bench:latest","model":"bench:latest","modified_at":"2026-11-29T00:00:00Z","#,
    r#""size":1000000,"digest":"b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0","#,
    r#""details":{"format":"gguf","family":"bench","parameter_size":"1B","quantization_level":"Q4_0"}}]}"#,
);
const LAST_LINE: &str = concat!(
    r#"{"model":"bench:latest","created_at":"2026-11-29T00:00:00Z","message":{"role":"assistant","content":""},"#,
    r#""response":"","done":true,"done_reason":"stop","total_duration":1000,"prompt_eval_count":11,"eval_count":3}"#,
    "\n",
);
/// Tokens of an answer in Ollama's own dialect.
const TOKENS: usize = 3;

type Body = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    stream: Option<bool>,
    max_tokens: Option<usize>,
    seed: Option<u64>,
    options: Options,
}

/// The same in Ollama's dialect.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    num_predict: Option<usize>,
    seed: Option<u64>,
}

/// Serves on ports of 127.0.0.1 until the process is ended.
pub(crate) async fn run(ports: Vec<u16>) -> Result<ExitCode, Failure> {
    let serving = ports
        .into_iter()
        .map(|port| serve(port, service_fn(answer)));
    future::try_join_all(serving).await?;
    Ok(ExitCode::SUCCESS)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request
        .into_body()
        .collect()
        .await
        .map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
    let asked: Asked = serde_json::from_slice(&body).unwrap_or_default();
    Ok(match path.as_str() {
        "/api/version" => fixed(r#"{"version":"0.14.2"}"#),
        "/api/tags" | "/api/ps" => fixed(LISTING),
        "/api/show" => fixed(r#"{"capabilities":["completion"],"details":{"family":"bench"}}"#),
        "/v1/chat/completions" if asked.stream == Some(true) => events(&asked),
        "/v1/chat/completions" => fixed(ANSWER),
        "/api/chat" | "/api/generate" if asked.stream == Some(false) => fixed(LAST_LINE),
        "/api/chat" | "/api/generate" => lines(&asked.options),
        _ => {
            let mut response = fixed("{}");
            *response.status_mut() = http::StatusCode::NOT_FOUND;
            response
        }
    })
}

fn fixed(text: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync();
    typed(body, "application/json")
}

fn typed(body: Body, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = http::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn streamed(parts: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(parts.map(|part| Ok(Frame::data(part)))).boxed_unsync()
}

/// Makes pieces at fixed times from now on: one that is late makes the next one no later.
fn paced(
    count: usize,
    pause: Option<u64>,
    piece: fn() -> Bytes,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let begun = Instant::now();
    let pause = Duration::from_millis(pause.unwrap_or(0));
    stream::iter(0..count).then(move |count| async move {
        let at = begun + pause * u32::try_from(count).unwrap_or(u32::MAX);
        // The first one leaves at once: a timer would add up to 1 ms to it.
        if count > 0 && !pause.is_zero() {
            tokio::time::sleep_until(at).await;
        }
        piece()
    })
}

fn events(asked: &Asked) -> Response<Body> {
    let frame = || Bytes::from_static(FRAME.as_bytes());
    let frames = paced(asked.max_tokens.unwrap_or(1), asked.seed, frame);
    let done = stream::iter([Bytes::from_static(DONE.as_bytes())]);
    typed(streamed(frames.chain(done)), "text/event-stream")
}

fn lines(options: &Options) -> Response<Body> {
    let lines = paced(options.num_predict.unwrap_or(TOKENS), options.seed, line);
    let last = stream::iter([Bytes::from_static(LAST_LINE.as_bytes())]);
    typed(streamed(lines.chain(last)), "application/x-ndjson")
}

/// One token in Ollama's dialect.
fn line() -> Bytes {
    let left = since_1970();
    let line = format!(
        "{{\"model\":\"{MODEL}\",\"created_at\":\"2026-11-29T00:00:00Z\",\
         \"message\":{{\"role\":\"assistant\",\"content\":\"{left:.0} \"}},\
         \"response\":\"{left:.0} \",\"done\":false}}\n"
    );
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_answers_are_what_the_table_says() {
        assert_eq!(ANSWER.len(), 270);
        let fixed = [ANSWER, LISTING, LAST_LINE].map(str::as_bytes);
        for text in fixed.into_iter().chain([&*line()]) {
            assert!(
                serde_json::from_slice::<serde_json::Value>(text).is_ok(),
                "{}",
                text.escape_ascii()
            );
        }
        assert!(LISTING.contains(MODEL));
    }
}
