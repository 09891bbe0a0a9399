//! One platform of two instances of each service for the bars that leave one behind.

use std::time::Duration;

use sutazai_testkit::ollama::{FakeNode, Script};
use system_tests::platform::{self, Platform, Turn};

/// Instances of each service.
pub(crate) const REPLICAS: usize = 2;
/// What the model says; a success that says something else is none.
pub(crate) const ANSWER: [&str; 3] = ["one ", "two ", "three"];
/// One principal sends all the load.
pub(crate) const UNLIMITED: [(&str, &str); 3] = [
    ("RATE_LIMIT_CHAT_PER_MINUTE", "1000000"),
    ("RATE_LIMIT_READ_PER_MINUTE", "1000000"),
    ("RATE_LIMIT_WRITE_PER_MINUTE", "1000000"),
];

/// Returns the platform, whole, for one bar alone.
pub(crate) async fn shared() -> Turn {
    platform::shared(start).await
}

async fn start() -> Platform {
    let nodes = vec![
        FakeNode::start(script()).await,
        FakeNode::start(script()).await,
    ];
    Platform::start("bars", REPLICAS, nodes, &UNLIMITED).await
}

/// How a node talks.
pub(crate) fn script() -> Script {
    Script::new(["tinyllama:latest"])
        .tokens(ANSWER)
        .between_tokens(Duration::from_millis(10))
}
