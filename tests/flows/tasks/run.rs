//! A task without a hitch, and those who follow it.

use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{Event, Setup, Stage, assert_history, eventually, kinds};

use super::{CHAT, SMOOTH, TYPE, cancel, find, no_workers, prompt, state, tiny};

/// More than the 200 streams that a service takes on one connection.
const FOLLOWERS: usize = 250;

#[tokio::test(flavor = "multi_thread")]
async fn tsk_13_a_task_runs_from_its_submission_to_its_result_event_by_event() {
    let stage = Stage::start().await;
    let client = stage.admin();
    let body = json!({"type": TYPE, "input": prompt("hello"), "priority": 7});
    let answer = client.post("/api/v1/tasks", body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let id = answer.json["id"].as_str().expect("an id").to_owned();
    let location = answer
        .headers
        .get("location")
        .and_then(|place| place.to_str().ok());
    assert_eq!(location, Some(format!("/api/v1/tasks/{id}").as_str()));

    let history = client.history(&id).await;
    assert_history(&history);
    assert_eq!(kinds(&history), SMOOTH);
    let steps: Vec<(Value, Value)> = history
        .iter()
        .map(Event::json)
        .map(|event| (event["state"].clone(), event["attempt"].clone()))
        .collect();
    let expected = [
        ("queued", 0),
        ("queued", 0),
        ("running", 1),
        ("succeeded", 1),
    ];
    assert_eq!(
        steps,
        expected.map(|(state, attempt)| (json!(state), json!(attempt)))
    );
    assert!(find(&history, "started").json()["worker"].is_string());

    let task = state(&client, &id).await;
    assert_eq!(task["state"], "succeeded");
    assert_eq!(task["result"]["text"], "Hello there");
    assert_eq!(
        (&task["attempt"], &task["priority"]),
        (&json!(1), &json!(7))
    );
    assert_eq!(task["input"], prompt("hello"));
    assert!(
        task["finished_at"].is_string() && task["worker"].is_null(),
        "{task}"
    );

    // Nothing of it is left to be done.
    let left = stage
        .query("select 1::text from tasks.outbox where task_id = $1", &id)
        .await;
    assert!(left.is_empty());
    eventually("the end of the lease", async || {
        let sql = "select worker from tasks.leases where task_id = $1";
        stage.query(sql, &id).await.is_empty().then_some(())
    })
    .await;
    assert_eq!(stage.nodes[0].requests_to(CHAT).len(), 1);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_13_a_follower_that_comes_back_gets_exactly_the_rest() {
    let stage = Stage::start().await;
    let client = stage.admin();
    let id = client.submit(TYPE, prompt("hello")).await;
    let whole = client.history(&id).await;
    let path = format!("/api/v1/tasks/{id}/events");
    for seen in 0..=whole.len() {
        let by_header = client
            .request(Method::GET, &path)
            .header("last-event-id", seen);
        let by_query = client.request(Method::GET, &format!("{path}?last_event_id={seen}"));
        for request in [by_header, by_query] {
            let rest = client.events(request).await.rest().await;
            assert_eq!(
                (rest.events.as_slice(), rest.cut),
                (&whole[seen..], false),
                "after {seen}"
            );
        }
    }
    let nonsense = client
        .request(Method::GET, &path)
        .header("last-event-id", "first");
    client
        .send(nonsense)
        .await
        .assert_problem(400, "validation_failed");
    let nobodys = "/api/v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057/events";
    client
        .get(nobodys)
        .await
        .assert_problem(404, "task_not_found");

    // One that was there all the time sees the events as they happen, and then the end.
    no_workers(&stage).await;
    let id = client.submit(TYPE, prompt("hello")).await;
    let request = client.request(Method::GET, &format!("/api/v1/tasks/{id}/events"));
    let mut events = client.events(request).await;
    let first = events.next().await.expect("an event").expect("one more");
    assert_eq!(
        (first.kind.as_str(), first.id.as_deref()),
        ("created", Some("1"))
    );
    assert_eq!(cancel(&client, &id).await.status, 200);
    let rest = events.rest().await;
    assert_eq!((rest.kinds().last(), rest.cut), (Some(&"cancelled"), false));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_13_more_followers_than_one_connection_carries_hold_up_nobody() {
    let stage = Stage::start().await;
    let client = stage.admin();
    no_workers(&stage).await;
    let id = client.submit(TYPE, prompt("hello")).await;
    let path = format!("/api/v1/tasks/{id}");
    let follow = (0..FOLLOWERS).map(async |_| {
        let request = client.request(Method::GET, &format!("{path}/events"));
        let mut events = client.events(request).await;
        let first = events.next().await.expect("an event").expect("one more");
        assert_eq!(first.kind, "created");
        events
    });
    let followers = join_all(follow).await;
    assert_eq!(client.get(&path).await.status, 200);
    assert_eq!(cancel(&client, &id).await.status, 200);
    for mut events in followers {
        let rest = events.rest().await;
        assert_eq!((rest.kinds().last(), rest.cut), (Some(&"cancelled"), false));
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_as_it_happens_and_is_no_part_of_the_history() {
    let words: Vec<String> = (0..40).map(|i| format!("{i} ")).collect();
    let script = tiny()
        .tokens(words.clone())
        .between_tokens(Duration::from_millis(50));
    let stage = Setup::default().node(script).start().await;
    let client = stage.admin();
    let id = client.submit(TYPE, prompt("count")).await;
    let request = client.request(Method::GET, &format!("/api/v1/tasks/{id}/events"));
    let rest = client.events(request).await.rest().await;
    assert!(!rest.cut);
    let (progress, history): (Vec<Event>, Vec<Event>) = rest
        .events
        .into_iter()
        .partition(|event| event.kind == "progress");
    assert_history(&history);
    assert_eq!(kinds(&history), SMOOTH);
    assert!(progress.len() > 1, "{progress:?}");
    let text = words.concat();
    for event in &progress {
        assert_eq!(event.id, None, "what can be lost has no place in the order");
        let event = event.json();
        assert_eq!(event["attempt"], 1);
        let offset = event["data"]["offset"]
            .as_u64()
            .and_then(|at| usize::try_from(at).ok());
        let delta = event["data"]["delta"].as_str().expect("a piece");
        assert!(
            text[offset.expect("its place")..].starts_with(delta),
            "{event}"
        );
    }
    assert_eq!(state(&client, &id).await["result"]["text"], text);
    assert_eq!(
        client.history(&id).await,
        history,
        "a later follower sees the history only"
    );
    stage.stop().await;
}
