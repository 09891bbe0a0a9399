//! Answers that come in pieces.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use serde_json::{Value, json};
use sutazai_testkit::ollama::{FakeNode, Fault};
use tokio::time::Instant;

use crate::harness::{MODEL, Proxy, SOON, eventually, read, script};

const PATHS: [&str; 3] = ["/api/chat", "/api/generate", "/v1/chat/completions"];

fn body() -> Value {
    json!({"model": MODEL, "stream": true, "messages": [{"role": "user", "content": "hi"}]})
}

/// The JSON documents of an answer in either framing; panics when one is not whole.
fn documents(body: &Bytes) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.strip_prefix("data: ").unwrap_or(line));
    lines
        .filter(|line| *line != "[DONE]")
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn llm_10_the_first_piece_arrives_before_the_second_is_made() {
    let node = FakeNode::start(script().fault(Fault::StallAfterTokens(1))).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    for path in PATHS {
        let mut response = proxy.post(path, &body()).await;
        let first = response.chunk().await.unwrap().unwrap();
        assert!(
            std::str::from_utf8(&first).unwrap().contains("Hel"),
            "{path}: {first:?}"
        );
        assert_eq!(response.headers()["x-accel-buffering"], "no");
    }
    proxy.stop().await;
}

#[tokio::test]
async fn llm_02_the_end_of_the_process_is_said_before_an_answer_breaks() {
    let node = FakeNode::start(script().fault(Fault::StallAfterTokens(1))).await;
    let proxy = Proxy::start(&[&node], &[("DRAIN_GRACE_SECONDS", "0.3")]).await;
    let mut open = Vec::new();
    for path in PATHS {
        open.push(proxy.post(path, &body()).await);
    }
    let (answers, ()) = tokio::join!(join_all(open.into_iter().map(read)), proxy.stop());
    for (path, (answer, regular)) in PATHS.into_iter().zip(answers) {
        assert!(!regular, "{path} looks complete");
        let last = documents(&answer).pop().unwrap();
        assert!(
            last["error"].to_string().contains("stopping"),
            "{path}: {last}"
        );
    }
}

/// None of the answers ever ends, so a proxy that collects any of them shows no piece of it.
#[tokio::test]
async fn olp_06_many_streams_run_at_once_and_none_is_collected() {
    const STREAMS: usize = 200;
    let node = FakeNode::start(script().fault(Fault::StallAfterTokens(2))).await;
    let proxy = Proxy::start(&[&node], &[("OLLAMA_SLOTS", "200")]).await;
    let open = join_all((0..STREAMS).map(|i| {
        let proxy = &proxy;
        async move {
            let mut response = proxy.post(PATHS[i % PATHS.len()], &body()).await;
            let first = response.chunk().await.unwrap().unwrap();
            assert!(!first.is_empty());
            response
        }
    }));
    let open = tokio::time::timeout(SOON, open)
        .await
        .expect("a first piece does not arrive");
    assert_eq!(node.in_flight(), STREAMS);
    let left = Instant::now();
    drop(open);
    let aborted = node
        .wait_aborted(STREAMS, SOON)
        .await
        .expect("a node's request goes on");
    println!("{STREAMS} requests aborted within {:?}", aborted - left);
    proxy.stop().await;
}

#[tokio::test]
async fn llm_04_a_client_that_leaves_aborts_the_node_within_250_ms() {
    let node = FakeNode::start(script().fault(Fault::StallAfterTokens(1))).await;
    let proxy = Proxy::start(&[&node], &[("OLLAMA_SLOTS", "1")]).await;
    for (times, path) in PATHS.into_iter().enumerate() {
        let mut response = proxy.post(path, &body()).await;
        response.chunk().await.unwrap();
        let left = Instant::now();
        drop(response);
        let aborted = node
            .wait_aborted(times + 1, SOON)
            .await
            .expect("the node goes on");
        assert!(
            aborted - left <= Duration::from_millis(250),
            "{path}: {:?}",
            aborted - left
        );
    }
    // With one slot, the next answer shows that it came back.
    node.update(|script| script.fault = None);
    assert!(read(proxy.post("/api/chat", &body()).await).await.1);
    proxy.stop().await;
}

#[tokio::test]
async fn llm_04_a_client_that_leaves_before_the_first_token_aborts_the_node() {
    let node = FakeNode::start(script().fault(Fault::Hang)).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    let asked = body();
    let waiting = proxy.post("/api/chat", &asked);
    let gone = tokio::time::timeout(Duration::from_millis(100), waiting).await;
    assert!(gone.is_err(), "a hanging node does not answer");
    let left = Instant::now();
    let aborted = node.wait_aborted(1, SOON).await.expect("the node goes on");
    assert!(aborted.saturating_duration_since(left) <= Duration::from_millis(250));
    proxy.stop().await;
}

