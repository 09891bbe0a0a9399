//! The end of the whole process in the middle of the work: by kill -9, and by SIGTERM.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use sutazai_testkit::ollama::{FakeNode, Script};
use system_tests::Client;

use crate::process::{Dev, folder};

const TASKS: usize = 200;
/// How many of them have ended when the kill comes: some are done, some run, some wait.
const DONE_BEFORE: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn tsk_01_kill_9_during_200_tasks_loses_none_and_doubles_none() {
    story(Dev::kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cfg_14_sigterm_under_load_ends_in_time_and_loses_none() {
    story(Dev::terminate).await;
}

/// Submits the tasks, ends the platform while some are done, some run and some wait, starts it again
/// and looks at every one.
async fn story(end: fn(Dev)) {
    let folder = folder();
    let data = folder.path().join("state");
    let node = FakeNode::start(
        Script::new(["tinyllama:latest"])
            .tokens(["one ", "two ", "three"])
            .between_tokens(Duration::from_millis(30)),
    )
    .await;

    let first = start(&data, &node.url()).await;
    let client = Client::with_key_of(&first.description);
    let submissions =
        (0..TASKS).map(|i| client.submit("llm.generate", json!({"prompt": format!("task {i}")})));
    let ids = futures::future::join_all(submissions).await;
    system_tests::eventually("the first results", async || {
        let done = client.get("/api/v1/tasks?state=succeeded&limit=100").await;
        (done.json["items"].as_array().map_or(0, Vec::len) >= DONE_BEFORE).then_some(())
    })
    .await;
    tokio::task::spawn_blocking(move || end(first))
        .await
        .expect("the end");

    let second = start(&data, &node.url()).await;
    let client = Client::with_key_of(&second.description);
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for id in &ids {
        let task = client.finished(id).await;
        *outcomes
            .entry(task["state"].as_str().unwrap_or_default().to_owned())
            .or_default() += 1;
        assert_eq!(task["result"]["text"], "one two three", "task {id}: {task}");
        let events = client.history(id).await;
        let numbers: Vec<u64> = events
            .iter()
            .filter_map(|e| e.id.as_ref()?.parse().ok())
            .collect();
        assert_eq!(
            numbers,
            (1..=numbers.len() as u64).collect::<Vec<_>>(),
            "task {id}: gaps in {numbers:?}"
        );
        let terminal = ["succeeded", "failed", "cancelled", "interrupted", "expired"];
        let ends = events
            .iter()
            .filter(|event| terminal.contains(&event.kind.as_str()))
            .count();
        assert_eq!(ends, 1, "task {id} has {ends} terminal events");
    }
    assert_eq!(outcomes, BTreeMap::from([("succeeded".to_owned(), TASKS)]));
    tokio::task::spawn_blocking(move || second.interrupt())
        .await
        .expect("the stop");
}

async fn start(data: &std::path::Path, node: &str) -> Dev {
    let (data, node) = (data.to_owned(), node.to_owned());
    tokio::task::spawn_blocking(move || Dev::run(&data, &node))
        .await
        .expect("the start")
}
