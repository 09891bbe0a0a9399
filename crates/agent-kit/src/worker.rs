//! Runs an agent: queues, claims, leases, heartbeats, results and the end.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use parking_lot::Mutex;
use sutazai_auth::identity::Identity;
use sutazai_mesh::{channel::Mesh, registry::InstanceId};
use sutazai_messaging::{Broker, BrokerError, Consumer, Outgoing, topology};
use sutazai_proto::events::EventType;
use sutazai_proto::tasks::v1::TaskProgress;
use sutazai_resilience::Backoff;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use self::{
    attempt::Stops, claim::Claim, coordinator::Coordinator, delivery::Deliveries, lease::Leases,
    pace::Load,
};
use crate::{Agent, Capability};

pub use self::introduction::Introduction;

mod attempt;
mod claim;
mod coordinator;
mod delivery;
mod heartbeat;
mod introduction;
mod lease;
mod pace;
mod results;

/// Leases that a worker keeps at most, results that were not acknowledged yet among them.
const ROOM: usize = 512;
/// Claims, results and progress reports, of each, that may wait to be sent.
const WAITING: usize = 128;
/// Waits while the broker is not there at start.
const START: Backoff = Backoff {
    min: Duration::from_millis(200),
    max: Duration::from_secs(5),
};
/// What a drain keeps out of its grace to hand back what still runs.
const HAND_BACK: Duration = Duration::from_secs(2);
/// What it keeps beyond that, so that it is done when the grace is over.
const MARGIN: Duration = Duration::from_secs(1);

/// What a worker is connected to.
#[derive(Clone)]
pub struct Links {
    /// Leads to the coordinator.
    pub mesh: Mesh,
    /// Who calls.
    pub identity: Identity,
    /// Brings tasks, takes results.
    pub broker: Arc<dyn Broker>,
    /// This process; holder of the leases.
    pub instance: InstanceId,
}

/// Does everything for an agent but its work.
pub struct Worker {
    agent: Arc<dyn Agent>,
    links: Links,
    grace: Duration,
}

/// What the parts of a running worker share.
struct Shared {
    agent: Arc<dyn Agent>,
    capabilities: Vec<Capability>,
    source: &'static str,
    worker: String,
    broker: Arc<dyn Broker>,
    coordinator: Coordinator,
    leases: Mutex<Leases<Held>>,
    /// One permit for each task that may run.
    slots: Arc<Semaphore>,
    /// One permit for each lease that may be held.
    room: Arc<Semaphore>,
    claims: mpsc::Sender<Claim>,
    progress: mpsc::Sender<TaskProgress>,
    results: mpsc::Sender<results::Waiting>,
    runs: TaskTracker,
    /// Slots or leases changed.
    changed: Notify,
    /// A heartbeat was answered.
    heard: Notify,
    /// No further task is begun.
    draining: CancellationToken,
    /// What still runs is handed back.
    drained: CancellationToken,
}

/// What the table of leases keeps for each.
struct Held {
    stops: Stops,
    _room: OwnedSemaphorePermit,
}

impl Worker {
    /// Connects an agent; when it is told to stop, it is done within `grace`.
    pub fn new(agent: Arc<dyn Agent>, links: Links, grace: Duration) -> Self {
        Self {
            agent,
            links,
            grace,
        }
    }

    /// Returns what has to be said to the coordinator before the agent is found by anybody.
    pub fn introduction(&self) -> Introduction {
        let Links {
            mesh,
            identity,
            instance,
            ..
        } = self.links.clone();
        let coordinator = Coordinator::new(mesh, identity, instance.to_string());
        Introduction::new(coordinator, self.agent.capabilities())
    }

    /// Works until `stop` fires, then drains.
    ///
    /// Draining means: no further task, a grace for those that run, what is left is handed back.
    pub async fn run(self, stop: CancellationToken) {
        let (claims, claim_queue) = mpsc::channel(WAITING);
        let (progress, progress_queue) = mpsc::channel(WAITING);
        let (results, result_queue) = mpsc::channel(WAITING);
        let shared = Arc::new(self.shared(claims, progress, results));
        let ended = CancellationToken::new();
        let helpers = TaskTracker::new();
        let help = |work: futures::future::BoxFuture<'static, ()>| {
            helpers.spawn(work.instrument(tracing::Span::current()));
        };
        help(Box::pin(heartbeat::beat(shared.clone(), ended.clone())));
        help(Box::pin(forward(
            progress_queue,
            shared.clone(),
            ended.clone(),
        )));
        let coordinator = shared.coordinator.clone();
        let claims_ended = ended.clone();
        help(Box::pin(async move {
            let serving = claim::serve(claim_queue, coordinator);
            let _ = claims_ended.run_until_cancelled(serving).await;
        }));
        let (sender, results_ended) = (shared.clone(), ended.clone());
        help(Box::pin(async move {
            let serving = results::serve(result_queue, sender);
            let _ = results_ended.run_until_cancelled(serving).await;
        }));
        let (sender, repeats_ended) = (shared.clone(), ended.clone());
        help(Box::pin(async move {
            let repeating = results::repeat(sender);
            let _ = repeats_ended.run_until_cancelled(repeating).await;
        }));

