//! Cancelling while there is no broker to say that it was done.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use system_tests::{assert_history, kinds};

use crate::platform::{shared, within};

#[tokio::test(flavor = "multi_thread")]
async fn r5_a_running_task_is_cancelled_while_the_broker_is_down() {
    let platform = shared().await;
    let client = platform.admin();
    let pause = Duration::from_millis(30);
    platform.nodes[0].update(|script| script.between_tokens = Duration::from_secs(600));
    let id = client
        .submit("llm.generate", json!({"prompt": "for ever"}))
        .await;
    let state = async || {
        let answer = client.get(&format!("/api/v1/tasks/{id}")).await;
        answer.json["state"].as_str().map(str::to_owned)
    };
    within("the task runs", async || {
        (state().await? == "running").then_some(())
    })
    .await;

    let unattended = platform.unattended();
    let old = platform.signal("rabbitmq", Signal::KILL);
    let answer = client
        .post(&format!("/api/v1/tasks/{id}/cancel"), json!({}))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    // The broker is not started again before this is seen.
    within("the end of the task", async || {
        (state().await? == "cancelled").then_some(())
    })
    .await;
    platform.nodes[0].update(|script| script.between_tokens = pause);
    drop(unattended);
    platform.replaced("rabbitmq", old).await;
    let history = client.history(&id).await;
    assert_history(&history);
    assert_eq!(kinds(&history).last(), Some(&"cancelled"));
}
