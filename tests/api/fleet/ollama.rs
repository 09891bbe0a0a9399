//! Ollama's own API.

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::Stage;

use crate::MODEL;

/// Reads NDJSON: one document a line.
fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}

#[tokio::test]
async fn api_22_clients_probe_and_list_as_at_a_node() {
    let stage = Stage::shared().await;
    let door = stage.models();
    for method in [Method::GET, Method::HEAD] {
        for path in ["/", "/api/version", "/api/tags"] {
            let answer = door.send(door.request(method.clone(), path)).await;
            assert_eq!(answer.status, 200, "{method} {path}");
            assert_eq!(
                answer.text.is_empty(),
                method == Method::HEAD,
                "{method} {path}"
            );
        }
    }
    assert_eq!(door.get("/").await.text, "Ollama is running");
    assert_eq!(
        door.get("/api/version").await.json,
        json!({"version": "0.14.2"})
    );
    let tags = door.get("/api/tags").await.json;
    let model = &tags["models"][0];
    assert_eq!(
        (&model["name"], &model["model"]),
        (&json!(MODEL), &json!(MODEL)),
        "{tags}"
    );
    for member in ["digest", "modified_at"] {
        assert!(model[member].is_string(), "{model}");
    }
    assert!(
        model["size"].is_u64() && model["details"]["format"].is_string(),
        "{model}"
    );
    assert_eq!(door.get("/api/ps").await.json, json!({"models": []}));
    let show = door.post("/api/show", json!({"model": MODEL})).await;
    assert!(
        show.json["details"].is_object() && show.json["capabilities"].is_array(),
        "{}",
        show.text
    );
}

#[tokio::test]
async fn api_22_chat_and_generate_stream_lines_unless_told_not_to() {
    let stage = Stage::shared().await;
    let door = stage.models();
    let messages = json!([{"role": "user", "content": "hello"}]);
    for (path, body, text) in [
        (
            "/api/chat",
            json!({"model": MODEL, "messages": messages}),
            "/message/content",
        ),
        (
            "/api/generate",
            json!({"model": "tinyllama", "prompt": "hello"}),
            "/response",
        ),
    ] {
        let said = |value: &Value| {
            value
                .pointer(text)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let streamed = door.post(path, body.clone()).await;
        assert_eq!(streamed.status, 200, "{}", streamed.text);
        assert_eq!(
            streamed.header("content-type"),
            Some("application/x-ndjson")
        );
        let lines = lines(&streamed.text);
        assert_eq!(lines.len(), 4, "{}", streamed.text);
        let whole: String = lines.iter().filter_map(said).collect();
        assert_eq!(whole, "Hello there");
        let done: Vec<bool> = lines.iter().map(|line| line["done"] == true).collect();
        assert_eq!(done, [false, false, false, true]);
        assert!(lines[3]["total_duration"].is_u64() && lines[3]["eval_count"] == 3);

        let mut body = body;
        body["stream"] = json!(false);
        let answer = door.post(path, body).await;
        assert_eq!(
            said(&answer.json).as_deref(),
            Some("Hello there"),
            "{}",
            answer.text
        );
        assert_eq!(answer.json["done"], true);
    }
}

#[tokio::test]
async fn api_22_embeddings_keep_their_order_and_their_earlier_address() {
    let stage = Stage::shared().await;
    let door = stage.models();
    let many = door
        .post("/api/embed", json!({"model": MODEL, "input": ["a", "bc"]}))
        .await;
    assert_eq!(
        many.json["embeddings"],
        json!([[1, 97, 0.5], [2, 197, 0.5]]),
        "{}",
        many.text
    );
    let one = door
        .post("/api/embeddings", json!({"model": MODEL, "prompt": "a"}))
        .await;
    assert_eq!(one.json, json!({"embedding": [1, 97, 0.5]}));
}

#[tokio::test]
async fn api_22_faults_are_said_in_ollamas_words() {
    let stage = Stage::shared().await;
    let door = stage.models();
    for (body, status) in [
        (json!({"model": "tinylama"}), 404),
        (json!({"prompt": "hello"}), 400),
        (json!([1]), 400),
    ] {
        let answer = door.post("/api/generate", body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let words = answer.json["error"].as_str().unwrap_or_default();
        assert!(!words.is_empty(), "{}", answer.text);
        assert!(
            status != 404 || words.contains(MODEL),
            "no near name: {words}"
        );
    }
}