        let started = stop.run_until_cancelled(consume(&shared)).await;
        let consumers = started.unwrap_or_default();
        stop.cancelled().await;
        shared.drain(consumers, self.grace).await;
        ended.cancel();
        helpers.close();
        helpers.wait().await;
    }

    fn shared(
        &self,
        claims: mpsc::Sender<Claim>,
        progress: mpsc::Sender<TaskProgress>,
        results: mpsc::Sender<results::Waiting>,
    ) -> Shared {
        let Links {
            mesh,
            identity,
            broker,
            instance,
        } = self.links.clone();
        let worker = instance.to_string();
        Shared {
            agent: self.agent.clone(),
            capabilities: self.agent.capabilities(),
            source: self.agent.about().name.as_str(),
            coordinator: Coordinator::new(mesh, identity, worker.clone()),
            worker,
            broker,
            leases: Mutex::new(Leases::new()),
            slots: Arc::new(Semaphore::new(self.agent.slots().into())),
            room: Arc::new(Semaphore::new(ROOM)),
            claims,
            progress,
            results,
            runs: TaskTracker::new(),
            changed: Notify::new(),
            heard: Notify::new(),
            draining: CancellationToken::new(),
            drained: CancellationToken::new(),
        }
    }
}

impl Shared {
    /// What the next heartbeat would report.
    fn load(&self) -> Load {
        let free = if self.draining.is_cancelled() {
            0
        } else {
            self.slots
                .available_permits()
                .min(self.room.available_permits())
        };
        let leases = self.leases.lock();
        Load {
            free,
            held: leases.len(),
            stranded: leases.stranded(),
        }
    }

    /// Ends in three steps: nothing further, a grace for what runs, the rest handed back.
    async fn drain(&self, consumers: Vec<Consumer>, grace: Duration) {
        self.draining.cancel();
        self.changed.notify_one();
        let end = tokio::time::Instant::now() + grace.saturating_sub(HAND_BACK + MARGIN);
        let stopped = join_all(consumers.into_iter().map(Consumer::stop));
        if tokio::time::timeout_at(end, stopped).await.is_err() {
            tracing::warn!("consumers did not stop in time");
        }
        self.runs.close();
        if tokio::time::timeout_at(end, self.runs.wait()).await.is_ok() {
            return;
        }
        tracing::info!(
            tasks = self.runs.len(),
            "tasks still run, handing them back"
        );
        self.drained.cancel();
        if tokio::time::timeout(HAND_BACK, self.runs.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                tasks = self.runs.len(),
                "tasks were left behind, their leases will end"
            );
        }
    }
}

/// Declares the queues and consumes them, however long it takes until the broker is there.
async fn consume(shared: &Arc<Shared>) -> Vec<Consumer> {
    let mut tries = 0;
    loop {
        let error = match try_consume(shared).await {
            Ok(consumers) => return consumers,
            Err(error) => error,
        };
        tries += 1;
        tracing::warn!(%error, tries, "queues can not be consumed yet");
        let wait = START.delay(tries, &mut rand::rng());
        tokio::time::sleep(wait).await;
    }
}

async fn try_consume(shared: &Arc<Shared>) -> Result<Vec<Consumer>, BrokerError> {
    let mut wanted = topology::platform();
    let mut queues = Vec::new();
    for capability in &shared.capabilities {
        let (queue, binding) = topology::work_queue(capability.task_type);
        queues.push(queue.name.clone());
        wanted.queues.push(queue);
        wanted.bindings.push(binding);
    }
    shared.broker.declare(&wanted).await?;
    let handler = Arc::new(Deliveries(shared.clone()));
    let mut consumers = Vec::new();
    for queue in queues {
        let prefetch = shared.agent.slots().max(1);
        consumers.push(
            shared
                .broker
                .consume(&queue, prefetch, handler.clone())
                .await?,
        );
    }
    Ok(consumers)
}

/// Publishes progress reports; what the broker does not take is lost, as reports may be.
async fn forward(
    mut reports: mpsc::Receiver<TaskProgress>,
    shared: Arc<Shared>,
    ended: CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        batch.clear();
        match ended
            .run_until_cancelled(reports.recv_many(&mut batch, WAITING))
            .await
        {
            None | Some(0) => return,
            Some(_) => {}
        }
        let messages = batch.iter().map(|report| {
            Outgoing::event(shared.source, topology::EVENTS, TaskProgress::NAME, report)
                .with_task(&report.task_id, Some(report.attempt))
        });
        for outcome in shared.broker.publish_all(messages.collect()).await {
            if let Err(error) = outcome {
                tracing::debug!(%error, "progress report was lost");
            }
        }
    }
}
