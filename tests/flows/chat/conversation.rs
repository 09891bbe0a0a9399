//! What was said before.

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::Stage;

use super::CHAT;

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_stored_once_and_continued_with_its_history() {
    let stage = Stage::start().await;
    let (client, node) = (stage.admin(), &stage.nodes[0]);
    let first = client.chat("one").await;
    assert_eq!(first.status, 200, "{}", first.text);
    let expected = json!({"prompt_tokens": 7, "completion_tokens": 3, "duration_ms": 5});
    assert_eq!(
        (&first.json["cached"], &first.json["usage"]),
        (&json!(false), &expected)
    );
    assert_eq!(first.json["stored"], true);
    let id = first.json["conversation_id"].as_str().expect("an id");

    // The second turn as a stream: it is stored the same way.
    let body = json!({"message": "two", "conversation_id": id, "stream": true});
    let request = client.request(Method::POST, "/api/v1/chat").json(&body);
    let rest = client.events(request).await.rest().await;
    let done = rest.events.last().expect("an end").json();
    assert_eq!(
        (&done["stored"], &done["conversation_id"]),
        (&json!(true), &json!(id))
    );

    let asked = node.requests_to(CHAT);
    assert_eq!(asked[0].body["messages"], messages(&["one"]));
    assert_eq!(
        asked[1].body["messages"],
        messages(&["one", "Hello there", "two"])
    );

    let kept = client
        .get(&format!("/api/v1/chat/conversations/{id}"))
        .await;
    assert_eq!(kept.json["turns"], 2, "{}", kept.text);
    let said: Vec<&str> = kept.json["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .filter_map(|message| message["content"].as_str())
        .collect();
    assert_eq!(said, ["one", "Hello there", "two", "Hello there"]);

    let path = format!("/api/v1/chat/conversations/{id}");
    assert_eq!(client.delete(&path).await.status, 204);
    client
        .get(&path)
        .await
        .assert_problem(404, "conversation_not_found");
    let body = json!({"message": "three", "conversation_id": id});
    client
        .post("/api/v1/chat", body)
        .await
        .assert_problem(404, "conversation_not_found");
    stage.stop().await;
}

/// The messages that a node should get: user and assistant in turn.
fn messages(said: &[&str]) -> Value {
    let roles = ["user", "assistant"].into_iter().cycle();
    roles
        .zip(said)
        .map(|(role, content)| json!({"role": role, "content": content}))
        .collect()
}
