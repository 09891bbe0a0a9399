//! Publishing with a confirm for each message.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use lapin::{Channel, Confirmation, PublisherConfirm, options::BasicPublishOptions};
use tokio::time::timeout;

use super::declared::Declared;
use super::failure::{is_missing, late, unavailable};
use super::lanes::Lanes;
use super::wire::{properties, short};
use crate::broker::BrokerError;
use crate::message::Outgoing;

/// Longest time until a message is confirmed. A broker that runs out of memory blocks publishers
/// without an error.
const LIMIT: Duration = Duration::from_secs(5);
/// How many messages of a batch are unconfirmed at a time.
const WINDOW: usize = 128;
/// Names of direct answers: they are always reported as unroutable, though they arrive.
const DIRECT_REPLY: &str = "amq.rabbitmq.reply-to.";

/// Publishes; clones share the channels.
#[derive(Clone, Debug)]
pub(super) struct Publisher {
    lanes: Lanes,
    declared: Declared,
    /// Our own name at the broker.
    user: Arc<str>,
}

impl Publisher {
    pub(super) fn new(lanes: Lanes, declared: Declared, user: Arc<str>) -> Self {
        Self {
            lanes,
            declared,
            user,
        }
    }

    /// Publishes one message.
    pub(super) async fn one(&self, message: &Outgoing) -> Result<(), BrokerError> {
        message.check()?;
        let work = async {
            let lane = self.lanes.take().await?;
            let mandatory = self.is_mandatory(message);
            let confirm = self.send(&lane.channel, message, mandatory).await;
            let confirm = confirm.map_err(|error| refused(message, error))?;
            let confirmation = confirm.await.map_err(|error| refused(message, error))?;
            let result = self.judge(message, &confirmation);
            if !matches!(result, Err(BrokerError::Unavailable { .. })) {
                lane.keep();
            }
            result
        };
        match timeout(LIMIT, work).await {
            Ok(result) => result,
            Err(_) => Err(late("no confirm came")),
        }
    }

    /// Publishes several, in order. Neighbours that need no report of where they went are sent
    /// before the first of them is confirmed.
    pub(super) async fn all(&self, messages: &[Outgoing]) -> Vec<Result<(), BrokerError>> {
        let mut results = Vec::with_capacity(messages.len());
        for run in messages.chunk_by(|a, b| self.is_mandatory(a) == self.is_mandatory(b)) {
            if run.len() > 1 && run.first().is_some_and(|first| !self.is_mandatory(first)) {
                results.extend(self.run(run).await);
                continue;
            }
            for message in run {
                results.push(self.one(message).await);
            }
        }
        results
    }

    /// Publishes messages that need no report, with up to [`WINDOW`] of them unconfirmed.
    async fn run(&self, messages: &[Outgoing]) -> Vec<Result<(), BrokerError>> {
        let mut results = Vec::with_capacity(messages.len());
        let taken = timeout(LIMIT, self.lanes.take()).await;
        let lane = match taken.unwrap_or_else(|_| Err(late("no channel is free"))) {
            Ok(lane) => lane,
            Err(error) => {
                let error = Arc::new(error);
                let same = |_| Err(unavailable(Arc::clone(&error)));
                return messages.iter().map(same).collect();
            }
        };
        let mut flight: VecDeque<(&Outgoing, PublisherConfirm)> = VecDeque::new();
        for message in messages {
            if flight.len() == WINDOW {
                self.land(&mut flight, &mut results).await;
            }
            // What can not be sent has its result in its place: all before it are settled first.
            let sent = match message.check() {
                Ok(()) => self.sent_in_time(&lane.channel, message).await,
                Err(unfit) => Err(unfit.into()),
            };
            match sent {
                Ok(confirm) => flight.push_back((message, confirm)),
                Err(error) => {
                    while !flight.is_empty() {
                        self.land(&mut flight, &mut results).await;
                    }
                    results.push(Err(error));
                }
            }
        }
        while !flight.is_empty() {
            self.land(&mut flight, &mut results).await;
        }
        if lane.channel.status().connected() && !results.iter().any(is_unavailable) {
            lane.keep();
        }
        results
    }

