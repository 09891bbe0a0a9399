//! What was stored is there again.

use serde_json::json;
use system_tests::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn conversations_tasks_and_credentials_survive_a_restart() {
    let stage = Stage::start().await;
    let client = stage.admin();
    let chat = client
        .post("/api/v1/chat", json!({"message": "hello"}))
        .await;
    assert_eq!(chat.status, 200, "{}", chat.text);
    let conversation = chat.json["conversation_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let task = client
        .submit("llm.generate", json!({"prompt": "hello"}))
        .await;
    let before = client.finished(&task).await;

    let stage = stage.restart().await;
    let client = stage.admin();
    let after = client.get(&format!("/api/v1/tasks/{task}")).await;
    assert_eq!(after.json, before);
    let kept = client
        .get(&format!("/api/v1/chat/conversations/{conversation}"))
        .await;
    assert_eq!(kept.status, 200, "{}", kept.text);
    assert!(kept.text.contains("hello"));
    stage.stop().await;
}
