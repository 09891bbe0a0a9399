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
/// Said of messages that come after one that was not confirmed in time.
const SILENT: &str = "an earlier message was not confirmed";
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
    /// before the first of them is confirmed. Once the broker keeps silent about one, the rest has failed:
    /// each would wait as long.
    pub(super) async fn all(&self, messages: &[Outgoing]) -> Vec<Result<(), BrokerError>> {
        let mut results = Vec::with_capacity(messages.len());
        for run in messages.chunk_by(|a, b| self.is_mandatory(a) == self.is_mandatory(b)) {
            if run.len() > 1 && run.first().is_some_and(|first| !self.is_mandatory(first)) {
                results.extend(self.run(run).await);
                continue;
            }
            for message in run {
                let sent = match results.last() {
                    Some(last) if is_unavailable(last) => Err(late(SILENT)),
                    _ => self.one(message).await,
                };
                results.push(sent);
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
        let mut flight = Flight::default();
        for message in messages {
            if flight.waiting.len() == WINDOW {
                flight.land(self, &mut results).await;
            }
            // What can not be sent has its result in its place: all before it are settled first.
            let sent = match message.check() {
                Err(unfit) => Err(unfit.into()),
                Ok(()) if flight.lost => Err(late(SILENT)),
                Ok(()) => self.sent_in_time(&lane.channel, message).await,
            };
            match sent {
                Ok(confirm) => flight.waiting.push_back((message, confirm)),
                Err(error) => {
                    flight.land_all(self, &mut results).await;
                    flight.enter(&mut results, Err(error));
                }
            }
        }
        flight.land_all(self, &mut results).await;
        if lane.channel.status().connected() && !flight.lost {
            lane.keep();
        }
        results
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

/// What is sent and not confirmed yet, on one channel.
#[derive(Default)]
struct Flight<'a> {
    waiting: VecDeque<(&'a Outgoing, PublisherConfirm)>,
    /// The broker kept silent, or the channel broke: nothing more is sent on it.
    lost: bool,
}

impl Flight<'_> {
    /// Waits for the oldest confirm. When none comes in time, none is waited for any more.
    async fn land(&mut self, publisher: &Publisher, results: &mut Vec<Result<(), BrokerError>>) {
        let Some((message, confirm)) = self.waiting.pop_front() else {
            return;
        };
        match timeout(LIMIT, confirm).await {
            Ok(Ok(confirmation)) => self.enter(results, publisher.judge(message, &confirmation)),
            Ok(Err(error)) => self.enter(results, Err(refused(message, error))),
            Err(_) => {
                self.enter(results, Err(late("no confirm came")));
                results.extend(self.waiting.drain(..).map(|_| Err(late(SILENT))));
            }
        }
    }

    async fn land_all(
        &mut self,
        publisher: &Publisher,
        results: &mut Vec<Result<(), BrokerError>>,
    ) {
        while !self.waiting.is_empty() {
            self.land(publisher, results).await;
        }
    }

    fn enter(
        &mut self,
        results: &mut Vec<Result<(), BrokerError>>,
        result: Result<(), BrokerError>,
    ) {
        self.lost |= is_unavailable(&result);
        results.push(result);
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
