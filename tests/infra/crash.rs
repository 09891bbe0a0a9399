//! kill -9 of services and servers in the middle of the work.

use rustix::process::Signal;
use serde_json::json;
use system_tests::assert_history;

use crate::platform::{Platform, shared, within};

/// Tasks of one story: some are done, some run and some wait when the kill comes.
const TASKS: usize = 40;

/// Submits tasks, kills while they run, and looks at every one.
async fn story(platform: &Platform, victims: &[&str]) {
    let client = platform.admin();
    let submissions =
        (0..TASKS).map(|i| client.submit("llm.generate", json!({"prompt": format!("task {i}")})));
    let ids = futures::future::join_all(submissions).await;
    for victim in victims {
        let old = platform.signal(victim, Signal::KILL);
        platform.replaced(victim, old).await;
    }
    // A door may have moved with its process.
    let client = platform.admin();
    for id in &ids {
        let task = within("the end of a task", async || {
            let answer = client.get(&format!("/api/v1/tasks/{id}")).await;
            let state = answer.json["state"].as_str()?;
            (!["queued", "running"].contains(&state)).then_some(answer.json)
        })
        .await;
        assert_eq!(task["state"], "succeeded", "{task}");
        assert_eq!(task["result"]["text"], "one two three", "{task}");
        assert_history(&client.history(id).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_01_kill_9_of_services_and_agents_loses_nothing() {
    let platform = shared().await;
    let victims = [
        "agent-orchestrator",
        "task-coordinator",
        "ollama-proxy",
        "backend-2",
    ];
    story(&platform, &victims).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_01_kill_9_of_the_broker_loses_nothing() {
    let platform = shared().await;
    story(&platform, &["rabbitmq"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_01_kill_9_of_database_cache_and_registry_loses_nothing() {
    let platform = shared().await;
    story(&platform, &["postgres", "redis", "consul"]).await;
}
