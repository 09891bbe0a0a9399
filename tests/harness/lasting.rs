//! What tests of a process share, and what outlives each of them.

use std::{sync::OnceLock, thread};

use tokio::runtime::{Builder, Runtime};

/// Something with the runtime that it lives on: each test has a runtime of its own, which ends with it.
pub(crate) struct Lasting<T>(OnceLock<(Runtime, T)>);

impl<T: Send + Sync + 'static> Lasting<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Returns what is shared; who comes first starts it.
    pub(crate) async fn get<F>(
        &'static self,
        start: impl FnOnce() -> F + Send + 'static,
    ) -> &'static T
    where
        F: Future<Output = T>,
    {
        let get = || &self.0.get_or_init(|| begin(start)).1;
        tokio::task::spawn_blocking(get)
            .await
            .expect("what tests share")
    }
}

fn begin<T, F>(start: impl FnOnce() -> F + Send + 'static) -> (Runtime, T)
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    // A thread of its own: one that belongs to a runtime can not drive another.
    let started = thread::spawn(|| {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let started = runtime.block_on(start());
        (runtime, started)
    });
    started.join().expect("what tests share")
}
