//! Several chats, several nodes.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use sutazai_testkit::ollama::Fault;
use system_tests::{Opened, Rest, Setup, Stage, eventually};

use super::{CHAT, PATIENCE, assert_chats, tiny};

#[tokio::test(flavor = "multi_thread")]
async fn llm_03_an_empty_answer_is_retried_once_on_another_node_then_reported() {
    let empty = || tiny().fault(Fault::Empty);
    // The model is in memory there, so the first request goes there.
    let first = empty().loaded(["tinyllama:latest"]);
    let stage = Setup::default().node(first).node(tiny()).start().await;
    assert_chats(&stage.admin()).await;
    let asked = |stage: &Stage| -> Vec<usize> {
        stage
            .nodes
            .iter()
            .map(|node| node.requests_to(CHAT).len())
            .collect()
    };
    assert_eq!(asked(&stage), [1, 1]);
    stage.stop().await;

    let stage = Setup::default()
        .node(empty())
        .node(empty())
        .node(empty())
        .start()
        .await;
    stage
        .admin()
        .chat("hello")
        .await
        .assert_problem(502, "empty_answer");
    assert_eq!(
        asked(&stage).iter().sum::<usize>(),
        2,
        "once, and once again"
    );
    assert_eq!(asked(&stage).iter().max(), Some(&1), "on another node");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_05_five_chats_at_once_succeed() {
    let slow = tiny().first_token_after(Duration::from_millis(300));
    let stage = Setup::default()
        .node(slow)
        .setting("OLLAMA_SLOTS", "5")
        .start()
        .await;
    let client = stage.admin();
    let answers = join_all((0..5).map(|i| {
        let client = &client;
        async move { client.chat(&format!("chat {i}")).await }
    }))
    .await;
    let mut conversations = BTreeSet::new();
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json["response"], "Hello there");
        conversations.insert(answer.json["conversation_id"].as_str().expect("an id"));
    }
    assert_eq!(conversations.len(), 5);
    assert!(stage.nodes[0].peak() > 1, "one after the other");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_14_a_node_killed_under_load_loses_no_chat_that_had_not_begun() {
    const CHATS: usize = 60;
    let node = || {
        tiny()
            .first_token_after(Duration::from_millis(150))
            .between_tokens(Duration::from_millis(30))
    };
    let stage = Setup::default()
        .node(node())
        .node(node())
        .node(node())
        .start()
        .await;
    let client = stage.admin();
    let chats = join_all((0..CHATS).map(|i| {
        let client = &client;
        async move {
            match client
                .open(client.streamed_chat(&format!("chat {i}")))
                .await
            {
                Ok(Opened::Events(mut events)) => events.rest().await,
                Ok(Opened::Whole(answer)) => panic!("chat {i}: {}", answer.text),
                Err(error) => panic!("chat {i}: {error}"),
            }
        }
    }));
    let victim = &stage.nodes[0];
    let kill = async {
        eventually("work on the node", async || {
            (victim.requests_to(CHAT).len() >= 6 && victim.in_flight() > 0).then_some(())
        })
        .await;
        victim.kill();
    };
    let (chats, ()) = tokio::join!(chats, kill);
    let (whole, broken): (Vec<Rest>, Vec<Rest>) = chats.into_iter().partition(|rest| !rest.cut);
    for rest in &whole {
        assert_eq!(
            (rest.text().as_str(), rest.kinds().last()),
            ("Hello there", Some(&"done"))
        );
    }
    for rest in &broken {
        assert_eq!(
            rest.kinds()[..2],
            ["start", "token"],
            "it had begun: {rest:?}"
        );
        assert_eq!(rest.kinds().last(), Some(&"error"), "{rest:?}");
    }
    assert!(
        broken.len() <= 4,
        "more than the victim had slots: {}",
        broken.len()
    );
    let retried: usize = stage
        .nodes
        .iter()
        .map(|node| node.requests_to(CHAT).len())
        .sum();
    assert!(retried + 1 >= CHATS, "{retried}");
    stage.idle().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn olp_02_a_full_queue_refuses_and_a_long_wait_ends_both_with_a_time_to_retry() {
    let stage = Setup::default()
        .node(tiny().fault(Fault::Hang))
        .setting("OLLAMA_SLOTS", "1")
        .setting("QUEUE_LIMIT", "1")
        .setting("QUEUE_WAIT_SECONDS", "2")
        .start()
        .await;
    let client = stage.admin();
    let ask = |message: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.chat(message).await })
    };
    let running = ask("running");
    eventually("a busy node", async || {
        (stage.nodes[0].in_flight() == 1).then_some(())
    })
    .await;
    let waiting = ask("waiting");
    eventually("a full queue", async || {
        (stage.fleet().await.queued == 1).then_some(())
    })
    .await;

    let full = client.chat("one too many").await;
    full.assert_problem(429, "queue_full");
    assert!(
        full.retry_after().is_some_and(|seconds| seconds > 0),
        "{:?}",
        full.headers
    );
    let late = waiting.await.expect("an answer");
    late.assert_problem(503, "queue_timeout");
    assert!(
        late.retry_after().is_some_and(|seconds| seconds > 0),
        "{:?}",
        late.headers
    );
    running.abort();
    assert!(stage.nodes[0].wait_aborted(1, PATIENCE).await.is_some());
    stage.stop().await;
}
