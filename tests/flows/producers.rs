//! Producers outside the platform, through the broker.

use serde_json::json;
use sutazai_mesh::catalog::ServiceName;
use system_tests::{Producer, Stage, eventually, submission};

const DEAD_LETTERS: &str = "/api/v1/tasks/dead-letters";

#[tokio::test(flavor = "multi_thread")]
async fn obs_02_a_task_belongs_to_the_trace_of_the_event_that_submitted_it() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let stage = Stage::start().await;
    let producer = Producer::new(stage.broker().clone()).await;
    let data = json!({"type": "llm.generate", "input": {"prompt": "hello"}});
    let mut event = submission("traced", &data);
    event["traceparent"] = json!(format!("00-{TRACE}-b7ad6b7169203331-01"));
    producer.submit(&event).await;
    for _ in ["accepted", "finished"] {
        let answer = producer.answer().await;
        let parent = answer["traceparent"].as_str().unwrap_or_default();
        assert!(parent.starts_with(&format!("00-{TRACE}-")), "{answer}");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_07_poison_is_a_dead_letter_and_runs_once_its_cause_is_gone() {
    let stage = Stage::start().await;
    let (admin, producer) = (stage.admin(), Producer::new(stage.broker().clone()).await);
    let data = json!({"type": "llm.generate", "input": {"prompt": "hello"}});

    producer.submit(&submission("good", &data)).await;
    let end = producer.ends(1).await.remove(0);
    assert_eq!(end["type"], "sutazai.task.finished.v1", "{end}");
    assert_eq!(end["data"]["state"], "succeeded");
    assert_eq!(end["data"]["result"]["text"], "Hello there");
    let task = end["data"]["task_id"].as_str().expect("an id");
    let found = admin.get(&format!("/api/v1/tasks/{task}")).await.json;
    assert_eq!(found["subject"], "amqp", "{found}");

    // The type of this one is not known, and its producer wants no answer.
    stage
        .platform
        .stop_service(ServiceName::AutomationAgent)
        .await;
    stage
        .execute("delete from tasks.task_types where name = 'automation.plan'")
        .await;
    let early = json!({"type": "automation.plan", "input": {"goal": "say hello"}});
    let mut message = producer.message(&submission("early", &early));
    message.properties.reply_to = None;
    producer.send(message).await;
    let letter = eventually("a dead letter", async || {
        admin.get(DEAD_LETTERS).await.items().first().cloned()
    })
    .await;
    let reason = letter["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("unknown_task_type: "), "{letter}");

    // A worker brings the type: now it can be done.
    stage
        .execute(
            "insert into tasks.task_types (name, effect_mode, max_attempts, attempt_timeout_ms)
             values ('automation.plan', 'idempotent', 3, 60000)",
        )
        .await;
    let id = letter["id"].as_str().expect("an id");
    let path = format!("{DEAD_LETTERS}/{id}/redrive");
    let sent = admin.post(&path, json!(null)).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    let task = eventually("its task", async || {
        let list = admin.get("/api/v1/tasks?type=automation.plan").await;
        list.items().first().cloned()
    })
    .await;
    assert_eq!(task["subject"], "amqp");
    let letter = admin.get(&format!("{DEAD_LETTERS}/{id}")).await.json;
    assert!(letter["redriven_at"].is_string(), "{letter}");
    stage.stop().await;
}
