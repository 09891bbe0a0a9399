//! Tokens on their way to the client, and clients that leave.

use std::time::Duration;

use futures::future::join_all;
use rand::Rng;
use serde_json::json;
use sutazai_testkit::ollama::Fault;
use system_tests::{Setup, Stage, eventually};
use tokio::time::Instant;

use super::{PATIENCE, assert_chats, break_node, streamed, talker, tiny};

/// Longest time from the end of the client's connection to the end of the node's request.
const ABORT: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread")]
async fn llm_04_a_client_that_leaves_ends_the_nodes_work() {
    let stage = Setup::default()
        .node(talker(Duration::from_millis(20)))
        .start()
        .await;
    let (client, node) = (stage.admin(), &stage.nodes[0]);
    let mut delays = Vec::new();
    for count in 1..=5 {
        let mut events = streamed(&client, "hello").await;
        for expected in ["start", "token", "token"] {
            assert_eq!(
                events
                    .next()
                    .await
                    .expect("an event")
                    .expect("one more")
                    .kind,
                expected
            );
        }
        drop(events);
        let left = Instant::now();
        let aborted = node
            .wait_aborted(count, PATIENCE)
            .await
            .expect("the node sees the abort");
        delays.push(aborted.saturating_duration_since(left));
    }
    // A busy machine may hold up one of them.
    delays.sort_unstable();
    assert!(delays[2] <= ABORT, "{delays:?}");

    // The same before the first token, when nothing flows yet.
    break_node(node, Fault::Hang);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.chat("hello").await }
    });
    eventually("the request at the node", async || {
        (node.in_flight() == 1).then_some(())
    })
    .await;
    waiting.abort();
    assert!(
        node.wait_aborted(6, PATIENCE).await.is_some(),
        "a waiting client has left"
    );
    stage.idle().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_04_twenty_clients_that_leave_at_random_moments_leak_no_slot() {
    let script = talker(Duration::from_millis(10)).first_token_after(Duration::from_millis(30));
    let stage = Setup::default()
        .node(script)
        .setting("OLLAMA_SLOTS", "2")
        .start()
        .await;
    let client = stage.admin();
    // Two have a slot, the others wait for one: both kinds leave.
    join_all((0..20).map(|i| {
        let client = &client;
        async move {
            let stays = Duration::from_millis(rand::rng().random_range(0..400));
            let chat = async { streamed(client, &format!("chat {i}")).await.rest().await };
            let ended = tokio::time::timeout(stays, chat).await;
            assert!(ended.is_err(), "{ended:?}");
        }
    }))
    .await;
    stage.idle().await;

    stage.nodes[0].set_script(tiny());
    join_all((0..4).map(|_| assert_chats(&client))).await;
    stage.idle().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_10_each_token_reaches_the_client_before_the_next_one_exists() {
    let stage = Stage::start().await;
    let (client, node) = (stage.admin(), &stage.nodes[0]);
    // This node says nothing more until the client is gone, so nothing can have been collected.
    for said in 1..=3 {
        break_node(node, Fault::StallAfterTokens(said));
        let mut events = streamed(&client, "hello").await;
        assert_eq!(
            events
                .next()
                .await
                .expect("an event")
                .expect("one more")
                .kind,
            "start"
        );
        for token in ["Hel", "lo", " there"].iter().take(said) {
            let event = events.next().await.expect("an event").expect("one more");
            assert_eq!(
                (event.kind.as_str(), event.json()),
                ("token", json!({"content": token}))
            );
        }
        drop(events);
        assert!(node.wait_aborted(said, PATIENCE).await.is_some());
    }

    // One event a token, to the last.
    node.set_script(talker(Duration::from_millis(2)));
    let rest = streamed(&client, "hello").await.rest().await;
    assert_eq!(
        rest.kinds().iter().filter(|kind| **kind == "token").count(),
        200
    );
    assert_eq!((rest.kinds().last(), rest.cut), (Some(&"done"), false));
    stage.stop().await;
}
