//! A node fails, before its first token or after it.

use serde_json::json;
use sutazai_testkit::ollama::Fault;
use system_tests::{Answer, Client, Opened, Setup, Stage, eventually};

use super::{assert_chats, break_node, streamed};

/// Asks for a stream where something else has to come.
async fn refused(client: &Client, message: &str) -> Answer {
    match client
        .open(client.streamed_chat(message))
        .await
        .expect("an answer")
    {
        Opened::Whole(answer) => answer,
        Opened::Events(mut events) => panic!("a stream: {:?}", events.rest().await),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_02_a_failure_before_the_first_token_is_a_problem_document() {
    let stage = Setup::default()
        .setting("OLLAMA_FIRST_TOKEN_SECONDS", "1")
        .start()
        .await;
    let (client, node) = (stage.admin(), &stage.nodes[0]);
    for (fault, status, code) in [
        (Fault::Status(500), 502, "node_failed"),
        (Fault::Status(503), 502, "node_failed"),
        (Fault::CutAfterBytes(0), 502, "node_failed"),
        (Fault::GarbageAfterTokens(0), 502, "node_failed"),
        (Fault::ErrorAfterTokens(0), 502, "node_failed"),
        (Fault::Empty, 502, "empty_answer"),
        (Fault::Hang, 504, "first_token_timeout"),
        (Fault::HangAfterHead, 504, "first_token_timeout"),
    ] {
        break_node(node, fault);
        client.chat("hello").await.assert_problem(status, code);
        refused(&client, "hello").await.assert_problem(status, code);
        node.revive();
        assert_chats(&client).await;
    }

    node.kill();
    let gone = eventually("the node's absence", async || {
        let answer = client.chat("hello").await;
        assert_ne!(answer.status, 200, "{}", answer.text);
        (answer.json["code"] == "node_unreachable").then_some(answer)
    })
    .await;
    gone.assert_problem(503, "node_unreachable");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_02_a_node_that_keeps_failing_is_named_each_time() {
    let stage = Stage::start().await;
    let (client, node) = (stage.admin(), &stage.nodes[0]);
    break_node(node, Fault::Status(500));
    // Well beyond what opens a breaker: the node's is open then, and no other one.
    for _ in 0..12 {
        let answer = client.chat("hello").await;
        let code = answer.json["code"].as_str().unwrap_or_default();
        assert!(
            ["node_failed", "node_unreachable"].contains(&code),
            "{}",
            answer.text
        );
        assert!(
            answer.text.contains(&node.address().to_string()),
            "{}",
            answer.text
        );
    }
    let models = client.get("/api/v1/models").await;
    assert_eq!(
        models.status, 200,
        "the fleet itself is well: {}",
        models.text
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_02_a_failure_after_the_first_token_is_an_error_event_and_an_abnormal_end() {
    let stage = Setup::default()
        .setting("OLLAMA_SILENCE_SECONDS", "1")
        .start()
        .await;
    let (client, node) = (stage.admin(), &stage.nodes[0]);
    for (fault, tokens, whole, code) in [
        (Fault::StallAfterTokens(1), 1, 504, "silence_timeout"),
        (Fault::GarbageAfterTokens(2), 2, 502, "node_failed"),
        (Fault::ErrorAfterTokens(1), 1, 502, "node_failed"),
        (Fault::EndAfterTokens(2), 2, 502, "node_failed"),
    ] {
        break_node(node, fault.clone());
        let rest = streamed(&client, "hello").await.rest().await;
        let mut expected = vec!["start"];
        expected.extend(vec!["token"; tokens]);
        expected.push("error");
        assert_eq!(rest.kinds(), expected, "{fault:?}");
        assert!(
            rest.cut,
            "{fault:?}: the connection ended as if all were well"
        );
        let problem = rest.events.last().expect("the error").json();
        assert_eq!(
            (&problem["code"], &problem["status"]),
            (&json!(code), &json!(whole))
        );
        assert_eq!(problem["instance"], "/api/v1/chat");

        // Half an answer is no turn of the conversation.
        let start = rest.events[0].json();
        let id = start["conversation_id"].as_str().expect("an id");
        let kept = client
            .get(&format!("/api/v1/chat/conversations/{id}"))
            .await;
        kept.assert_problem(404, "conversation_not_found");

        // Who waits for the whole has not seen a word yet.
        client.chat("hello").await.assert_problem(whole, code);
        node.revive();
        assert_chats(&client).await;
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_02_no_cut_of_the_nodes_answer_looks_like_a_whole_one() {
    let stage = Stage::start().await;
    let (client, node) = (stage.admin(), &stage.nodes[0]);
    let (mut before, mut after, mut whole) = (0, 0, 0);
    for bytes in (0..4000).step_by(23) {
        break_node(node, Fault::CutAfterBytes(bytes));
        match client
            .open(client.streamed_chat("hello"))
            .await
            .expect("an answer")
        {
            Opened::Whole(answer) => {
                answer.assert_problem(502, "node_failed");
                before += 1;
            }
            Opened::Events(mut events) => {
                let rest = events.rest().await;
                if rest.kinds().last() == Some(&"done") {
                    assert_eq!((rest.text().as_str(), rest.cut), ("Hello there", false));
                    whole += 1;
                    // The cut lies beyond the answer; the rest would meet the next one.
                    break;
                }
                assert_eq!(
                    rest.kinds().last(),
                    Some(&"error"),
                    "cut after {bytes}: {rest:?}"
                );
                assert!(rest.cut, "cut after {bytes}: {rest:?}");
                assert!(
                    "Hello there".starts_with(&rest.text()),
                    "cut after {bytes}: {rest:?}"
                );
                after += 1;
            }
        }
        node.revive();
        assert_chats(&client).await;
    }
    assert!(
        before > 3 && after > 3 && whole == 1,
        "{before} {after} {whole}"
    );
    stage.stop().await;
}
