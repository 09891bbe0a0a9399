//! Which of many tasks is next.

use serde_json::json;
use system_tests::{Setup, assert_history};

use super::{CHAT, no_workers, prompt, state, submit_with};

#[tokio::test(flavor = "multi_thread")]
async fn tsk_12_waiting_tasks_run_in_the_order_of_their_priority_when_workers_come_back() {
    // One slot, so that the order is to be seen at the node.
    let stage = Setup::default().setting("AGENT_SLOTS", "1").start().await;
    no_workers(&stage).await;
    let client = stage.admin();
    let mut ids = Vec::new();
    for priority in [0, 5, 9, 1, 7, 3, 8, 2, 6, 4] {
        let input = prompt(&format!("priority {priority}"));
        ids.push(submit_with(&client, json!({"input": input, "priority": priority})).await);
    }
    for id in &ids {
        assert_eq!(state(&client, id).await["state"], "queued");
    }
    assert!(
        stage.nodes[0].requests_to(CHAT).is_empty(),
        "nobody is there to run them"
    );

    let stage = stage.restart().await;
    let client = stage.admin();
    for id in &ids {
        assert_eq!(client.finished(id).await["state"], "succeeded");
        assert_history(&client.history(id).await);
    }
    let asked: Vec<String> = stage.nodes[0]
        .requests_to(CHAT)
        .iter()
        .map(|seen| {
            seen.body["messages"][0]["content"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    let expected: Vec<String> = (0..10).rev().map(|n| format!("priority {n}")).collect();
    assert_eq!(asked, expected);
    stage.stop().await;
}
