//! How a process goes down: step by step, each within its time.

use std::time::Duration;

use sutazai_proto::status::chain;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::running::Running;
use crate::admin::Phase;

/// Longest time to leave the registry; after that its own rules remove the entry.
const LEAVE: Duration = Duration::from_secs(5);
/// Time for connections to go away once they are dropped; they have nothing left to wait for.
const DROPPED: Duration = Duration::from_secs(1);

impl Running {
    /// Brings the process down: not ready, out of the registry, no further work, open work ends
    /// within the grace, the rest is cut off, and what then still hangs is dropped.
    pub(super) async fn down(&mut self) {
        info!("service stops taking work");
        self.standing.enter(Phase::Draining);
        self.health.follow(&self.standing).await;
        self.leave().await;

        self.ends.refuse.cancel();
        self.stop.cancel();
        let grace = self.base.drain_grace;
        let drained = async {
            while self.servers.join_next().await.is_some() {}
            while self.tasks.join_next().await.is_some() {}
        };
        if timeout(grace, drained).await.is_err() {
            warn!(?grace, "open work is cut off");
            self.ends.cut.cancel();
            // Streams now send their last frame; 20 s of grace make 25 s in all.
            let _ = timeout(grace / 4, finish(&mut self.servers)).await;
        }
        self.ends.drop.cancel();
        if timeout(DROPPED, finish(&mut self.servers)).await.is_err() {
            warn!("connections hang");
        }
        info!("service stopped");
    }

    async fn leave(&mut self) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        match timeout(LEAVE.min(self.base.drain_grace), lease.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = chain(&error), "not deregistered"),
            Err(_) => warn!("not deregistered in time"),
        }
        let pause = self.base.deregister_pause;
        sleep(pause.unwrap_or_else(|| self.registry.notice())).await;
    }
}

async fn finish(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}
