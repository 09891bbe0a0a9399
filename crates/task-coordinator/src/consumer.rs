//! Messages to the coordinator: decode, one call, decide what becomes of the delivery.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use async_trait::async_trait;
use metrics::counter;
use sutazai_mesh::catalog::ServiceName;
use sutazai_messaging::{
    Delivery, Handler, Outcome,
    message::{HEADER_DEAD_QUEUE, HEADER_REASON},
    topology,
};
use sutazai_proto::events::{EventType, HEADER_SOURCE, HEADER_TYPE};
use sutazai_proto::platform::v1::Echo;
use sutazai_proto::tasks::v1::{TaskFinished, TaskProgress, TaskReleased};
use sutazai_resilience::backoff::Backoff;
use sutazai_telemetry::names;

use crate::credit::{AttemptRef, Worker};
use crate::dead_letter::DeadLetters;
use crate::grpc::convert;
use crate::intake::Intake;
use crate::outbox::Relay;
use crate::results::Results;
use crate::store::{ReleaseRef, Report};
use crate::tasks::Tasks;
use crate::watch::Progress;

/// Waits while the database can not take an effect.
const BACKOFF: Backoff = Backoff {
    min: Duration::from_secs(1),
    max: Duration::from_secs(30),
};

/// Takes results, progress and echoes.
#[derive(Clone)]
pub(crate) struct Events {
    pub(crate) tasks: Tasks,
    pub(crate) results: Results,
}

/// Takes what no queue took.
pub(crate) struct Unroutable {
    pub(crate) intake: Arc<Intake>,
    pub(crate) events: Events,
    pub(crate) relay: Relay,
    pub(crate) letters: DeadLetters,
}

/// Takes what nobody could handle.
pub(crate) struct Rejected {
    pub(crate) events: Events,
    pub(crate) letters: DeadLetters,
}

/// Why a message has no effect.
enum Refused {
    /// It may have one later.
    Later(Box<dyn StdError + Send + Sync>),
    /// It can never have one.
    Never(String),
}

#[async_trait]
impl Handler for Events {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        match self.event(&delivery).await {
            Ok(()) => Outcome::Done,
            Err(Refused::Later(error)) => later(&delivery, &*error),
            Err(Refused::Never(why)) => Outcome::Reject(why),
        }
    }
}

#[async_trait]
impl Handler for Unroutable {
    async fn handle(&self, mut delivery: Delivery) -> Outcome {
        // It did not die: only its sender can have written these.
        for mark in [HEADER_REASON, HEADER_DEAD_QUEUE] {
            delivery.headers.remove(mark);
        }
        // The exchange decides what a message may be: whoever may publish to one of ours is no stranger,
        // and a stranger writes any name into a message. What is kept can be sent again to the queue that
        // it missed.
        let handled = match delivery.exchange.as_str() {
            topology::WORK => match release(&delivery) {
                Ok(found) => {
                    tracing::warn!(task.id = %found.task, "release came back: no queue took it");
                    let returned = self.relay.returned(found, &delivery.routing_key).await;
                    returned.map_err(Refused::later)
                }
                Err(refused) => Err(refused),
            },
            topology::EVENTS => {
                topology::COORDINATOR_EVENTS.clone_into(&mut delivery.queue);
                self.events.event(&delivery).await
            }
            // It came before the intake had its queue.
            topology::TASKS => {
                topology::INTAKE.clone_into(&mut delivery.queue);
                match self.intake.handle(delivery.clone()).await {
                    Outcome::Reject(why) => Err(Refused::Never(why)),
                    taken => return taken,
                }
            }
            other => Err(Refused::Never(format!(
                "nothing of exchange `{other}` comes here"
            ))),
        };
        settle(&self.letters, &delivery, handled).await
    }
}

#[async_trait]
impl Handler for Rejected {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        // The queue decides what a message may be: producers outside the platform have one, too.
        let died_in = delivery.headers.get(HEADER_DEAD_QUEUE);
        let handled = match died_in.map(String::as_str) {
            Some(queue) if topology::is_work_queue(queue) => match release(&delivery) {
                Ok(found) => {
                    let why = reason(&delivery);
                    tracing::warn!(task.id = %found.task, why, "release came back: no worker took it");
                    let given_up = self.events.tasks.give_up_release(found, why).await;
                    given_up.map_err(Refused::later)
                }
                Err(refused) => Err(refused),
            },
            // A result that came while the database was away.
            Some(topology::COORDINATOR_EVENTS) => self.events.event(&delivery).await,
            _ => Err(Refused::Never(reason(&delivery).to_owned())),
        };
        settle(&self.letters, &delivery, handled).await
    }
}

impl Events {
    /// Lets a result or progress have its effect.
    async fn event(&self, delivery: &Delivery) -> Result<(), Refused> {
        match event_name(delivery) {
            TaskFinished::NAME => {
                let finished = self.results.finish(report(delivery)?).await;
                finished.map_err(Refused::later)
            }
            TaskProgress::NAME => {
                let progress: TaskProgress = delivery.decode().map_err(Refused::never)?;
                let AttemptRef { task, attempt } = attempt(&progress.task_id, progress.attempt)?;
                let data = convert::payload_of(progress.data.unwrap_or_default());
                self.tasks.progress(task, Progress { attempt, data });
                Ok(())
            }
            Echo::NAME => echo(delivery),
            other => Err(Refused::Never(format!("unknown event `{other}`"))),
        }
    }
}

/// Reads a result.
fn report(delivery: &Delivery) -> Result<Report, Refused> {
    let finished: TaskFinished = delivery.decode().map_err(Refused::never)?;
    let worker = Worker::parse(&finished.worker)
        .ok_or_else(|| Refused::Never("the worker has no usable id".to_owned()))?;
    let outcome = convert::outcome(finished.outcome)
        .ok_or_else(|| Refused::Never("the result has no outcome".to_owned()))?;
    Ok(Report {
        consumer: topology::COORDINATOR_EVENTS,
        message_id: delivery.id.clone(),
        ended: attempt(&finished.task_id, finished.attempt)?,
        worker,
        outcome,
    })
}

/// Counts an echo by its sender.
fn echo(delivery: &Delivery) -> Result<(), Refused> {
    let source = delivery.headers.get(HEADER_SOURCE);
    let source = source.and_then(|name| name.parse::<ServiceName>().ok());
    // A label takes no text of a stranger.
    let from = source.ok_or_else(|| Refused::Never("the echo has no known source".to_owned()))?;
    counter!(names::MESSAGE_ECHOES_TOTAL, "from" => from.as_str()).increment(1);
    Ok(())
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
async fn settle(
    letters: &DeadLetters,
    delivery: &Delivery,
    handled: Result<(), Refused>,
) -> Outcome {
    let refused = match handled {
        Ok(()) => return Outcome::Done,
        Err(Refused::Later(error)) => return later(delivery, &*error),
        Err(Refused::Never(why)) => why,
    };
    match letters.keep(delivery, &refused).await {
        Ok(()) => Outcome::Done,
        Err(error) => later(delivery, &error),
    }
}

fn later(delivery: &Delivery, error: &(dyn StdError + Send + Sync + 'static)) -> Outcome {
    tracing::warn!(
        error = error as &dyn StdError,
        delivery.id,
        "message waits for the database"
    );
    Outcome::Retry(BACKOFF.delay(delivery.delivery_count.saturating_add(1), &mut rand::rng()))
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
    fn later(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::Later(Box::new(error))
    }

    fn never(error: impl StdError) -> Self {
        Self::Never(sutazai_proto::status::chain(&error))
    }
}
