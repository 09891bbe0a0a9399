//! One platform for all tests of a process that break nothing.

use std::{sync::OnceLock, thread};

use sutazai_servers::scratch;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::{Setup, Stage, stage};

/// The stage with the runtime that it lives on: each test has a runtime of its own, which ends
/// with it.
static SHARED: OnceLock<(Runtime, Stage)> = OnceLock::new();

impl Stage {
    /// Returns the stage of this process, with one node of the default script; it is started once
    /// and ends with the process.
    ///
    /// Others use it at the same time: be a newcomer of your own, and break nothing.
    pub async fn shared() -> &'static Self {
        let start = || &SHARED.get_or_init(start).1;
        tokio::task::spawn_blocking(start)
            .await
            .expect("the shared stage")
    }
}

fn start() -> (Runtime, Stage) {
    // A thread of its own: one that belongs to a runtime can not drive another.
    let started = thread::spawn(|| {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let stage = runtime.block_on(Setup::default().start_in(folder()));
        (runtime, stage)
    });
    started.join().expect("the shared stage")
}

/// A folder that the next run removes, because nothing of this one lives to do it.
fn folder() -> TempDir {
    let parent = scratch::folder().expect("a temporary folder");
    stage::open_to_servers(TempDir::new_in(parent).expect("a temporary folder"))
}
