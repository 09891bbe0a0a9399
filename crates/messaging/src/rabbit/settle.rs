//! Carries out what a handler decided about a delivery.

use std::{io, time::Duration};

use lapin::Acker;
use sutazai_resilience::Backoff;
use tokio_util::sync::CancellationToken;

use super::acks::{Acks, Verdict};
use super::declared::Declared;
use super::failure::unavailable;
use super::publish::Publisher;
use super::retry::Waits;
use super::wire;
use crate::broker::{BrokerError, Outcome};
use crate::message::{Delivery, HEADER_DEAD_QUEUE, HEADER_REASON, Outgoing, REASON_DELIVERY_LIMIT};

/// Waits between tries to publish what takes a delivery's place.
const BACKOFF: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(2),
};

/// Settles the deliveries of consumers; clones share everything.
#[derive(Clone, Debug)]
pub(super) struct Settler {
    pub(super) publisher: Publisher,
    pub(super) declared: Declared,
    pub(super) waits: Waits,
}

/// A delivery whose fate is decided.
pub(super) struct Settled<'a> {
    pub(super) delivery: &'a Delivery,
    pub(super) acker: &'a Acker,
    /// Its number on its channel.
    pub(super) tag: u64,
    pub(super) acks: &'a Acks,
    /// Ends the tries to publish: the delivery then goes back to its queue.
    pub(super) stop: &'a CancellationToken,
}

/// What takes the place of a delivery.
enum Successor {
    /// The same message, after this time.
    Later(Duration),
    /// A dead letter.
    Letter(Box<Outgoing>),
}

impl Settler {
    /// Tells whether a message was delivered as often as it may, this time not counted.
    pub(super) fn is_spent(&self, delivery: &Delivery, times: u32) -> bool {
        let limit = self.declared.queue(&delivery.queue);
        let limit = limit.and_then(|queue| queue.delivery_limit);
        limit.is_some_and(|limit| delivery.delivery_count.saturating_add(times) > limit)
    }

    /// Settles a delivery; without an outcome its handler did not end.
    pub(super) async fn settle(&self, settled: Settled<'_>, outcome: Option<Outcome>) {
        let spent = self.is_spent(settled.delivery, 1);
        match outcome {
            Some(Outcome::Done) => settled.acknowledge().await,
            Some(Outcome::Reject(reason)) => self.bury(settled, &reason).await,
            Some(Outcome::Retry(_)) | None if spent => {
                self.bury(settled, REASON_DELIVERY_LIMIT).await;
            }
            Some(Outcome::Retry(after)) => self.replace(settled, Successor::Later(after)).await,
            None => settled.give_back().await,
        }
    }

    /// Publishes the message as a dead letter, and lets go of the delivery.
    pub(super) async fn bury(&self, settled: Settled<'_>, reason: &str) {
        let delivery = settled.delivery;
        let Delivery { queue, id, .. } = delivery;
        let Some(declared) = self.declared.queue(queue) else {
            // Only the broker knows where its dead letters go.
            return settled.discard().await;
        };
        let Some(exchange) = declared.dead_letter_exchange else {
            tracing::warn!(queue, message_id = id, reason, "message dropped");
            return settled.acknowledge().await;
        };
        tracing::warn!(queue, message_id = id, reason, "message dead-lettered");
        let letter = letter(delivery, &exchange, reason);
        self.replace(settled, Successor::Letter(Box::new(letter)))
            .await;
    }

    /// Publishes what takes the delivery's place until the broker has it, then acknowledges. In
    /// this order nothing is lost; what is doubled has the same id.
    async fn replace(&self, settled: Settled<'_>, successor: Successor) {
        let Delivery { queue, id, .. } = settled.delivery;
        let mut attempt = 0;
        // With its channel gone the delivery is back in its queue, and not ours to settle.
        while settled.acker.usable() {
            let error = match self.publish(settled.delivery, &successor).await {
                Ok(()) => return settled.acknowledge().await,
                Err(error) => error,
            };
            if !matches!(error, BrokerError::Unavailable { .. }) {
                tracing::error!(queue, message_id = id, %error, "left to the broker to dead-letter");
                return settled.discard().await;
            }
            attempt += 1;
            tracing::warn!(queue, message_id = id, %error, attempt, "not settled yet");
            let wait = tokio::time::sleep(BACKOFF.delay(attempt, &mut rand::rng()));
            if settled.stop.run_until_cancelled(wait).await.is_none() {
                return settled.give_back().await;
            }
        }
    }

    async fn publish(&self, delivery: &Delivery, successor: &Successor) -> Result<(), BrokerError> {
        match successor {
            Successor::Later(after) => self.delay(delivery, *after).await,
            Successor::Letter(letter) => match self.publisher.one(letter).await {
                Err(error @ BrokerError::UnknownExchange(_)) => {
                    self.declared.restore().await?;
                    Err(unavailable(error))
                }
                other => other,
            },
        }
    }

    /// Publishes the message into a queue that gives it back later.
    async fn delay(&self, delivery: &Delivery, after: Duration) -> Result<(), BrokerError> {
        let exchange = self.waits.exchange(after).await?;
        let message = wire::again(delivery, &exchange);
        match self.publisher.one(&message).await {
            Err(error @ (BrokerError::UnknownExchange(_) | BrokerError::Unroutable { .. })) => {
                self.waits.forget();
                Err(unavailable(error))
            }
            other => other,
        }
    }
}

impl Settled<'_> {
    async fn acknowledge(&self) {
        self.end(Verdict::Done).await;
    }

    /// Puts the delivery back to the head of its queue, counted.
    async fn give_back(&self) {
        self.end(Verdict::GiveBack).await;
    }

    /// Lets the broker itself dead-letter the delivery, by what its queue says.
    async fn discard(&self) {
        self.end(Verdict::Discard).await;
    }

    async fn end(&self, verdict: Verdict) {
        let settled = self.acks.settle(self.tag, self.acker, verdict).await;
        self.report(settled);
    }

    fn report(&self, settled: Result<bool, lapin::Error>) {
        let error = match settled {
            Ok(true) => return,
            Ok(false) => lapin::Error::from(io::Error::other("its channel is gone")),
            Err(error) => error,
        };
        let Delivery { queue, id, .. } = self.delivery;
        tracing::warn!(queue, message_id = id, %error, "not settled, it will come again");
    }
}

fn letter(delivery: &Delivery, exchange: &str, reason: &str) -> Outgoing {
    let mut letter = wire::onward(delivery, exchange, &delivery.routing_key);
    letter
        .headers
        .insert(HEADER_REASON.to_owned(), reason.to_owned());
    letter
        .headers
        .insert(HEADER_DEAD_QUEUE.to_owned(), delivery.queue.clone());
    letter
}
