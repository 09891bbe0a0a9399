//! Ollama's own dialect.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use http::{Method, StatusCode, header};
use serde_json::json;
use sutazai_mesh::http::HttpClient;
use sutazai_testkit::ollama::{FakeNode, Fault, Script};

use crate::harness::{MODEL, Proxy, SOON, read, script};

#[tokio::test]
async fn every_passed_path_answers_what_the_node_answers() {
    let node = FakeNode::start(script().demo()).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    let direct = HttpClient::ollama(SOON).unwrap();
    for (path, body) in [
        (
            "/api/chat",
            json!({"model": "tinyllama", "messages": [{"role": "user", "content": "hi"}]}),
        ),
        (
            "/api/chat",
            json!({"model": MODEL, "stream": false, "options": {"seed": 7}}),
        ),
        ("/api/generate", json!({"model": MODEL, "prompt": "hi"})),
        (
            "/api/generate",
            json!({"model": MODEL, "prompt": "hi", "stream": false}),
        ),
        ("/api/embed", json!({"model": MODEL, "input": ["a", "bc"]})),
        ("/api/embeddings", json!({"model": MODEL, "prompt": "a"})),
        ("/api/show", json!({"name": MODEL})),
        (
            "/v1/chat/completions",
            json!({"model": MODEL, "messages": [], "stream": true}),
        ),
        (
            "/v1/chat/completions",
            json!({"model": MODEL, "messages": []}),
        ),
        ("/v1/embeddings", json!({"model": MODEL, "input": "a"})),
    ] {
        let request = direct
            .request(Method::POST, format!("{}{path}", node.url()))
            .json(&body);
        let expected = direct.send(request).await.unwrap();
        let passed = proxy.post(path, &body).await;
        assert_eq!(passed.status(), StatusCode::OK, "{path}");
        for name in [header::CONTENT_TYPE.as_str(), "x-sutazai-demo"] {
            assert_eq!(
                passed.headers().get(name),
                expected.headers().get(name),
                "{path} {name}"
            );
        }
        assert_eq!(read(passed).await, read(expected).await, "{path}");
        let seen = node.requests_to(path);
        assert_eq!(
            seen[seen.len() - 1].body,
            body,
            "{path}: the body is passed on as it is"
        );
    }
    proxy.stop().await;
}

