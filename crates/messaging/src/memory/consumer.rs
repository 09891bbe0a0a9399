//! Takes messages out of a queue and gives them to a handler.

use std::{collections::HashMap, sync::Arc};

use tokio::task::{self, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{MemoryBroker, queue::Message, state::Settlement};
use crate::broker::{Handler, Outcome};
use crate::observe;

/// A delivered message that is not settled yet; dropped so, it goes back to its queue.
struct Held {
    broker: MemoryBroker,
    queue: String,
    message: Option<Message>,
}

/// The handlers at work, each in a task of its own, so that a panic ends only that delivery.
struct AtWork {
    handlers: JoinSet<Outcome>,
    held: HashMap<task::Id, Held>,
}

/// Delivers until it is told to stop, then waits for the handlers at work.
pub(super) async fn run(
    broker: MemoryBroker,
    queue: String,
    prefetch: u16,
    handler: Arc<dyn Handler>,
    stop: CancellationToken,
) {
    let room = usize::from(prefetch.max(1));
    let mut at_work = AtWork {
        handlers: JoinSet::new(),
        held: HashMap::new(),
    };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = at_work.handlers.join_next_with_id() => at_work.settle(ended),
            message = broker.next(&queue), if at_work.handlers.len() < room => match message {
                Ok(message) => at_work.start(&broker, &queue, message, &handler),
                Err(error) => {
                    tracing::error!(queue, %error, "consumer lost its queue");
                    break;
                }
            },
        }
    }
    // This consumer may have been the one that a message woke.
    if let Ok(messages) = broker.state.lock().queue(&queue) {
        messages.wake().notify_one();
    }
    while let Some(ended) = at_work.handlers.join_next_with_id().await {
        at_work.settle(ended);
    }
}

impl AtWork {
    fn start(
        &mut self,
        broker: &MemoryBroker,
        queue: &str,
        message: Message,
        handler: &Arc<dyn Handler>,
    ) {
        let delivery = message.delivery(queue);
        let handler = Arc::clone(handler);
        let work = async move { observe::handle(&*handler, delivery).await };
        let task = self.handlers.spawn(work.in_current_span());
        let held = Held {
            broker: broker.clone(),
            queue: queue.to_owned(),
            message: Some(message),
        };
        self.held.insert(task.id(), held);
    }

    fn settle(&mut self, ended: Result<(task::Id, Outcome), JoinError>) {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, Some(outcome)),
            Err(error) => {
                tracing::error!(%error, "message handler did not end, its delivery goes back");
                (error.id(), None)
            }
        };
        let Some(held) = self.held.remove(&id) else {
            return;
        };
        observe::consumed(&held.queue, outcome.as_ref());
        if let Some(outcome) = outcome {
            held.settle(outcome);
        }
    }
}

impl Held {
    fn settle(mut self, outcome: Outcome) {
        let settlement = match outcome {
            Outcome::Done => Settlement::Done,
            Outcome::Retry(after) => Settlement::Retry(after),
            Outcome::Reject(reason) => Settlement::Reject(reason),
        };
        if let Some(message) = self.message.take() {
            self.broker.settle(&self.queue, message, settlement);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            self.broker
                .settle(&self.queue, message, Settlement::Returned);
        }
    }
}
