//! A server that is gone for as long as the bar says.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use sutazai_cli::site::description::{Process, State};
use system_tests::{
    Still,
    platform::{Platform, within},
};

/// A killed server that nobody starts again.
pub(crate) struct Outage<'a> {
    platform: &'a Platform,
    name: &'static str,
    old: Process,
    begun: Instant,
    unattended: Still,
}

impl<'a> Outage<'a> {
    /// Kills the server of a name.
    pub(crate) fn begin(platform: &'a Platform, name: &'static str) -> Self {
        let unattended = platform.unattended();
        Self {
            platform,
            name,
            old: platform.signal(name, Signal::KILL),
            begun: Instant::now(),
            unattended,
        }
    }

    /// Returns how long it has been gone.
    pub(crate) fn lasts(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Lets it be started, and returns how long it was gone once `answers` says that it is back.
    pub(crate) async fn end(self, mut answers: impl AsyncFnMut() -> bool) -> Duration {
        drop(self.unattended);
        within(&format!("{} answers", self.name), async || {
            answers().await.then_some(())
        })
        .await;
        let gone = self.begun.elapsed();
        // Whoever takes it away again needs its new process.
        within(&format!("another process of {}", self.name), async || {
            let now = *self.platform.description().processes.get(self.name)?;
            (now.state == State::Running && now.pid != self.old.pid).then_some(())
        })
        .await;
        gone
    }
}
