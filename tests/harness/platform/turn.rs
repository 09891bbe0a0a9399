//! One test of a process at a time has the machine, and one platform that those tests share.

use std::{ops::Deref, sync::OnceLock, thread};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{Mutex, MutexGuard},
};

use super::Platform;

/// The platform with the runtime that it lives on: each test has a runtime of its own, which ends
/// with it.
static SHARED: OnceLock<(Runtime, Platform)> = OnceLock::new();
static TURN: Mutex<()> = Mutex::const_new(());

/// The machine for one test alone; the others wait until this is dropped.
pub struct Alone {
    _turn: MutexGuard<'static, ()>,
}

/// The shared platform, for one test alone.
pub struct Turn {
    platform: &'static Platform,
    _alone: Alone,
}

impl Deref for Turn {
    type Target = Platform;

    fn deref(&self) -> &Platform {
        self.platform
    }
}

/// Waits until no other test has the machine.
pub async fn alone() -> Alone {
    Alone {
        _turn: TURN.lock().await,
    }
}

/// Returns the platform of this process with everything running; `start` is what first starts it.
pub async fn shared<F>(start: impl FnOnce() -> F + Send + 'static) -> Turn
where
    F: Future<Output = Platform>,
{
    let alone = alone().await;
    let platform = tokio::task::spawn_blocking(|| &SHARED.get_or_init(|| begin(start)).1);
    let platform = platform.await.expect("the platform");
    platform.whole().await;
    Turn {
        platform,
        _alone: alone,
    }
}

fn begin<F>(start: impl FnOnce() -> F + Send + 'static) -> (Runtime, Platform)
where
    F: Future<Output = Platform>,
{
    // A thread of its own: one that belongs to a runtime can not drive another.
    let started = thread::spawn(|| {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let platform = runtime.block_on(start());
        (runtime, platform)
    });
    started.join().expect("the platform")
}
