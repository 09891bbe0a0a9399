//! What is accepted, and how often.

use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{Answer, Client, Stage};

use super::{TYPE, no_workers, prompt};

/// Submits with an idempotency key, as a client does that was told to come again.
async fn submit_by_key(client: &Client, key: &str, body: &Value) -> Answer {
    loop {
        let request = client.request(Method::POST, "/api/v1/tasks").json(body);
        let answer = client.send(request.header("idempotency-key", key)).await;
        if ![409, 429, 503].contains(&answer.status.as_u16()) {
            return answer;
        }
        let seconds = answer.retry_after().expect("a time to come again");
        tokio::time::sleep(Duration::from_secs(seconds.min(5))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_a_hundred_submissions_with_one_key_make_one_task() {
    let stage = Stage::start().await;
    let client = stage.admin();
    // Without workers the task stays as it is, so that the answers can be compared.
    no_workers(&stage).await;
    let body = json!({"type": TYPE, "input": prompt("once")});
    let answers = join_all((0..100).map(|_| submit_by_key(&client, "\"r2\"", &body))).await;
    for answer in &answers {
        assert_eq!(answer.status, 202, "{}", answer.text);
        for member in [
            "id",
            "input",
            "priority",
            "max_attempts",
            "created_at",
            "subject",
        ] {
            assert_eq!(
                answer.json[member], answers[0].json[member],
                "{}",
                answer.text
            );
        }
    }
    let first = answers
        .iter()
        .filter(|a| !a.headers.contains_key("idempotency-replayed"))
        .count();
    assert_eq!(first, 1, "all but one say that they repeat");
    let tasks = client.get("/api/v1/tasks?type=llm.generate").await;
    assert_eq!(
        tasks.json["items"].as_array().map(Vec::len),
        Some(1),
        "{}",
        tasks.text
    );

    // The same key, bare, is the same key.
    let bare = submit_by_key(&client, "r2", &body).await;
    assert_eq!(bare.json["id"], answers[0].json["id"]);
    let other = json!({"type": TYPE, "input": prompt("twice")});
    let reused = submit_by_key(&client, "r2", &other).await;
    reused.assert_problem(422, "idempotency_key_reused");
    for malformed in ["\"r2", "r 2", "", &"k".repeat(256)] {
        let answer = submit_by_key(&client, malformed, &body).await;
        answer.assert_problem(400, "idempotency_key_malformed");
    }
    let another = submit_by_key(&client, "r3", &other).await;
    assert_ne!(
        another.json["id"], answers[0].json["id"],
        "another key, another task"
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_06_an_unknown_type_is_refused_with_near_names_and_nothing_is_stored() {
    let stage = Stage::start().await;
    let client = stage.admin();
    let body = json!({"type": "llm.genrate", "input": {}});
    let answer = client.post("/api/v1/tasks", body).await;
    answer.assert_problem(422, "unknown_task_type");
    assert_eq!(answer.json["facts"]["near_names"], TYPE);
    let tasks = client.get("/api/v1/tasks").await;
    assert_eq!(tasks.json["items"], json!([]));
    let types = client.get("/api/v1/tasks/types").await;
    let names: Vec<&Value> = types.json["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|t| &t["name"])
        .collect();
    assert_eq!(names, ["automation.plan", TYPE]);
    stage.stop().await;
}
