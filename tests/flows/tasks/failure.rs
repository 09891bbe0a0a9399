//! Attempts that fail, and time that runs out.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use sutazai_testkit::ollama::Fault;
use system_tests::{Setup, assert_history, eventually, kinds};

use super::{CHAT, TYPE, find, no_workers, state, submit_with, tiny};

#[tokio::test(flavor = "multi_thread")]
async fn tsk_07_a_failed_attempt_is_followed_by_one_that_succeeds() {
    let stage = Setup::default()
        .node(tiny().fault(Fault::Status(500)))
        .start()
        .await;
    let (client, node) = (stage.admin(), &stage.nodes[0]);
    let id = submit_with(&client, json!({"max_attempts": 10})).await;
    let request = client.request(Method::GET, &format!("/api/v1/tasks/{id}/events"));
    let mut events = client.events(request).await;
    let mut history = Vec::new();
    while let Some(event) = events.next().await.expect("a whole stream") {
        if event.kind == "attempt_failed" {
            node.revive();
        }
        history.push(event);
    }
    history.retain(|event| event.id.is_some());
    assert_history(&history);
    let kinds = kinds(&history);
    assert_eq!(
        kinds[..4],
        ["created", "released", "started", "attempt_failed"]
    );
    assert_eq!(kinds.last(), Some(&"succeeded"));
    let failed = history[3].json();
    assert_eq!(
        (&failed["error"]["reason"], &failed["attempt"]),
        (&json!("node_failed"), &json!(1))
    );
    assert!(failed["retry_at"].is_string(), "{failed}");

    let task = state(&client, &id).await;
    let failures = kinds
        .iter()
        .filter(|kind| **kind == "attempt_failed")
        .count();
    assert_eq!(task["attempt"], failures + 1);
    assert_eq!(task["result"]["text"], "Hello there");
    assert!(task["error"].is_null(), "what failed is history: {task}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_07_a_task_that_fails_each_time_is_parked_with_its_reason() {
    let stage = Setup::default()
        .node(tiny().fault(Fault::Status(500)))
        .start()
        .await;
    let client = stage.admin();
    let id = submit_with(&client, json!({"max_attempts": 2})).await;
    let task = client.finished(&id).await;
    assert_eq!(
        (&task["state"], &task["attempt"]),
        (&json!("failed"), &json!(2))
    );
    assert_eq!(task["error"]["reason"], "node_failed");
    assert_eq!(task["error"]["code"], "BAD_UPSTREAM");
    let history = client.history(&id).await;
    assert_history(&history);
    let attempt = ["released", "started"];
    let expected = [
        &["created"],
        &attempt[..],
        &["attempt_failed"],
        &attempt[..],
        &["failed"],
    ];
    assert_eq!(kinds(&history), expected.concat());
    let parked = "select attempts || ' ' || reason from tasks.dead_letters where task_id = $1";
    assert_eq!(stage.query(parked, &id).await, ["2 node_failed"]);

    // An input that breaks a rule never gets better: one attempt, and nothing to park.
    let id = client.submit(TYPE, json!({"nonsense": true})).await;
    let task = client.finished(&id).await;
    assert_eq!(
        (&task["state"], &task["attempt"]),
        (&json!("failed"), &json!(1))
    );
    assert_eq!(task["error"]["reason"], "validation_failed");
    let history = client.history(&id).await;
    assert_eq!(
        kinds(&history),
        ["created", "released", "started", "failed"]
    );
    assert!(stage.query(parked, &id).await.is_empty());
    assert_eq!(
        stage.nodes[0].requests_to(CHAT).len(),
        2,
        "it reached no node"
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_07_a_task_expires_at_its_time_queued_or_running() {
    let stage = Setup::default()
        .node(tiny().fault(Fault::Hang))
        .start()
        .await;
    let client = stage.admin();
    let running = submit_with(&client, json!({"expires_in_seconds": 3})).await;
    eventually("the task at the node", async || {
        (stage.nodes[0].in_flight() == 1).then_some(())
    })
    .await;
    let task = client.finished(&running).await;
    assert_eq!(task["state"], "expired", "{task}");
    assert!(
        stage.nodes[0]
            .wait_aborted(1, Duration::from_secs(10))
            .await
            .is_some()
    );

    no_workers(&stage).await;
    let queued = submit_with(&client, json!({"expires_in_seconds": 1})).await;
    let task = client.finished(&queued).await;
    assert_eq!(
        (&task["state"], &task["attempt"]),
        (&json!("expired"), &json!(0))
    );
    for id in [&running, &queued] {
        let history = client.history(id).await;
        assert_history(&history);
        assert_eq!(
            find(&history, "expired").json()["error"]["reason"],
            "task_expired"
        );
    }
    stage.stop().await;
}