#[tokio::test]
async fn lists_are_merged_and_clients_can_probe() {
    let one =
        FakeNode::start(Script::new(["shared:latest", "a:1b"]).loaded(["shared:latest"])).await;
    let two = FakeNode::start(Script::new(["shared:latest", "b:1b"])).await;
    let proxy = Proxy::start(&[&one, &two], &[]).await;
    let names = |list: &serde_json::Value| -> Vec<String> {
        let models = list["models"].as_array().unwrap().iter();
        models
            .map(|model| model["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, tags) = proxy.get("/api/tags").await;
    assert_eq!(names(&tags), ["shared:latest", "a:1b", "b:1b"]);
    assert!(
        tags["models"][0]["details"]["family"].is_string(),
        "entries stay whole"
    );
    let (_, ps) = proxy.get("/api/ps").await;
    assert_eq!(names(&ps), ["shared:latest"]);
    assert!(ps["models"][0]["expires_at"].is_string());
    assert_eq!(
        proxy.get("/api/version").await.1,
        json!({"version": "0.14.2"})
    );
    let root = proxy.send(proxy.request(Method::GET, "/")).await;
    assert_eq!(root.text().await.unwrap(), "Ollama is running");
    for path in ["/", "/api/version"] {
        let head = proxy.send(proxy.request(Method::HEAD, path)).await;
        assert_eq!(head.status(), StatusCode::OK, "{path}");
    }
    proxy.stop().await;
}

/// As Ollama's own client asks for `ollama show` and at the start of `ollama run`.
#[tokio::test]
async fn an_empty_model_beside_its_earlier_name_is_no_model() {
    let node = FakeNode::start(script()).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    let body = json!({
        "model": "", "system": "", "template": "", "verbose": false, "options": null,
        "name": "tinyllama",
    });
    let response = proxy.post("/api/show", &body).await;
    // What the fake node makes of the two names is its own affair.
    assert_ne!(response.status(), StatusCode::BAD_REQUEST);
    let seen = node.requests_to("/api/show");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body, body, "it is passed on as it is");
    proxy.stop().await;
}

#[tokio::test]
async fn beh_08_a_silent_node_holds_up_no_list() {
    // The system takes its connections, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = FakeNode::start(script().loaded([MODEL])).await;
    let urls = format!("{},{}", silent.local_addr().unwrap(), node.address());
    let proxy = Proxy::start(&[], &[("OLLAMA_URLS", urls.as_str())]).await;
    for (path, list) in [
        ("/api/tags", "models"),
        ("/api/ps", "models"),
        ("/v1/models", "data"),
    ] {
        let asked = Instant::now();
        let (status, answer) = proxy.get(path).await;
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(1), "{path}: {took:?}");
        assert_eq!(status, StatusCode::OK, "{path}");
        let listed = answer[list].as_array().unwrap();
        assert_eq!(listed.len(), 1, "{path}: {answer}");
    }
    proxy.stop().await;
}

#[tokio::test]
async fn llm_15_faults_of_a_request_are_said_in_ollamas_words() {
    let node = FakeNode::start(script()).await;
    let proxy = Proxy::start(&[&node], &[("BODY_LIMIT_BYTES", "2048")]).await;
    let unknown = json!({"model": "tinylama"}).to_string();
    let long = json!({"model": "x".repeat(513)}).to_string();
    let huge = json!({"model": MODEL, "prompt": "x".repeat(4096)}).to_string();
    for (body, status, words) in [
        (unknown.as_str(), 404, MODEL),
        ("{}", 400, "model is required"),
        (long.as_str(), 400, "512"),
        ("not json", 400, "body"),
        (huge.as_str(), 413, "2048"),
    ] {
        let request = proxy
            .request(Method::POST, "/api/generate")
            .body(body.to_owned());
        let response = proxy.send(request).await;
        assert_eq!(response.status(), status, "{body}");
        let error: serde_json::Value = response.json().await.unwrap();
        assert!(error["error"].as_str().unwrap().contains(words), "{error}");
    }
    assert!(node.requests_to("/api/generate").is_empty());
    proxy.stop().await;
}

#[tokio::test]
async fn a_large_body_without_a_length_is_refused_too() {
    let node = FakeNode::start(script()).await;
    let proxy = Proxy::start(&[&node], &[("BODY_LIMIT_BYTES", "2048")]).await;
    let pieces = futures::stream::iter((0..8).map(|_| Ok::<_, std::io::Error>("x".repeat(1024))));
    let request = proxy
        .request(Method::POST, "/api/chat")
        .body(reqwest::Body::wrap_stream(pieces));
    assert_eq!(
        proxy.send(request).await.status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    proxy.stop().await;
}

#[tokio::test]
async fn llm_02_faults_before_the_first_line_have_a_status_and_words() {
    let node = FakeNode::start(script()).await;
    let proxy = Proxy::start(&[&node], &[("OLLAMA_FIRST_TOKEN_SECONDS", "0.3")]).await;
    for (fault, status) in [
        (Fault::Status(500), 502),
        (Fault::Empty, 502),
        (Fault::Hang, 504),
    ] {
        node.set_script(script().fault(fault.clone()));
        let response = proxy.post("/api/chat", &json!({"model": MODEL})).await;
        assert_eq!(response.status(), status, "{fault:?}");
        let error: serde_json::Value = response.json().await.unwrap();
        assert!(error["error"].is_string(), "{error}");
    }
    // What the node itself says about a bad request is passed on.
    node.set_script(script().fault(Fault::Status(400)));
    let response = proxy.post("/api/chat", &json!({"model": MODEL})).await;
    assert_eq!(response.status(), 400);
    node.kill();
    let mut status = StatusCode::OK;
    for _ in 0..3 {
        status = proxy
            .post("/api/chat", &json!({"model": MODEL}))
            .await
            .status();
    }
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    proxy.stop().await;
}

#[tokio::test]
async fn olp_02_a_full_queue_is_429_and_a_long_wait_503_both_with_retry_after() {
    let node = FakeNode::start(script().fault(Fault::StallAfterTokens(1))).await;
    let settings = [
        ("OLLAMA_SLOTS", "1"),
        ("QUEUE_LIMIT", "0"),
        ("QUEUE_WAIT_SECONDS", "0.1"),
    ];
    let proxy = Proxy::start(&[&node], &settings).await;
    let held = proxy.post("/api/chat", &json!({"model": MODEL})).await;
    let full = proxy.post("/api/chat", &json!({"model": MODEL})).await;
    assert_eq!(full.status(), 429);
    assert!(full.headers().contains_key(header::RETRY_AFTER));
    drop(held);
    proxy.stop().await;

    let settings = [("OLLAMA_SLOTS", "1"), ("QUEUE_WAIT_SECONDS", "0.1")];
    let proxy = Proxy::start(&[&node], &settings).await;
    let _held = proxy.post("/api/chat", &json!({"model": MODEL})).await;
    let late = proxy
        .post(
            "/v1/chat/completions",
            &json!({"model": MODEL, "stream": true}),
        )
        .await;
    assert_eq!(late.status(), 503);
    assert!(late.headers().contains_key(header::RETRY_AFTER));
    let error: serde_json::Value = late.json().await.unwrap();
    assert_eq!(error["error"]["code"], "queue_timeout");
}
