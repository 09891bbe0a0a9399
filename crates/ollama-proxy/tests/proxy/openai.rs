//! OpenAI's dialect.

use http::StatusCode;
use serde_json::{Value, json};
use sutazai_testkit::ollama::{FakeNode, Script};

use crate::harness::{MODEL, Proxy, script};

#[tokio::test]
async fn models_are_listed_and_found_whatever_their_names_hold() {
    let node = FakeNode::start(Script::new([MODEL, "hf.co/acme/tiny:q4"])).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    let (_, list) = proxy.get("/v1/models").await;
    assert_eq!(list["object"], "list");
    let created = 1_767_323_045;
    assert_eq!(
        list["data"],
        json!([
            {"id": MODEL, "object": "model", "created": created, "owned_by": "library"},
            {"id": "hf.co/acme/tiny:q4", "object": "model", "created": created, "owned_by": "hf.co/acme"},
        ])
    );
    for id in [
        MODEL,
        "tinyllama",
        "TinyLlama",
        "library/tinyllama",
        "registry.ollama.ai/library/TinyLlama:Latest",
        "hf.co/acme/tiny:q4",
        "hf.co%2Facme%2Ftiny%3Aq4",
    ] {
        let (status, model) = proxy.get(&format!("/v1/models/{id}")).await;
        assert_eq!(status, StatusCode::OK, "{id}");
        assert_eq!(model["object"], "model", "{id}");
    }
    let (status, error) = proxy.get("/v1/models/gpt-4o").await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("model_not_found"))
    );
    proxy.stop().await;
}

#[tokio::test]
async fn llm_15_faults_of_a_request_are_said_in_openais_shape() {
    let node = FakeNode::start(script()).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    for (body, status, code, param) in [
        (
            json!({"model": "tinylama"}),
            404,
            "model_not_found",
            Value::Null,
        ),
        (
            json!({"model": MODEL, "n": 2}),
            400,
            "unsupported_parameter",
            json!("n"),
        ),
        (
            json!({"model": MODEL, "logit_bias": {"1": 2}}),
            400,
            "unsupported_parameter",
            json!("logit_bias"),
        ),
        (
            json!({"model": MODEL, "tool_choice": "required"}),
            400,
            "unsupported_parameter",
            json!("tool_choice"),
        ),
        (
            json!({"messages": []}),
            400,
            "validation_failed",
            json!("model"),
        ),
        (
            json!({"model": "x".repeat(513)}),
            400,
            "validation_failed",
            json!("model"),
        ),
        (json!("text"), 400, "invalid_json", Value::Null),
    ] {
        let response = proxy.post("/v1/chat/completions", &body).await;
        assert_eq!(response.status(), status, "{body}");
        let error: Value = response.json().await.unwrap();
        let error = &error["error"];
        assert_eq!(
            (&error["code"], &error["param"]),
            (&json!(code), &param),
            "{body}"
        );
        assert_eq!(error["type"], "invalid_request_error", "{body}");
        assert!(error["message"].is_string(), "{body}");
    }
    assert!(node.requests_to("/v1/chat/completions").is_empty());
    proxy.stop().await;
}