#[tokio::test]
async fn llm_04_silence_inside_an_answer_ends_it_with_an_error_in_the_dialect() {
    let node = FakeNode::start(script().fault(Fault::StallAfterTokens(2))).await;
    let proxy = Proxy::start(&[&node], &[("OLLAMA_SILENCE_SECONDS", "0.2")]).await;
    for path in PATHS {
        let (answer, regular) = read(proxy.post(path, &body()).await).await;
        assert!(!regular, "{path} ends as if it were complete");
        let said = documents(&answer);
        assert_eq!(said.len(), 3, "{path}: {answer:?}");
        let error = &said[2]["error"];
        let (text, is_openai) = (error.to_string(), path.starts_with("/v1"));
        assert!(text.contains("silent"), "{path}: {text}");
        assert_eq!(
            error["code"] == "silence_timeout",
            is_openai,
            "{path}: {text}"
        );
        assert_eq!(error.is_string(), !is_openai, "{path}: {text}");
    }
    proxy.stop().await;
}

/// Such an answer has no first token: only the total holds, and its own silence is no fault.
#[tokio::test]
async fn llm_04_an_answer_in_one_piece_may_take_the_total_and_no_longer() {
    let limits = [
        ("OLLAMA_FIRST_TOKEN_SECONDS", "0.2"),
        ("OLLAMA_SILENCE_SECONDS", "0.2"),
        ("OLLAMA_TOTAL_SECONDS", "1.2"),
    ];
    let node = FakeNode::start(script().first_token_after(Duration::from_millis(600))).await;
    let proxy = Proxy::start(&[&node], &limits).await;
    let whole = json!({"model": MODEL, "stream": false});
    assert_eq!(
        proxy.post("/v1/chat/completions", &whole).await.status(),
        200
    );
    node.update(|script| script.fault = Some(Fault::Hang));
    let late = proxy.post("/v1/chat/completions", &whole).await;
    assert_eq!(late.status(), 504);
    let error: Value = late.json().await.unwrap();
    assert_eq!(error["error"]["code"], "total_timeout");
    proxy.stop().await;
}

/// Cuts the node's answer at every byte. The caller gets an error status, or whole pieces with an
/// error as the last one and a broken connection, or all of it; nothing else.
#[tokio::test]
async fn llm_02_a_cut_at_any_byte_is_told_in_every_dialect() {
    let node = FakeNode::start(script().tokens(["Hi"])).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    for path in PATHS {
        node.update(|script| script.fault = None);
        let (whole, _) = read(proxy.post(path, &body()).await).await;
        let (mut before, mut inside, mut complete) = (0, 0, 0);
        for bytes in 0.. {
            node.update(|script| script.fault = Some(Fault::CutAfterBytes(bytes)));
            let response = proxy.post(path, &body()).await;
            if response.status() != 200 {
                assert_eq!(
                    (response.status().as_u16(), inside),
                    (502, 0),
                    "{path} byte {bytes}"
                );
                before += 1;
                // A success between the failures keeps the breaker closed.
                node.update(|script| script.fault = None);
                assert!(read(proxy.post(path, &body()).await).await.1);
                continue;
            }
            let (answer, regular) = read(response).await;
            if regular {
                assert_eq!(answer, whole, "{path} byte {bytes}");
                complete += 1;
            } else {
                let said = documents(&answer);
                let (error, pieces) = said.split_last().unwrap();
                assert!(!error["error"].is_null(), "{path} byte {bytes}: {answer:?}");
                assert_eq!(
                    pieces,
                    &documents(&whole)[..pieces.len()],
                    "{path} byte {bytes}"
                );
                inside += 1;
            }
            if complete == 3 {
                break;
            }
        }
        assert!(
            before > 100 && inside > 100,
            "{path}: {before} before, {inside} inside"
        );
    }
    proxy.stop().await;
}

#[tokio::test]
async fn llm_14_a_stream_that_had_not_begun_moves_to_another_node() {
    let faulty = FakeNode::start(script().loaded([MODEL])).await;
    let healthy = FakeNode::start(script()).await;
    let proxy = Proxy::start(&[&faulty, &healthy], &[]).await;
    for fault in [
        Fault::Status(500),
        Fault::CutAfterBytes(160),
        Fault::Empty,
        Fault::Refuse,
    ] {
        faulty.update(|script| script.fault = Some(fault.clone()));
        for path in PATHS {
            let (_, regular) = read(proxy.post(path, &body()).await).await;
            assert!(regular, "{path} {fault:?}");
        }
    }
    assert_eq!(
        healthy
            .requests()
            .iter()
            .filter(|seen| seen.method == "POST")
            .count(),
        12
    );
    proxy.stop().await;
}

#[tokio::test]
async fn a_stream_that_runs_when_the_service_stops_is_finished() {
    let node = FakeNode::start(script().between_tokens(Duration::from_millis(150))).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    let response = proxy.post("/api/chat", &body()).await;
    let stopping = tokio::spawn(proxy.stop());
    let (answer, regular) = read(response).await;
    assert!(regular && documents(&answer).len() == 4, "{answer:?}");
    stopping.await.unwrap();
    eventually("the node still works", || node.in_flight() == 0).await;
}
