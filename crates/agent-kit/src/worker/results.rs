//! Results on their way to the coordinator: those that are there together are sent together.

use std::sync::Arc;

use sutazai_messaging::{Outgoing, topology};
use sutazai_proto::events::EventType;
use sutazai_proto::tasks::v1::{TaskFinished, task_finished};
use sutazai_resilience::batch::Batches;
use tokio::sync::{mpsc, oneshot};

use super::Shared;

/// Most results that are sent together.
const BATCH: usize = 128;

/// A result that waits to be sent.
#[derive(Debug)]
pub(crate) struct Waiting {
    result: Addressed,
    /// Answered after the broker took it, or did not.
    sent: oneshot::Sender<()>,
}

/// A result and its message, which was made within the trace of the attempt.
#[derive(Debug)]
struct Addressed {
    task_id: String,
    attempt: u32,
    message: Outgoing,
}

/// Sends results; while one batch is with the broker, the next one gathers.
pub(crate) async fn serve(results: mpsc::Receiver<Waiting>, shared: Arc<Shared>) {
    let mut batches = Batches::new(results, BATCH);
    while let Some(batch) = batches.next().await {
        let (results, sent): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|waiting| (waiting.result, waiting.sent))
            .unzip();
        shared.send_results(results).await;
        for sent in sent {
            // Who no longer waits was left behind by a drain.
            let _ = sent.send(());
        }
    }
}

/// Sends again, after each heartbeat, what the coordinator should know and does not.
pub(crate) async fn repeat(shared: Arc<Shared>) {
    loop {
        shared.heard.notified().await;
        let due = shared.leases.lock().due_results();
        if !due.is_empty() {
            let due = due.iter().map(|result| shared.address(result));
            shared.send_results(due.collect()).await;
        }
    }
}

impl Shared {
    /// Keeps the outcome of an attempt and sends it, unless the lease was lost meanwhile.
    pub(crate) async fn conclude(
        &self,
        task_id: String,
        attempt: u32,
        outcome: task_finished::Outcome,
    ) {
        let result = TaskFinished {
            task_id,
            attempt,
            worker: self.worker.clone(),
            outcome: Some(outcome),
        };
        // Its message belongs to the trace of this attempt, whatever it is sent together with.
        let addressed = self.address(&result);
        if self.leases.lock().finish(result) {
            let (sent, answer) = oneshot::channel();
            let result = addressed;
            // Without anybody who sends, the lease ends and the coordinator knows.
            if self.results.send(Waiting { result, sent }).await.is_ok() {
                let _ = answer.await;
            }
        }
    }

    /// Repetitions carry the same id, so that the coordinator's inbox drops them.
    fn address(&self, result: &TaskFinished) -> Addressed {
        let TaskFinished {
            task_id, attempt, ..
        } = result;
        let message = Outgoing::event(self.source, topology::EVENTS, TaskFinished::NAME, result)
            .with_task(task_id, Some(*attempt))
            .with_id(TaskFinished::message_id(task_id, *attempt));
        Addressed {
            task_id: task_id.clone(),
            attempt: *attempt,
            message,
        }
    }

    async fn send_results(&self, results: Vec<Addressed>) {
        let (of, messages): (Vec<_>, Vec<_>) = results
            .into_iter()
            .map(|result| ((result.task_id, result.attempt), result.message))
            .unzip();
        let outcomes = self.broker.publish_all(messages).await;
        for ((task_id, attempt), outcome) in of.iter().zip(outcomes) {
            if let Err(error) = &outcome {
                tracing::warn!(%error, task_id, attempt, "result was not taken over, will be sent again");
            }
            self.leases.lock().sent(task_id, *attempt, outcome.is_ok());
        }
        self.changed.notify_one();
    }
}
