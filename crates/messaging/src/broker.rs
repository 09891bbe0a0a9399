//! What a broker does, and what is asked of whoever handles its messages.

use std::{error::Error, sync::Arc, time::Duration};

use async_trait::async_trait;
use sutazai_proto::{Coded, ErrorCode};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::message::{Delivery, Outgoing, Unfit};
use crate::topology::Topology;

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done with.
    Done,
    /// It should come again after this time; that counts towards the queue's delivery limit.
    Retry(Duration),
    /// It can never be handled, for this reason: it becomes a dead letter.
    Reject(String),
}

/// Handles deliveries, several at a time.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles one delivery; when this panics, it is delivered again.
    async fn handle(&self, delivery: Delivery) -> Outcome;
}

/// Takes messages over and delivers them at least once.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Makes sure that exchanges, queues and bindings exist.
    ///
    /// # Errors
    /// Fails when one exists with other arguments, or when a binding names what is not there.
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError>;

    /// Publishes a message; returns after the broker confirmed that it took it over.
    ///
    /// # Errors
    /// Fails when it did not: the message may then be published again with the same id.
    async fn publish(&self, message: Outgoing) -> Result<(), BrokerError>;

    /// Publishes several messages, in order; each has its own result.
    async fn publish_all(&self, messages: Vec<Outgoing>) -> Vec<Result<(), BrokerError>> {
        let mut results = Vec::with_capacity(messages.len());
        for message in messages {
            results.push(self.publish(message).await);
        }
        results
    }

    /// Delivers the messages of a queue to a handler, at most `prefetch` (at least 1) at a time.
    ///
    /// # Errors
    /// Fails when there is no such queue, or the broker does not answer.
    async fn consume(
        &self,
        queue: &str,
        prefetch: u16,
        handler: Arc<dyn Handler>,
    ) -> Result<Consumer, BrokerError>;

    /// Returns how many messages are ready in a queue, without those at a handler or delayed.
    ///
    /// # Errors
    /// Fails when there is no such queue, or the broker does not answer.
    async fn depth(&self, queue: &str) -> Result<u64, BrokerError>;

    /// Tells whether a confirmed message outlives this process.
    fn durable(&self) -> bool;

    /// Returns the name of the implementation, for logs and diagnostics.
    fn kind(&self) -> &'static str;

    /// Publishes a message to a queue of its own, gets it back, and says so.
    ///
    /// # Errors
    /// Fails when any of that does.
    async fn ping(&self) -> Result<String, BrokerError>;
}

/// Deliveries from one queue to one handler; they end when this is stopped or dropped.
#[derive(Debug)]
#[must_use = "a dropped consumer stops"]
pub struct Consumer {
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Consumer {
    /// Makes one from the task that delivers and the token that makes it finish.
    ///
    /// Once cancelled, the task takes no further message and ends after the last handler did.
    pub fn new(stop: CancellationToken, task: JoinHandle<()>) -> Self {
        Self {
            stop: stop.drop_guard(),
            task,
        }
    }

    /// Ends the deliveries and waits for the handlers that still run.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "consumer ended badly");
        }
    }
}

/// Why a broker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// It does not answer, or lost the connection before it confirmed.
    #[error("the {kind} broker does not answer")]
    Unavailable {
        /// [`Broker::kind`].
        kind: &'static str,
        /// What was tried and failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// No broker can carry the message: it never gets better.
    #[error("the message can not be carried: {0}")]
    Unfit(#[from] Unfit),
    /// The queue holds as much as it may.
    #[error("the queue `{0}` is full")]
    Full(String),
    /// Something of this name exists with other arguments.
    #[error("`{0}` exists with other arguments")]
    Conflict(String),
    /// There is no such exchange.
    #[error("there is no exchange `{0}`")]
    UnknownExchange(String),
    /// There is no such queue.
    #[error("there is no queue `{0}`")]
    UnknownQueue(String),
    /// No queue took the message, not even through an alternate exchange.
    #[error("no queue takes `{routing_key}` from the exchange `{exchange}`")]
    Unroutable {
        /// Where it was published.
        exchange: String,
        /// With which key.
        routing_key: String,
    },
}

impl Coded for BrokerError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Unfit(_) => ErrorCode::InvalidArgument,
            Self::Full(_) => ErrorCode::Exhausted,
            Self::Conflict(_)
            | Self::UnknownExchange(_)
            | Self::UnknownQueue(_)
            | Self::Unroutable { .. } => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "broker_unavailable",
            Self::Unfit(_) => "unfit_message",
            Self::Full(_) => "queue_full",
            Self::Conflict(_) => "topology_conflict",
            Self::UnknownExchange(_) => "unknown_exchange",
            Self::UnknownQueue(_) => "unknown_queue",
            Self::Unroutable { .. } => "unroutable",
        }
    }
}
