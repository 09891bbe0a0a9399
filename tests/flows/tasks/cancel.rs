//! The end of a task that somebody asked for.

use std::time::Duration;

use serde_json::json;
use sutazai_testkit::ollama::Fault;
use system_tests::{Setup, Stage, assert_history, eventually, kinds};
use tokio::time::Instant;

use super::{CHAT, TYPE, cancel, no_workers, prompt, state, tiny};

fn median(mut times: [Duration; 3]) -> Duration {
    // A busy machine may hold up one of them.
    times.sort_unstable();
    times[1]
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_06_a_queued_task_is_cancelled_at_once_and_never_runs() {
    let stage = Stage::start().await;
    let client = stage.admin();
    no_workers(&stage).await;
    let mut times = [Duration::ZERO; 3];
    let mut ids = Vec::new();
    for time in &mut times {
        let id = client.submit(TYPE, prompt("never")).await;
        let asked = Instant::now();
        let answer = cancel(&client, &id).await;
        *time = asked.elapsed();
        assert_eq!(
            (answer.status.as_u16(), &answer.json["state"]),
            (200, &json!("cancelled"))
        );
        let history = client.history(&id).await;
        assert_history(&history);
        assert!(!kinds(&history).contains(&"started"));
        // Asking again changes nothing.
        assert_eq!(cancel(&client, &id).await.json, answer.json);
        ids.push(id);
    }
    assert!(median(times) <= Duration::from_millis(500), "{times:?}");

    let stage = stage.restart().await;
    let client = stage.admin();
    let later = client.submit(TYPE, prompt("later")).await;
    assert_eq!(client.finished(&later).await["state"], "succeeded");
    for id in &ids {
        assert_eq!(state(&client, id).await["state"], "cancelled");
    }
    assert_eq!(
        stage.nodes[0].requests_to(CHAT).len(),
        1,
        "only the later one ran"
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_06_a_running_task_is_cancelled_down_to_the_node() {
    let stage = Setup::default()
        .node(tiny().fault(Fault::Hang))
        .start()
        .await;
    let (client, node) = (stage.admin(), &stage.nodes[0]);
    let mut times = [Duration::ZERO; 3];
    for (count, time) in (1..).zip(&mut times) {
        let id = client.submit(TYPE, prompt("for ever")).await;
        eventually("the task at the node", async || {
            let running = state(&client, &id).await["state"] == "running";
            (running && node.in_flight() == 1).then_some(())
        })
        .await;
        let asked = Instant::now();
        let answer = cancel(&client, &id).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json["cancel_requested"], true);
        let history = client.history(&id).await;
        *time = asked.elapsed();
        assert_history(&history);
        let expected = [
            "created",
            "released",
            "started",
            "cancel_requested",
            "cancelled",
        ];
        assert_eq!(kinds(&history), expected);
        let seen = node.wait_aborted(count, Duration::from_secs(10)).await;
        assert!(seen.is_some(), "the node still works");
        assert_eq!(state(&client, &id).await["state"], "cancelled");
    }
    assert!(median(times) <= Duration::from_secs(2), "{times:?}");
    stage.stop().await;
}
