//! Messages to the coordinator: decode, one call, decide what becomes of the delivery.

use std::{collections::BTreeMap, error::Error as StdError, time::Duration};

use async_trait::async_trait;
use sutazai_messaging::{
    Delivery, Handler, Outcome,
    message::{HEADER_DEAD_QUEUE, HEADER_REASON},
    topology,
};
use sutazai_persistence::DatabaseError;
use sutazai_proto::events::{EventType, HEADER_TYPE};
use sutazai_proto::tasks::v1::{TaskFinished, TaskProgress, TaskReleased};
use sutazai_resilience::backoff::Backoff;

use crate::credit::{AttemptRef, Worker};
use crate::grpc::convert;
use crate::outbox::Relay;
use crate::store::{ReleaseRef, Stray};
use crate::tasks::Tasks;
use crate::watch::Progress;

/// Waits while the database can not take an effect.
const BACKOFF: Backoff = Backoff {
    min: Duration::from_secs(1),
    max: Duration::from_secs(30),
};

/// Takes results and progress.
pub(crate) struct Events(pub(crate) Tasks);

/// Takes what no queue took.
pub(crate) struct Unroutable {
    pub(crate) tasks: Tasks,
    pub(crate) relay: Relay,
}

/// Takes what nobody could handle.
pub(crate) struct DeadLetters(pub(crate) Tasks);

/// Why a message has no effect.
enum Refused {
    /// It may have one later.
    Later(DatabaseError),
    /// It can never have one.
    Never(String),
}

#[async_trait]
impl Handler for Events {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        match event(&self.0, &delivery).await {
            Ok(()) => Outcome::Done,
            Err(Refused::Later(error)) => later(&delivery, &error),
            Err(Refused::Never(why)) => Outcome::Reject(why),
        }
    }
}

#[async_trait]
impl Handler for Unroutable {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let handled = match event_name(&delivery) {
            TaskReleased::NAME => match release(&delivery) {
                Ok(found) => {
                    tracing::warn!(task.id = %found.task, "release came back: no queue took it");
                    let returned = self.relay.returned(found, &delivery.routing_key).await;
                    returned.map_err(Refused::Later)
                }
                Err(refused) => Err(refused),
            },
            _ => event(&self.tasks, &delivery).await,
        };
        settle(&self.tasks, &delivery, handled).await
    }
}

#[async_trait]
impl Handler for DeadLetters {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let handled = match event_name(&delivery) {
            TaskReleased::NAME => match release(&delivery) {
                Ok(found) => {
                    let why = reason(&delivery);
                    tracing::warn!(task.id = %found.task, why, "release came back: no worker took it");
                    self.0
                        .give_up_release(found, why)
                        .await
                        .map_err(Refused::Later)
                }
                Err(refused) => Err(refused),
            },
            // A result that came while the database was away.
            _ => event(&self.0, &delivery).await,
        };
        settle(&self.0, &delivery, handled).await
    }
}

/// Lets a result or progress have its effect.
async fn event(tasks: &Tasks, delivery: &Delivery) -> Result<(), Refused> {
    match event_name(delivery) {
        TaskFinished::NAME => {
            let finished: TaskFinished = delivery.decode().map_err(Refused::never)?;
            let ended = attempt(&finished.task_id, finished.attempt)?;
            let worker = Worker::parse(&finished.worker)
                .ok_or_else(|| Refused::Never("the worker has no usable id".to_owned()))?;
            let outcome = convert::outcome(finished.outcome)
                .ok_or_else(|| Refused::Never("the result has no outcome".to_owned()))?;
            let consumer = topology::COORDINATOR_EVENTS;
            tasks
                .finish(consumer, &delivery.id, ended, &worker, outcome)
                .await
                .map_err(Refused::Later)
        }
        TaskProgress::NAME => {
            let progress: TaskProgress = delivery.decode().map_err(Refused::never)?;
            let AttemptRef { task, attempt } = attempt(&progress.task_id, progress.attempt)?;
            let data = convert::payload_of(progress.data.unwrap_or_default());
            tasks.progress(task, Progress { attempt, data });
            Ok(())
        }
        other => Err(Refused::Never(format!("unknown event `{other}`"))),
    }
}

fn release(delivery: &Delivery) -> Result<ReleaseRef, Refused> {
    let released: TaskReleased = delivery.decode().map_err(Refused::never)?;
    let message = uuid::Uuid::parse_str(&delivery.id).map_err(Refused::never)?;
    Ok(ReleaseRef {
        task: attempt(&released.task_id, 0)?.task,
        message,
    })
}

fn attempt(task_id: &str, attempt: u32) -> Result<AttemptRef, Refused> {
    let task = task_id.parse().map_err(Refused::never)?;
    Ok(AttemptRef { task, attempt })
}

/// Ends a delivery from a queue that nothing leaves by itself: what is of no use is kept.
async fn settle(tasks: &Tasks, delivery: &Delivery, handled: Result<(), Refused>) -> Outcome {
    let refused = match handled {
        Ok(()) => return Outcome::Done,
        Err(Refused::Later(error)) => return later(delivery, &error),
        Err(Refused::Never(why)) => why,
    };
    // The database takes no text with a zero byte.
    let headers: BTreeMap<String, String> = delivery
        .headers
        .iter()
        .map(|(name, value)| (storable(name), storable(value)))
        .collect();
    let stray = Stray {
        message_id: storable(&delivery.id),
        queue: headers
            .get(HEADER_DEAD_QUEUE)
            .unwrap_or(&delivery.queue)
            .clone(),
        reason: storable(headers.get(HEADER_REASON).unwrap_or(&refused)),
        headers,
        body: delivery.body.to_vec(),
    };
    tracing::warn!(
        stray.message_id,
        stray.queue,
        stray.reason,
        "message that nobody can use kept"
    );
    match tasks.keep_stray(&stray).await {
        Ok(()) => Outcome::Done,
        Err(error) => later(delivery, &error),
    }
}

fn later(delivery: &Delivery, error: &DatabaseError) -> Outcome {
    tracing::warn!(
        error = error as &dyn StdError,
        delivery.id,
        "message waits for the database"
    );
    Outcome::Retry(BACKOFF.delay(delivery.delivery_count.saturating_add(1), &mut rand::rng()))
}

fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn event_name(delivery: &Delivery) -> &str {
    delivery.headers.get(HEADER_TYPE).map_or("", String::as_str)
}

fn reason(delivery: &Delivery) -> &str {
    delivery
        .headers
        .get(HEADER_REASON)
        .map_or("without a reason", String::as_str)
}

impl Refused {
    fn never(error: impl StdError) -> Self {
        Self::Never(sutazai_proto::status::chain(&error))
    }
}
