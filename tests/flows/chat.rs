//! A chat from the client's door to the model node and back.

mod conversation;
mod failure;
mod fleet;
mod leaving;
mod model;

use std::time::Duration;

use sutazai_testkit::ollama::{FakeNode, Fault, Script};
use system_tests::{Client, Events};

const CHAT: &str = "/api/chat";
/// Longest wait for something that is only then measured.
const PATIENCE: Duration = Duration::from_secs(20);
fn tiny() -> Script {
    Script::new(["tinyllama:latest"])
}

/// A node that talks for a long time: 200 tokens.
fn talker(between: Duration) -> Script {
    tiny()
        .tokens((0..200).map(|i| format!("{i} ")))
        .between_tokens(between)
}

fn break_node(node: &FakeNode, fault: Fault) {
    node.update(|script| script.fault = Some(fault));
}

async fn streamed(client: &Client, message: &str) -> Events {
    client.events(client.streamed_chat(message)).await
}

async fn assert_chats(client: &Client) {
    let answer = client.chat("hello").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["response"], "Hello there");
}
