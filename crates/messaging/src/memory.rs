//! The broker inside one process.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use crate::broker::{Broker, BrokerError, Consumer, Handler};
use crate::message::{Outgoing, Properties};
use crate::observe;
use crate::topology::{Queue, Topology};

mod consumer;
mod queue;
mod state;

use queue::Message;
use state::{Settlement, State};

/// How long a message of [`Broker::ping`] may be under way.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// Bounds of a [`MemoryBroker`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many messages may wait in each queue.
    pub queue_length: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_length: 100_000,
        }
    }
}

/// Keeps the messages of one process in memory; clones share them.
#[derive(Clone, Debug)]
pub struct MemoryBroker {
    state: Arc<Mutex<State>>,
}

impl MemoryBroker {
    /// Makes a broker without exchanges and queues.
    pub fn new(limits: Limits) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(limits.queue_length))),
        }
    }

    /// Waits for the next message of a queue. Nothing is lost when this future is dropped.
    async fn next(&self, queue: &str) -> Result<Message, BrokerError> {
        let wake = self.state.lock().queue(queue)?.wake();
        loop {
            let (message, next_due) = self.state.lock().queue(queue)?.pop();
            match (message, next_due) {
                (Some(message), _) => return Ok(message),
                (None, None) => wake.notified().await,
                (None, Some(due)) => {
                    // Being woken early and waking in time lead to the same look.
                    let _ = tokio::time::timeout_at(due, wake.notified()).await;
                }
            }
        }
    }

    fn settle(&self, queue: &str, message: Message, settlement: Settlement) {
        self.state.lock().settle(queue, message, settlement);
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.state.lock().declare(topology)
    }

    async fn publish(&self, mut message: Outgoing) -> Result<(), BrokerError> {
        let span = observe::sending(&mut message);
        let result = self.state.lock().publish(&message);
        observe::published(&span, &message.exchange, &result);
        result
    }

    async fn consume(
        &self,
        queue: &str,
        prefetch: u16,
        handler: Arc<dyn Handler>,
    ) -> Result<Consumer, BrokerError> {
        self.state.lock().queue(queue)?;
        let stop = CancellationToken::new();
        let run = consumer::run(
            self.clone(),
            queue.to_owned(),
            prefetch,
            handler,
            stop.clone(),
        );
        Ok(Consumer::new(stop, tokio::spawn(run.in_current_span())))
    }

    async fn depth(&self, queue: &str) -> Result<u64, BrokerError> {
        Ok(self.state.lock().queue(queue)?.depth())
    }

    fn durable(&self) -> bool {
        false
    }

    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn ping(&self) -> Result<String, BrokerError> {
        let started = Instant::now();
        let name = format!("ping.{}", Uuid::now_v7());
        let queue = Queue {
            name: name.clone(),
            delivery_limit: None,
            dead_letter_exchange: None,
            max_length: Some(1),
        };
        self.declare(&Topology {
            queues: vec![queue],
            ..Topology::default()
        })
        .await?;
        let message = Outgoing {
            id: name.clone(),
            exchange: String::new(),
            routing_key: name.clone(),
            headers: BTreeMap::new(),
            properties: Properties::default(),
            content_type: "text/plain".to_owned(),
            body: Bytes::new(),
        };
        let published = self.state.lock().publish(&message);
        let back = match published {
            Ok(()) => tokio::time::timeout(PING_TIMEOUT, self.next(&name)).await,
            Err(error) => Ok(Err(error)),
        };
        let queues = self.state.lock().remove_queue(&name);
        match back {
            Ok(Ok(_)) => Ok(format!(
                "a message went through a queue of its own in {} µs, beside {queues} queues",
                started.elapsed().as_micros(),
            )),
            Ok(Err(error)) => Err(error),
            Err(elapsed) => Err(BrokerError::Unavailable {
                kind: self.kind(),
                source: elapsed.into(),
            }),
        }
    }
}
