//! How a process goes down: step by step, each within its time.

use std::time::Duration;

use sutazai_proto::status::chain;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::running::Running;
use crate::admin::Phase;

/// Longest time to leave the registry, and never more than a fifth of the grace: the rest is for open work.
/// After that the registry's own rules remove the entry.
const LEAVE: Duration = Duration::from_secs(5);
/// Time for connections to go away once they are dropped; they have nothing left to wait for.
const DROPPED: Duration = Duration::from_secs(1);

impl Running {
    /// Brings the process down: not ready, out of the registry, no further work, open work ends
    /// within the grace, the rest is cut off, and what then still hangs is dropped.
    ///
    /// The grace counts from the signal, whatever leaving takes: 20 s of it make 25 s in all.
    pub(super) async fn down(&mut self) {
        let begun = Instant::now();
        info!("service stops taking work");
        self.standing.enter(Phase::Draining);
        self.health.follow(&self.standing).await;
        self.leave().await;

        self.ends.refuse.cancel();
        self.stop.cancel();
        let grace = self.base.drain_grace;
        let left = grace.saturating_sub(begun.elapsed());
        if timeout(left, self.drained()).await.is_err() {
            warn!(?grace, "open work is cut off");
            self.ends.cut.cancel();
            // A quarter of the grace is left, the drop included. Streams now send their last frame. Tasks that
            // have a grace of their own count it from when they heard of the stop.
            let end = grace / 4;
            let until_drop = end.saturating_sub(DROPPED.min(end / 5));
            let _ = timeout(until_drop, self.drained()).await;
        }
        self.ends.drop.cancel();
        if timeout(DROPPED, finish(&mut self.servers)).await.is_err() {
            warn!("connections hang");
        }
        info!("service stopped");
    }

    /// Waits for the end of all connections and tasks.
    async fn drained(&mut self) {
        finish(&mut self.servers).await;
        finish(&mut self.tasks).await;
    }

    async fn leave(&mut self) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        match timeout(LEAVE.min(self.base.drain_grace / 5), lease.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = chain(&error), "not deregistered"),
            Err(_) => warn!("not deregistered in time"),
        }
        let pause = self.base.deregister_pause;
        sleep(pause.unwrap_or_else(|| self.registry.notice())).await;
    }
}

async fn finish<T: 'static>(tasks: &mut JoinSet<T>) {
    while tasks.join_next().await.is_some() {}
}
