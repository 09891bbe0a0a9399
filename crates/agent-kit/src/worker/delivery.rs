//! A released task arrives: slot, claim, run, result.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use metrics::{counter, histogram};
use sutazai_auth::principal::Principal;
use sutazai_messaging::{Delivery, Handler, Outcome};
use sutazai_proto::tasks::v1::{EffectMode, TaskReleased, task_finished};
use sutazai_resilience::{Backoff, Deadline};
use sutazai_telemetry::names;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, info_span};

use super::{
    Held, Shared,
    attempt::{Stops, supervise},
    claim::{Claim, Claimed},
};
use crate::{Capability, Progress, TaskContext};

/// Longest wait of a delivery for a free slot: well below the 30 min after which brokers take a
/// delivery away.
const SLOT_WAIT: Duration = Duration::from_secs(600);
/// Waits before a delivery comes again.
const AGAIN: Backoff = Backoff {
    min: Duration::from_secs(1),
    max: Duration::from_secs(30),
};

/// Handles the deliveries of all the worker's queues.
pub(crate) struct Deliveries(pub(crate) Arc<Shared>);

#[async_trait]
impl Handler for Deliveries {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let released: TaskReleased = match delivery.decode() {
            Ok(released) => released,
            Err(error) => return Outcome::Reject(error.to_string()),
        };
        let span = info_span!(
            "task",
            task_id = released.task_id,
            task_type = released.r#type
        );
        let again = || Outcome::Retry(AGAIN.delay(delivery.delivery_count + 1, &mut rand::rng()));
        match take(&self.0, released).instrument(span).await {
            Ok(true) => Outcome::Done,
            Ok(false) => again(),
            Err(reason) => Outcome::Reject(reason.to_owned()),
        }
    }
}

/// Starts the task if it is ours; false when that could not be found out yet.
async fn take(shared: &Arc<Shared>, released: TaskReleased) -> Result<bool, &'static str> {
    let mut types = shared.capabilities.iter();
    let capability = types
        .find(|capability| capability.task_type == released.r#type)
        .copied()
        .ok_or("unknown_task_type")?;
    let principal = Principal::from_parts(
        &released.subject,
        &released.tenant_id,
        &released.roles,
        &released.scopes,
    )
    .ok_or("invalid_principal")?;
    let mode = match released.effect_mode() {
        EffectMode::Unspecified => capability.effect_mode,
        mode => mode,
    };
    let Some((slot, room)) = permits(shared).await else {
        return Ok(false);
    };
    shared.changed.notify_one();

    let stops = Stops {
        drained: shared.drained.clone(),
        ..Stops::default()
    };
    let (granted, grant) = oneshot::channel();
    let run = Run {
        task_id: released.task_id.clone(),
        task: context(released, principal, &capability, shared),
        mode,
        stops: stops.clone(),
        slot,
        grant,
    };
    // What may be started twice need not wait, unless this worker may be running it already.
    let early = mode == EffectMode::Idempotent && !shared.leases.lock().holds(&run.task_id);
    let task_id = run.task_id.clone();
    let progress = run.task.progress.clone();
    let waiting = if early {
        run.spawn(shared);
        None
    } else {
        Some(run)
    };

    let claimed = claim(shared, &task_id).await;
    let Claimed::Granted(attempt) = claimed else {
        stops.forget.cancel();
        tracing::debug!(outcome = ?claimed, "task is not ours");
        return Ok(matches!(claimed, Claimed::Refused(_)));
    };
    progress.assign(attempt);
    let held = Held { stops, _room: room };
    let earlier = shared.leases.lock().grant(&task_id, attempt, held);
    if let Some(earlier) = earlier {
        earlier.stops.forget.cancel();
    }
    // The receiver lives as long as the run, which waits for this.
    let _ = granted.send(attempt);
    if let Some(run) = waiting {
        run.spawn(shared);
    }
    shared.changed.notify_one();
    Ok(true)
}

/// Waits for a slot, and for room among the leases; `None` when the worker ends first.
async fn permits(shared: &Shared) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
    let both = async {
        let slot = shared.slots.clone().acquire_owned().await.ok()?;
        let room = shared.room.clone().acquire_owned().await.ok()?;
        Some((slot, room))
    };
    tokio::select! {
        biased;
        () = shared.draining.cancelled() => None,
        permits = timeout(SLOT_WAIT, both) => permits.ok().flatten(),
    }
}

async fn claim(shared: &Shared, task_id: &str) -> Claimed {
    let (answer, answered) = oneshot::channel();
    let claim = Claim {
        task_id: task_id.to_owned(),
        answer,
    };
    if shared.claims.send(claim).await.is_err() {
        return Claimed::Unanswered;
    }
    answered.await.unwrap_or(Claimed::Unanswered)
}

fn context(
    released: TaskReleased,
    principal: Principal,
    capability: &Capability,
    shared: &Shared,
) -> TaskContext {
    let timeout = released
        .attempt_timeout
        .and_then(|timeout| timeout.try_into().ok())
        .unwrap_or(capability.attempt_timeout);
    TaskContext {
        progress: Progress::new(&released.task_id, shared.progress.clone()),
        task_id: released.task_id,
        task_type: released.r#type,
        input: released.input.unwrap_or_default(),
        principal,
        deadline: Deadline::after(timeout),
        cancelled: CancellationToken::new(),
    }
}

/// One attempt, about to run.
struct Run {
    task_id: String,
    task: TaskContext,
    mode: EffectMode,
    stops: Stops,
    slot: OwnedSemaphorePermit,
    grant: oneshot::Receiver<u32>,
}

impl Run {
    fn spawn(self, shared: &Arc<Shared>) {
        let owner = shared.clone();
        let work = async move {
            let (task_type, start) = (self.task.task_type.clone(), Instant::now());
            let outcome = supervise(&*owner.agent, self.task, self.mode, &self.stops).await;
            drop(self.slot);
            owner.changed.notify_one();
            count(task_type, start.elapsed(), outcome.as_ref());
            // Nobody sends when the claim was refused.
            if let (Some(outcome), Ok(attempt)) = (outcome, self.grant.await) {
                owner.conclude(self.task_id, attempt, outcome).await;
            }
        };
        shared.runs.spawn(work.instrument(Span::current()));
    }
}

fn count(task_type: String, took: Duration, outcome: Option<&task_finished::Outcome>) {
    let outcome = match outcome {
        None => "lost".to_owned(),
        Some(task_finished::Outcome::Succeeded(_)) => "succeeded".to_owned(),
        Some(task_finished::Outcome::Cancelled(_)) => "cancelled".to_owned(),
        Some(task_finished::Outcome::Failed(failed)) => failed
            .error
            .as_ref()
            .map_or_else(String::new, |error| error.reason.clone()),
    };
    tracing::debug!(outcome, ?took, "attempt ended");
    histogram!(names::AGENT_ATTEMPT_DURATION_SECONDS, "task_type" => task_type.clone())
        .record(took);
    counter!(names::AGENT_ATTEMPTS_TOTAL, "task_type" => task_type, "outcome" => outcome)
        .increment(1);
}
