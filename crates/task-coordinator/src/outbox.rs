//! The relay: releases stored tasks to the broker, as many as workers have room for.

use std::{collections::HashSet, error::Error as StdError, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prost_types::Timestamp;
use sutazai_mesh::catalog::ServiceName;
use sutazai_messaging::{Broker, Outgoing, topology};
use sutazai_persistence::DatabaseError;
use sutazai_proto::tasks::v1::TaskReleased;
use sutazai_resilience::{backoff::Backoff, batch::Batches};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::grpc::convert;
use crate::store::{Picked, ReleaseRef, Store};
use crate::watch::Watchers;

/// The relay looks at least this often: the bell rings in time, but only in this process.
const LOOK: Duration = Duration::from_secs(2);
/// What is due but locked by somebody is looked for again after this time.
const PAUSE: Duration = Duration::from_millis(5);
/// What becomes due is looked for this often while there is always something else to release.
const BUSY: Duration = Duration::from_millis(100);
/// Batches that the broker took and that wait to be written down; more hold up the next one.
const TAKEN: usize = 4;
/// Waits while the broker or the database does not take what is asked. Nothing tells of its return: with the
/// longest wait, and what the connection takes, tasks must go out within ten seconds of it (R5).
const BACKOFF: Backoff = Backoff {
    min: Duration::from_secs(1),
    max: Duration::from_secs(4),
};

/// Wakes the relay; clones are the same bell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bell(Arc<Notify>);

impl Bell {
    /// Something may have become releasable.
    pub(crate) fn ring(&self) {
        self.0.notify_one();
    }
}

/// Releases tasks; clones are the same relay.
#[derive(Clone)]
pub(crate) struct Relay {
    store: Store,
    broker: Arc<dyn Broker>,
    watchers: Watchers,
    bell: Bell,
    /// Types whose queue was declared, as far as this process knows.
    declared: Arc<Mutex<HashSet<String>>>,
}

/// What became of a batch.
#[derive(Debug, Default)]
struct Sent {
    /// What the broker took over.
    confirmed: Vec<ReleaseRef>,
    /// Releases that are tried again later.
    failed: usize,
}

/// What one step did.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Releases that the broker confirmed.
    pub(crate) released: usize,
    /// Releases that are tried again later.
    pub(crate) failed: usize,
}

impl Relay {
    pub(crate) fn new(
        store: Store,
        broker: Arc<dyn Broker>,
        watchers: Watchers,
        bell: Bell,
    ) -> Self {
        Self {
            store,
            broker,
            watchers,
            bell,
            declared: Arc::default(),
        }
    }

