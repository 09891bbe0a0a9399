//! A task from its submission to its end, with everything that can come between.

mod cancel;
mod failure;
mod order;
mod run;
mod submission;

use serde_json::{Value, json};
use sutazai_mesh::catalog::ServiceName;
use sutazai_testkit::ollama::Script;
use system_tests::{Answer, Client, Event, Stage};

const TYPE: &str = "llm.generate";
const CHAT: &str = "/api/chat";
/// Kinds of the events of a task that runs without a hitch.
const SMOOTH: [&str; 4] = ["created", "released", "started", "succeeded"];

fn tiny() -> Script {
    Script::new(["tinyllama:latest"])
}

fn prompt(text: &str) -> Value {
    json!({"prompt": text})
}

async fn submit_with(client: &Client, options: Value) -> String {
    let mut body = json!({"type": TYPE, "input": prompt("hello")});
    for (name, value) in options.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let answer = client.post("/api/v1/tasks", body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json["id"].as_str().expect("an id").to_owned()
}

async fn state(client: &Client, id: &str) -> Value {
    client.get(&format!("/api/v1/tasks/{id}")).await.json
}

async fn cancel(client: &Client, id: &str) -> Answer {
    client
        .post(&format!("/api/v1/tasks/{id}/cancel"), json!({}))
        .await
}

async fn no_workers(stage: &Stage) {
    stage
        .platform
        .stop_service(ServiceName::AgentOrchestrator)
        .await;
}

fn find<'a>(history: &'a [Event], kind: &str) -> &'a Event {
    history
        .iter()
        .find(|event| event.kind == kind)
        .expect("such an event")
}
