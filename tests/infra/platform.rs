//! One platform of two instances of each service for all tests of this process.

use std::{sync::OnceLock, thread, time::Duration};

use sutazai_testkit::ollama::{FakeNode, Script};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Mutex, MutexGuard},
};

pub(crate) use system_tests::platform::{Platform, within};

/// Instances of each service.
pub(crate) const REPLICAS: usize = 2;

static SHARED: OnceLock<(Runtime, Platform)> = OnceLock::new();
/// One test at a time breaks something; the others wait until all runs again.
static TURN: Mutex<()> = Mutex::const_new(());

/// The shared platform, for this test alone, with everything running.
pub(crate) struct Turn {
    platform: &'static Platform,
    _turn: MutexGuard<'static, ()>,
}

impl std::ops::Deref for Turn {
    type Target = Platform;

    fn deref(&self) -> &Platform {
        self.platform
    }
}

/// Returns the shared platform, started at first use.
pub(crate) async fn shared() -> Turn {
    let turn = TURN.lock().await;
    let start = || &SHARED.get_or_init(start).1;
    let platform = tokio::task::spawn_blocking(start)
        .await
        .expect("the platform");
    platform.whole().await;
    Turn {
        platform,
        _turn: turn,
    }
}

fn start() -> (Runtime, Platform) {
    // A thread of its own: one that belongs to a runtime can not drive another.
    let started = thread::spawn(|| {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let platform = runtime.block_on(platform());
        (runtime, platform)
    });
    started.join().expect("the platform")
}

async fn platform() -> Platform {
    let node = FakeNode::start(
        Script::new(["tinyllama:latest"])
            .tokens(["one ", "two ", "three"])
            .between_tokens(Duration::from_millis(30)),
    );
    Platform::start("infra", REPLICAS, vec![node.await], &[]).await
}