    /// Relays until told to stop; what it published, it confirms.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        if !self.broker.durable() {
            self.release_again(stop).await;
        }
        self.go_on(stop).await;
    }

    /// Relays as [`Relay::run`] does, once nothing of an earlier process is left to repeat.
    pub(crate) async fn go_on(&self, stop: &CancellationToken) {
        let (taken, to_confirm) = mpsc::channel(TAKEN);
        tokio::join!(
            Box::pin(self.release(taken, stop)),
            Box::pin(self.confirm(to_confirm)),
        );
    }

    /// Releases what is due, and passes on what the broker took: the next batch is with the broker
    /// while this one is written down.
    async fn release(&self, taken: mpsc::Sender<Vec<ReleaseRef>>, stop: &CancellationToken) {
        let (mut attempt, mut looked) = (0, Instant::now());
        while !stop.is_cancelled() {
            match self.send().await {
                Ok(Sent { confirmed, failed }) if confirmed.is_empty() && failed == 0 => {
                    (attempt, looked) = (0, Instant::now());
                    let Some(due) = self.until_due().await else {
                        continue;
                    };
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = self.bell.0.notified() => {}
                        () = tokio::time::sleep(due) => {}
                    }
                }
                Ok(Sent { confirmed, failed }) => {
                    let released = confirmed.len();
                    // The other side ends after this one only.
                    let _ = taken.send(confirmed).await;
                    if looked.elapsed() >= BUSY {
                        looked = Instant::now();
                        self.until_due().await;
                    }
                    if failed == 0 {
                        attempt = 0;
                        continue;
                    }
                    attempt += 1;
                    tracing::warn!(released, failed, "broker did not take every release");
                    pause(stop, attempt).await;
                }
                Err(error) => {
                    attempt += 1;
                    rest(stop, attempt, &error).await;
                }
            }
        }
    }

    /// Writes down what the broker took over, all that waits in one transaction, until nothing more
    /// comes.
    async fn confirm(&self, taken: mpsc::Receiver<Vec<ReleaseRef>>) {
        let mut taken = Batches::unhurried(taken, TAKEN);
        while let Some(batches) = taken.next().await {
            if let Err(error) = self.confirmed(&batches.concat()).await {
                // Each becomes due again unless it is claimed.
                tracing::warn!(error = &error as &dyn StdError, "releases not written down");
            }
        }
    }

    /// Makes due what the broker of an earlier process held: it is forgotten there.
    async fn release_again(&self, stop: &CancellationToken) {
        let mut attempt = 0;
        while !stop.is_cancelled() {
            match self.store.release_all_again().await {
                Ok(tasks) => {
                    tracing::info!(tasks, "releases of an earlier process are due again");
                    return;
                }
                Err(error) => {
                    attempt += 1;
                    rest(stop, attempt, &error).await;
                }
            }
        }
    }

    /// Releases one batch and writes it down.
    #[cfg(test)]
    pub(crate) async fn step(&self) -> Result<Step, DatabaseError> {
        self.store.ready_releases().await?;
        let Sent { confirmed, failed } = self.send().await?;
        self.confirmed(&confirmed).await?;
        Ok(Step {
            released: confirmed.len(),
            failed,
        })
    }

    /// Publishes one batch of what is ready.
    ///
    /// Nothing is locked while the broker works, so that a claim or a wish to cancel never waits
    /// for it.
    async fn send(&self) -> Result<Sent, DatabaseError> {
        let picked = self.store.pick_releases().await?;
        if picked.is_empty() {
            return Ok(Sent::default());
        }
        let refs: Vec<ReleaseRef> = picked.iter().map(|picked| picked.release).collect();
        let Ok(results) = self.publish(picked).await else {
            // Perhaps taken over, perhaps not: each becomes due again unless it is claimed.
            return Ok(Sent {
                confirmed: Vec::new(),
                failed: refs.len(),
            });
        };
        let (confirmed, failed) = refs
            .into_iter()
            .zip(results)
            .partition::<Vec<_>, _>(|(_, ok)| *ok);
        let strip = |pairs: Vec<(ReleaseRef, bool)>| -> Vec<ReleaseRef> {
            pairs.into_iter().map(|(release, _)| release).collect()
        };
        let (confirmed, failed) = (strip(confirmed), strip(failed));
        if !failed.is_empty() {
            self.store.postpone_releases(&failed).await?;
        }
        Ok(Sent {
            confirmed,
            failed: failed.len(),
        })
    }

    async fn confirmed(&self, releases: &[ReleaseRef]) -> Result<(), DatabaseError> {
        if !releases.is_empty() {
            let changes = self.store.confirm_releases(releases).await?;
            self.watchers.changed(&changes);
        }
        Ok(())
    }

    /// A release that no queue took: the queue is declared again before the next try.
    pub(crate) async fn returned(
        &self,
        release: ReleaseRef,
        task_type: &str,
    ) -> Result<(), DatabaseError> {
        self.declared.lock().remove(task_type);
        self.store.postpone_releases(&[release]).await
    }

    /// Publishes releases; true for each that the broker confirmed.
    async fn publish(&self, picked: Vec<Picked>) -> Result<Vec<bool>, Unknown> {
        let mut refused = HashSet::new();
        let types: HashSet<String> = picked
            .iter()
            .map(|picked| picked.spec.task_type.to_string())
            .collect();
        for task_type in types {
            if let Err(error) = self.declare(&task_type).await {
                tracing::warn!(
                    error = &error as &dyn StdError,
                    task_type,
                    "work queue not declared"
                );
                refused.insert(task_type);
            }
        }
        let open: Vec<bool> = picked
            .iter()
            .map(|picked| !refused.contains(picked.spec.task_type.as_str()))
            .collect();
        let messages: Vec<Outgoing> = picked
            .into_iter()
            .zip(&open)
            .filter(|(_, open)| **open)
            .map(|(p, _)| message(p))
            .collect();
        let publish = self.broker.publish_all(messages);
        let results = timeout(self.store.rules().publish, publish)
            .await
            .map_err(|_| Unknown)?;
        let mut results = results.into_iter();
        let confirmed = open.into_iter().map(|open| {
            open && match results.next() {
                Some(Ok(())) => true,
                Some(Err(error)) => {
                    tracing::debug!(error = &error as &dyn StdError, "release not taken");
                    false
                }
                None => false,
            }
        });
        Ok(confirmed.collect())
    }

    async fn declare(&self, task_type: &str) -> Result<(), sutazai_messaging::BrokerError> {
        if self.declared.lock().contains(task_type) {
            return Ok(());
        }
        let mut wanted = topology::platform();
        let (queue, binding) = topology::work_queue(task_type);
        wanted.queues.push(queue);
        wanted.bindings.push(binding);
        self.broker.declare(&wanted).await?;
        self.declared.lock().insert(task_type.to_owned());
        Ok(())
    }

    /// Makes ready what is due; says how long nothing will be, or `None` when something was.
    async fn until_due(&self) -> Option<Duration> {
        match self.store.ready_releases().await {
            Ok((0, due)) => Some(due.unwrap_or(LOOK).clamp(PAUSE, LOOK)),
            Ok(_) => None,
            Err(_) => Some(LOOK),
        }
    }
}

/// The broker did not answer in time.
struct Unknown;

async fn rest(stop: &CancellationToken, attempt: u32, error: &DatabaseError) {
    tracing::warn!(error = error as &dyn StdError, "outbox not relayed");
    pause(stop, attempt).await;
}

async fn pause(stop: &CancellationToken, attempt: u32) {
    let wait = BACKOFF.delay(attempt, &mut rand::rng());
    stop.run_until_cancelled(tokio::time::sleep(wait)).await;
}

fn message(picked: Picked) -> Outgoing {
    let Picked {
        release,
        spec,
        input,
    } = picked;
    let task_id = release.task.to_string();
    let released = TaskReleased {
        task_id: task_id.clone(),
        r#type: spec.task_type.to_string(),
        input: Some(convert::payload(input)),
        effect_mode: convert::effect_mode(spec.effect_mode).into(),
        attempt_timeout: Some(convert::duration(spec.attempt_timeout)),
        tenant_id: spec.tenant,
        subject: spec.subject,
        roles: spec.roles,
        scopes: spec.scopes,
        released_at: Some(Timestamp::from(std::time::SystemTime::now())),
    };
    let source = ServiceName::TaskCoordinator.as_str();
    let mut message = Outgoing::event(source, topology::WORK, spec.task_type.as_str(), &released)
        .with_task(&task_id, None)
        .with_id(release.message.to_string());
    // The task's own trace, not that of the batch.
    message.headers.extend(spec.trace);
    message
}
