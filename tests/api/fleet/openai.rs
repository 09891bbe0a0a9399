//! OpenAI's API.

use serde_json::{Value, json};
use system_tests::{Rest, Stage};

use crate::MODEL;

const COMPLETIONS: &str = "/v1/chat/completions";

fn question() -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]})
}

#[tokio::test]
async fn api_22_models_are_listed_and_found() {
    let door = Stage::shared().await.models();
    let list = door.get("/v1/models").await.json;
    assert_eq!(list["object"], "list");
    let model = &list["data"][0];
    assert_eq!(
        (&model["id"], &model["object"]),
        (&json!(MODEL), &json!("model")),
        "{list}"
    );
    assert!(
        model["created"].is_u64() && model["owned_by"].is_string(),
        "{list}"
    );
    assert_eq!(door.get(&format!("/v1/models/{MODEL}")).await.json, *model);
    let unknown = door.get("/v1/models/gpt-4o").await;
    assert_eq!(
        (unknown.status.as_u16(), &unknown.json["error"]["code"]),
        (404, &json!("model_not_found"))
    );
}

#[tokio::test]
async fn api_22_a_completion_comes_whole() {
    let door = Stage::shared().await.models();
    let answer = door.post(COMPLETIONS, question()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["object"], "chat.completion");
    let choice = &answer.json["choices"][0];
    assert_eq!(
        choice["message"],
        json!({"role": "assistant", "content": "Hello there"})
    );
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(answer.json["usage"]["completion_tokens"], 3);
}

#[tokio::test]
async fn api_22_a_completion_streams_chunks_up_to_done() {
    let door = Stage::shared().await.models();
    let mut body = question();
    body["stream"] = json!(true);
    let request = door.request(reqwest::Method::POST, COMPLETIONS).json(&body);
    let Rest { events, cut } = door.events(request).await.rest().await;
    assert!(!cut);
    let (last, chunks) = events.split_last().expect("events");
    assert_eq!(last.data, "[DONE]");
    let chunks: Vec<Value> = chunks.iter().map(system_tests::Event::json).collect();
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk", "{chunk}");
    }
    let text = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
    assert_eq!(text.collect::<String>(), "Hello there");
    let ends: Vec<&Value> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["finish_reason"])
        .collect();
    assert_eq!(ends.last(), Some(&&json!("stop")));
}

#[tokio::test]
async fn api_22_embeddings_keep_their_order_by_index() {
    let door = Stage::shared().await.models();
    let answer = door
        .post(
            "/v1/embeddings",
            json!({"model": MODEL, "input": ["a", "bc"]}),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for (index, vector) in [json!([1, 97, 0.5]), json!([2, 197, 0.5])]
        .iter()
        .enumerate()
    {
        let one = &answer.json["data"][index];
        assert_eq!(
            (&one["index"], &one["embedding"]),
            (&json!(index), vector),
            "{one}"
        );
    }
}

#[tokio::test]
async fn api_22_what_no_node_can_do_is_refused_and_not_ignored() {
    let door = Stage::shared().await.models();
    for (member, value) in [
        ("n", json!(2)),
        ("logit_bias", json!({"1": 2})),
        ("tool_choice", json!("required")),
    ] {
        let mut body = question();
        body[member] = value;
        let answer = door.post(COMPLETIONS, body).await;
        assert_eq!(answer.status, 400, "{member}: {}", answer.text);
        let error = &answer.json["error"];
        assert_eq!(
            (&error["param"], &error["type"]),
            (&json!(member), &json!("invalid_request_error"))
        );
    }
}
