//! Producers made of somebody else's clients.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};
use system_tests::{Client, PythonScript, submission};

use crate::door::{DEAD_LETTERS, Door, hello, text};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Returns the producer of the documentation.
fn documented() -> String {
    let readme = fs::read_to_string(root().join("proto/README.md")).expect("the README");
    let block = readme.split("```python\n").nth(1);
    let block = block.and_then(|rest| rest.split("```").next());
    block.expect("a producer in Python").to_owned()
}

/// Fails unless the JSON Schemas of the contract allow the events.
async fn assert_schemas(events: &[Value]) {
    let script = PythonScript::named("schemas.py").await;
    let folder = root().join("proto/events");
    let input = json!({"folder": folder, "events": events});
    let faults: Vec<String> = script.input(input).answer().await;
    assert_eq!(faults, [""; 0]);
}

async fn subject(client: &Client, event: &Value) -> Value {
    let id = text(&event["data"]["task_id"]);
    let task = client.get(&format!("/api/v1/tasks/{id}")).await;
    task.json["subject"].clone()
}

/// Runs kombu's producer and returns its answers by their correlation ids.
async fn kombu(door: &Door, events: &[Value]) -> Vec<(String, Value)> {
    let script = PythonScript::named("kombu_producer.py").await;
    let script = script.env("AMQP_URL", &door.url).input(json!(events));
    let answers: Vec<Value> = script.answer().await;
    let answers = answers.into_iter().map(|mut answer| {
        let event = answer["event"].take();
        (text(&answer["correlation_id"]), event)
    });
    answers.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_04_producers_made_of_pika_and_kombu_get_their_results() {
    let door = Door::open().await;
    let admin = door.stage.admin();

    let code = documented();
    assert!(code.lines().count() <= 40, "about thirty lines");
    let file = door.stage.data().join("producer.py");
    fs::write(&file, code).expect("the producer");
    let script = PythonScript::at(&file).await.env("AMQP_URL", &door.url);
    let printed = script.run().await;
    let lines = printed.lines();
    let answers: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).expect("an event"))
        .collect();
    let last = answers.last().expect("answers");
    assert_eq!(last["type"], "sutazai.task.finished.v1", "{printed}");
    assert_eq!(last["data"]["result"]["text"], "Hello there", "{printed}");
    assert_eq!(subject(&admin, last).await, format!("amqp:{}", door.user));
    assert_schemas(&answers).await;

    let unknown = submission("unknown", &json!({"type": "no.such", "input": null}));
    let mut broken = hello("broken");
    broken["data"]["priority"] = json!("high");
    let events = [hello("good"), unknown, broken];
    let answers = kombu(&door, &events).await;
    let ends: BTreeMap<&str, &Value> = answers
        .iter()
        .filter(|(_, event)| event["type"] != "sutazai.task.accepted.v1")
        .map(|(correlation, event)| (correlation.as_str(), event))
        .collect();
    assert_eq!(ends["good"]["data"]["state"], "succeeded");
    assert_eq!(ends["unknown"]["data"]["reason"], "unknown_task_type");
    let fault = &ends["broken"]["data"]["errors"][0];
    assert_eq!(fault["pointer"], "/data/priority");
    let letters = admin.get(DEAD_LETTERS).await;
    let reasons: Vec<String> = letters
        .items()
        .iter()
        .map(|letter| text(&letter["reason"]))
        .collect();
    assert_eq!(reasons.len(), 1, "only what can not be read: {reasons:?}");
    assert!(reasons[0].starts_with("validation_failed: "), "{reasons:?}");

    let again = kombu(&door, &events[..1]).await;
    let task = |event: &Value| text(&event["data"]["task_id"]);
    assert!(
        again
            .iter()
            .all(|(_, event)| task(event) == task(ends["good"]))
    );
    let mut all: Vec<Value> = answers.into_iter().chain(again).map(|(_, e)| e).collect();
    all.push(hello("good"));
    assert_schemas(&all).await;

    let script = PythonScript::named("direct_reply.py").await;
    let script = script.env("AMQP_URL", &door.url).input(hello("direct"));
    let answers: Vec<Value> = script.answer().await;
    assert_eq!(
        answers[0]["type"], "sutazai.task.accepted.v1",
        "{answers:?}"
    );
    door.close().await;
}
