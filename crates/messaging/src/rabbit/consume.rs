//! Takes messages out of a queue and gives them to a handler, over all ends of channels.

use std::{sync::Arc, time::Duration};

use lapin::{
    Channel, Consumer as Stream,
    message::Delivery as Arrived,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use sutazai_resilience::Backoff;
use tokio::{task::JoinSet, time::timeout};
use tokio_stream::StreamExt;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::Instrument;

use super::acks::Acks;
use super::failure::{is_missing, late, unavailable};
use super::link::Link;
use super::settle::{Settled, Settler};
use super::wire::{self, short};
use crate::broker::{BrokerError, Handler};
use crate::message::REASON_DELIVERY_LIMIT;
use crate::observe;

/// Waits between tries to subscribe.
const BACKOFF: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(2),
};
/// Longest time for a subscription, and for its end.
const LIMIT: Duration = Duration::from_secs(5);

/// What a consumer is made of.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) link: Link,
    pub(super) settler: Settler,
    pub(super) queue: String,
    pub(super) prefetch: u16,
    pub(super) handler: Arc<dyn Handler>,
    /// Our own name at the broker.
    pub(super) user: Arc<str>,
}

/// A consumer of the broker's, on a channel of its own.
pub(super) struct Subscription {
    channel: Channel,
    stream: Stream,
    acks: Acks,
}

impl Work {
    /// Subscribes; a queue that was declared here and is gone is declared again.
    pub(super) async fn subscribe(&self) -> Result<Subscription, BrokerError> {
        match self.subscribe_once().await {
            Err(BrokerError::UnknownQueue(name))
                if self.settler.declared.queue(&name).is_some() =>
            {
                self.settler.declared.restore().await?;
                self.subscribe_once().await
            }
            other => other,
        }
    }

    async fn subscribe_once(&self) -> Result<Subscription, BrokerError> {
        let channel = self.link.channel().await?;
        let subscribe = async {
            channel
                .basic_qos(self.prefetch.max(1), BasicQosOptions::default())
                .await
                .map_err(unavailable)?;
            let consume = channel.basic_consume(
                short(&self.queue)?,
                short("")?,
                BasicConsumeOptions::default(),
                FieldTable::default(),
            );
            consume.await.map_err(|error| {
                if is_missing(&error) {
                    BrokerError::UnknownQueue(self.queue.clone())
                } else {
                    unavailable(error)
                }
            })
        };
        match timeout(LIMIT, subscribe).await {
            Ok(stream) => Ok(Subscription {
                stream: stream?,
                channel: channel.clone(),
                acks: Acks::start(),
            }),
            Err(_) => Err(late("no consumer was made")),
        }
    }

    /// Delivers until it is told to stop, then waits for the handlers at work.
    pub(super) async fn run(self, first: Subscription, stop: CancellationToken) {
        let mut at_work = JoinSet::new();
        let mut subscription = Some(first);
        while let Some(current) = subscription {
            self.deliver(current, &mut at_work, &stop).await;
            subscription = stop.run_until_cancelled(self.subscribe_again()).await;
        }
        while at_work.join_next().await.is_some() {}
    }

    /// Delivers what one subscription brings, until it ends.
    async fn deliver(
        &self,
        mut subscription: Subscription,
        at_work: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        let room = usize::from(self.prefetch.max(1));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break subscription.cancel().await,
                Some(_) = at_work.join_next() => {}
                arrived = subscription.stream.next(), if at_work.len() < room => match arrived {
                    Some(Ok(arrived)) => {
                        let held = self.clone().handle(
                            arrived,
                            (subscription.channel.clone(), subscription.acks.clone()),
                            stop.clone(),
                        );
                        at_work.spawn(held.in_current_span());
                    }
                    Some(Err(error)) => {
                        tracing::warn!(queue = self.queue, %error, "consumer lost its channel");
                        break;
                    }
                    None => {
                        tracing::warn!(queue = self.queue, "the broker ended the consumer");
                        break;
                    }
                },
            }
        }
    }

    /// Subscribes anew, however long it takes.
    async fn subscribe_again(&self) -> Subscription {
        let mut attempt = 0;
        loop {
            self.link.up().await;
            match self.subscribe().await {
                Ok(subscription) => {
                    tracing::info!(queue = self.queue, "consuming again");
                    return subscription;
                }
                Err(error) => {
                    attempt += 1;
                    tracing::warn!(queue = self.queue, %error, attempt, "not consuming");
                    let wait = BACKOFF.delay(attempt, &mut rand::rng());
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Handles one delivery and settles it on the channel that it came by, which stays open for it.
    async fn handle(
        self,
        mut arrived: Arrived,
        (_channel, acks): (Channel, Acks),
        stop: CancellationToken,
    ) {
        let delivery = wire::delivery(&self.queue, &self.user, &mut arrived);
        let settled = Settled {
            delivery: &delivery,
            acker: &arrived.acker,
            tag: arrived.delivery_tag,
            acks: &acks,
            stop: &stop,
        };
        if self.settler.is_spent(&delivery, 0) {
            return self.settler.bury(settled, REASON_DELIVERY_LIMIT).await;
        }
        let (handler, given) = (Arc::clone(&self.handler), delivery.clone());
        let work = async move { observe::handle(&*handler, given).await };
        // In a task of its own a panic ends only this delivery.
        let ended = AbortOnDropHandle::new(tokio::spawn(work.in_current_span())).await;
        let outcome = ended
            .inspect_err(|error| {
                tracing::error!(%error, "message handler did not end, its delivery goes back");
            })
            .ok();
        observe::consumed(&self.queue, outcome.as_ref());
        self.settler.settle(settled, outcome).await;
    }
}

impl Subscription {
    /// Tells the broker to send no more; what it sent is settled on the same channel.
    async fn cancel(self) {
        let cancel = self
            .channel
            .basic_cancel(self.stream.tag(), BasicCancelOptions::default());
        if let Ok(Err(error)) = timeout(LIMIT, cancel).await {
            tracing::debug!(%error, "the consumer was gone already");
        }
    }
}
