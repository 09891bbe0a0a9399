//! One platform of two instances of each service for all tests of this process.

use std::time::Duration;

use sutazai_testkit::ollama::{FakeNode, Script};
use system_tests::platform;

pub(crate) use system_tests::platform::{Platform, Turn, within};

/// Instances of each service.
pub(crate) const REPLICAS: usize = 2;

/// Returns the shared platform, started at first use, for one test alone: it may break something.
pub(crate) async fn shared() -> Turn {
    platform::shared(start).await
}

async fn start() -> Platform {
    let node = FakeNode::start(
        Script::new(["tinyllama:latest"])
            .tokens(["one ", "two ", "three"])
            .between_tokens(Duration::from_millis(30)),
    );
    Platform::start("infra", REPLICAS, vec![node.await], &[]).await
}