    /// Waits for the oldest confirm in flight.
    async fn land(
        &self,
        flight: &mut VecDeque<(&Outgoing, PublisherConfirm)>,
        results: &mut Vec<Result<(), BrokerError>>,
    ) {
        let Some((message, confirm)) = flight.pop_front() else {
            return;
        };
        results.push(match timeout(LIMIT, confirm).await {
            Ok(Ok(confirmation)) => self.judge(message, &confirmation),
            Ok(Err(error)) => Err(refused(message, error)),
            Err(_) => Err(late("no confirm came")),
        });
    }

    /// Tells whether the broker must report a message that no queue took.
    ///
    /// Such a report can only be told apart with one message in flight. An alternate exchange makes
    /// it needless.
    fn is_mandatory(&self, message: &Outgoing) -> bool {
        let is_answer =
            message.exchange.is_empty() && message.routing_key.starts_with(DIRECT_REPLY);
        !is_answer && !self.declared.has_alternate(&message.exchange)
    }

    fn judge(&self, message: &Outgoing, confirmation: &Confirmation) -> Result<(), BrokerError> {
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => {
                Err(BrokerError::Unroutable {
                    exchange: message.exchange.clone(),
                    routing_key: message.routing_key.clone(),
                })
            }
            Confirmation::Nack(None) => Err(BrokerError::Full(self.declared.target(message))),
            Confirmation::NotRequested => Err(unavailable(io::Error::other(
                "the channel gives no confirms",
            ))),
        }
    }

    async fn sent_in_time(
        &self,
        channel: &Channel,
        message: &Outgoing,
    ) -> Result<PublisherConfirm, BrokerError> {
        match timeout(LIMIT, self.send(channel, message, false)).await {
            Ok(sent) => sent.map_err(|error| refused(message, error)),
            Err(_) => Err(late("the message was not sent")),
        }
    }

    async fn send(
        &self,
        channel: &Channel,
        message: &Outgoing,
        mandatory: bool,
    ) -> Result<PublisherConfirm, lapin::Error> {
        let unfit = |error| lapin::Error::from(io::Error::other(error));
        let options = BasicPublishOptions {
            mandatory,
            ..BasicPublishOptions::default()
        };
        channel
            .basic_publish(
                short(&message.exchange).map_err(unfit)?,
                short(&message.routing_key).map_err(unfit)?,
                options,
                &message.body,
                properties(message, &self.user).map_err(unfit)?,
            )
            .await
    }
}

/// Tells what an error of the channel says about a message on it.
fn refused(message: &Outgoing, error: lapin::Error) -> BrokerError {
    // One message in flight may have closed the channel for others: they are not to blame.
    let named = format!("'{}'", message.exchange);
    if is_missing(&error) && error.to_string().contains(&named) {
        return BrokerError::UnknownExchange(message.exchange.clone());
    }
    unavailable(error)
}

fn is_unavailable(result: &Result<(), BrokerError>) -> bool {
    matches!(result, Err(BrokerError::Unavailable { .. }))
}

#[cfg(test)]
mod tests {
    use lapin::{ConnectionProperties, uri::AMQPUri};

    use super::super::link::Link;
    use super::*;
    use crate::topology;

    #[tokio::test]
    async fn trap_3_a_publish_that_nobody_confirms_has_failed() {
        // Nothing is sent: the address only has to be one.
        let link = Link::start(AMQPUri::default(), ConnectionProperties::default(), "test");
        let lanes = Lanes::new(link.clone());
        let publisher = Publisher::new(lanes, Declared::new(link), "guest".into());
        let event = sutazai_proto::tasks::v1::TaskReleased::default();
        let message = Outgoing::event("backend", topology::WORK, "any", &event);
        let judged = publisher.judge(&message, &Confirmation::NotRequested);
        assert!(matches!(judged, Err(BrokerError::Unavailable { .. })));
        assert!(publisher.judge(&message, &Confirmation::Ack(None)).is_ok());
        let full = publisher.judge(&message, &Confirmation::Nack(None));
        assert!(matches!(full, Err(BrokerError::Full(_))));
    }
}
