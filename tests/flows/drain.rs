//! The end of the platform in the middle of its work.

use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use sutazai_mesh::catalog::ServiceName;
use sutazai_testkit::ollama::{Fault, Script};
use system_tests::{Answer, Client, Opened, Rest, Setup, Stage, assert_history, ends, eventually};
use tokio::{task::JoinHandle, time::timeout};

const TYPE: &str = "llm.generate";
const CHAT: &str = "/api/chat";
/// Within this the platform has to be gone, whatever it does.
const GRACE: Duration = Duration::from_secs(25);
const TOKENS: usize = 20;

/// How a chat ended that the platform had taken.
enum End {
    Streamed(Rest),
    Whole(Answer),
}

impl End {
    /// Tells whether the chat was answered; fails when it is neither answered nor cleanly failed.
    fn is_answered(&self) -> bool {
        match self {
            Self::Whole(answer) if answer.status == 200 => {
                assert_eq!(answer.json["response"], text(), "{}", answer.text);
                true
            }
            Self::Whole(answer) => {
                assert!(answer.status.is_server_error(), "{}", answer.text);
                assert!(
                    answer.json["code"].is_string(),
                    "no problem document: {}",
                    answer.text
                );
                false
            }
            Self::Streamed(rest) if rest.kinds().last() == Some(&"done") => {
                assert_eq!((rest.text(), rest.cut), (text(), false));
                true
            }
            Self::Streamed(rest) => {
                assert_eq!(
                    (rest.kinds().last(), rest.cut),
                    (Some(&"error"), true),
                    "{rest:?}"
                );
                let error = rest.events.last().expect("the error").json();
                assert!(error["code"].is_string(), "{error}");
                false
            }
        }
    }
}

fn tokens() -> Vec<String> {
    (0..TOKENS).map(|i| format!("{i} ")).collect()
}

fn text() -> String {
    tokens().concat()
}

fn talker() -> Script {
    Script::new(["tinyllama:latest"])
        .tokens(tokens())
        .first_token_after(Duration::from_millis(50))
        .between_tokens(Duration::from_millis(40))
}

/// Begins a chat, every second one as a stream.
fn chat(client: &Client, number: usize) -> JoinHandle<End> {
    let client = client.clone();
    tokio::spawn(async move {
        let message = format!("chat {number}");
        if number.is_multiple_of(2) {
            return End::Whole(client.chat(&message).await);
        }
        match client
            .open(client.streamed_chat(&message))
            .await
            .expect("an answer")
        {
            Opened::Events(mut events) => End::Streamed(events.rest().await),
            Opened::Whole(answer) => End::Whole(answer),
        }
    })
}

async fn outcomes(chats: Vec<JoinHandle<End>>) -> Vec<End> {
    join_all(chats)
        .await
        .into_iter()
        .map(|end| end.expect("the chat"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn cfg_14_a_stop_under_load_loses_no_chat_that_had_begun_and_no_task() {
    const CHATS: usize = 24;
    let stage = Setup::default()
        .node(talker())
        .node(talker())
        .setting("OLLAMA_SLOTS", "12")
        .start()
        .await;
    let client = stage.admin();
    let chats: Vec<_> = (0..CHATS).map(|number| chat(&client, number)).collect();
    eventually("every chat at a node", async || {
        let seen: usize = stage
            .nodes
            .iter()
            .map(|node| node.requests_to(CHAT).len())
            .sum();
        (seen >= CHATS).then_some(())
    })
    .await;
    let submissions = (0..30).map(|i| client.submit(TYPE, json!({"prompt": format!("task {i}")})));
    let tasks = join_all(submissions).await;

    let stage = timeout(GRACE + GRACE, stage.restart())
        .await
        .expect("the stop and the start");
    // The answers need a second, the drain allows several: each chat is answered.
    for (number, end) in outcomes(chats).await.iter().enumerate() {
        assert!(end.is_answered(), "chat {number} could have been answered");
    }
    let client = stage.admin();
    for id in &tasks {
        let task = client.finished(id).await;
        assert_eq!(
            (&task["state"], &task["result"]["text"]),
            (&json!("succeeded"), &json!(text())),
            "{task}"
        );
        assert_history(&client.history(id).await);
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cfg_14_what_can_not_end_in_time_ends_with_a_clean_error() {
    let stage = Setup::default()
        .node(talker().fault(Fault::StallAfterTokens(2)))
        .setting("OLLAMA_SLOTS", "12")
        .start()
        .await;
    let client = stage.admin();
    let chats: Vec<_> = (0..6).map(|number| chat(&client, number)).collect();
    let task = client.submit(TYPE, json!({"prompt": "task"})).await;
    eventually("everything at the node", async || {
        (stage.nodes[0].in_flight() == 7).then_some(())
    })
    .await;
    let path = format!("/api/v1/tasks/{task}/events");
    let mut follower = client.events(client.request(Method::GET, &path)).await;
    let mut seen = Vec::new();
    for kind in ["created", "released", "started"] {
        let event = follower.next().await.expect("an event").expect("one more");
        assert_eq!(event.kind, kind);
        seen.extend(Some(event).filter(|event| event.id.is_some()));
    }

    let down = timeout(GRACE, stage.down())
        .await
        .expect("the platform is gone in time");
    for end in outcomes(chats).await {
        assert!(!end.is_answered(), "the node never said the rest");
    }
    assert!(
        down.nodes[0].wait_aborted(7, GRACE).await.is_some(),
        "the node works for nobody"
    );
    // A follower is not held up: it goes on where it stopped.
    let rest = follower.rest().await;
    assert_eq!(ends(&rest.events), 0, "the task has not ended: {rest:?}");
    seen.extend(rest.events.into_iter().filter(|event| event.id.is_some()));

    down.nodes[0].revive();
    let stage = down.up().await;
    let client = stage.admin();
    let end = client.finished(&task).await;
    assert_eq!(
        (&end["state"], &end["result"]["text"]),
        (&json!("succeeded"), &json!(text()))
    );
    let history = client.history(&task).await;
    assert_history(&history);
    let request = client
        .request(Method::GET, &path)
        .header("last-event-id", seen.len());
    seen.extend(client.events(request).await.rest().await.events);
    assert_eq!(seen, history);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cfg_14_the_platform_stops_in_time_whichever_service_ended_first() {
    for first in [
        ServiceName::Backend,
        ServiceName::TaskCoordinator,
        ServiceName::AgentOrchestrator,
        ServiceName::OllamaProxy,
        ServiceName::AutomationAgent,
    ] {
        let stage = Stage::start().await;
        let both = async {
            stage.platform.stop_service(first).await;
            stage.stop().await;
        };
        assert!(
            timeout(GRACE, both).await.is_ok(),
            "{first} first: the platform hangs"
        );
    }
}
