//! Credit out, leases renewed, verdicts in: one loop for the whole worker.

use std::sync::Arc;

use sutazai_proto::tasks::v1::{LeaseStatus, WorkerCredit};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Shared, lease::Reaction, pace::Pace};
use crate::Capability;

/// Beats until `stop` fires.
pub(crate) async fn beat(shared: Arc<Shared>, stop: CancellationToken) {
    let slots = usize::from(shared.agent.slots());
    let mut pace = Pace::new(slots, super::ROOM / 2);
    let mut answered = true;
    loop {
        let due = pace.due(shared.load());
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep_until(due.unwrap_or_else(Instant::now)) => {}
            // Something changed: the next one may be due earlier.
            () = shared.changed.notified() => continue,
        }
        let load = shared.load();
        match exchange(&shared, load.free).await {
            Ok(()) => pace.answered(Instant::now(), load),
            Err(error) => {
                // The first of a row of failures tells it all.
                if answered {
                    tracing::warn!(%error, reason = error.reason, "heartbeat was not answered");
                }
                pace.failed(Instant::now());
                answered = false;
                continue;
            }
        }
        if !answered {
            tracing::info!("heartbeat is answered again");
            answered = true;
        }
        // Not here: a broker that keeps silent must not cost the leases.
        shared.heard.notify_one();
    }
}

/// Sends one heartbeat and does what the answer asks for.
async fn exchange(shared: &Shared, free: usize) -> Result<(), crate::Failure> {
    let free_slots = u32::try_from(free).unwrap_or(u32::MAX);
    let credits = credits(&shared.capabilities, free_slots);
    let leases = shared.leases.lock().renewals();
    let response = shared.coordinator.heartbeat(credits, leases).await?;
    for status in &response.leases {
        obey(shared, status);
    }
    Ok(())
}

/// Offers the same slots to every type: whichever task comes first takes one.
pub(super) fn credits(capabilities: &[Capability], free_slots: u32) -> Vec<WorkerCredit> {
    let credit = |capability: &Capability| WorkerCredit {
        task_type: Some(capability.task_type()),
        free_slots,
    };
    capabilities.iter().map(credit).collect()
}

fn obey(shared: &Shared, status: &LeaseStatus) {
    let task_id = status.task_id.as_str();
    match shared.leases.lock().apply(status) {
        Reaction::Keep => {}
        Reaction::Cancel(held) => {
            tracing::info!(task_id, attempt = status.attempt, "task is to be cancelled");
            held.stops.cancel.cancel();
        }
        Reaction::Forget(held) => {
            let verdict = status.verdict().as_str_name();
            tracing::debug!(task_id, attempt = status.attempt, verdict, "lease is over");
            held.stops.forget.cancel();
        }
    }
}
