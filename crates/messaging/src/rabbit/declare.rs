//! Makes a topology real.

use std::time::Duration;

use lapin::{
    Channel, ExchangeKind as AmqpKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::AMQPSoftError,
    types::FieldTable,
};
use tokio::time::timeout;

use super::failure::{complaint, is_missing, late, unavailable};
use super::link::Link;
use super::wire::{short, table};
use crate::broker::BrokerError;
use crate::topology::{Binding, Exchange, ExchangeKind, Topology};

/// Longest time for a whole topology: each queue is a replicated log that has to elect a leader.
const LIMIT: Duration = Duration::from_secs(20);

/// Makes sure that exchanges, queues and bindings exist, on a channel that a conflict may close.
pub(super) async fn declare(link: &Link, topology: &Topology) -> Result<(), BrokerError> {
    let channel = link.channel().await?;
    let work = async {
        for exchange in &topology.exchanges {
            declare_exchange(&channel, exchange).await?;
        }
        for queue in &topology.queues {
            declare_queue(&channel, &queue.name, table(queue.arguments())).await?;
        }
        for binding in &topology.bindings {
            bind(&channel, binding).await?;
        }
        Ok(())
    };
    match timeout(LIMIT, work).await {
        Ok(declared) => declared,
        Err(_) => Err(late("the topology was not declared")),
    }
}

pub(super) async fn declare_exchange(
    channel: &Channel,
    exchange: &Exchange,
) -> Result<(), BrokerError> {
    let Exchange { name, kind, .. } = exchange;
    let kind = match kind {
        ExchangeKind::Direct => AmqpKind::Direct,
        ExchangeKind::Topic => AmqpKind::Topic,
        ExchangeKind::Fanout => AmqpKind::Fanout,
    };
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let arguments = table(exchange.arguments());
    let declared = channel.exchange_declare(short(name)?, kind, options, arguments);
    declared.await.map_err(|error| refused(name, error))
}

pub(super) async fn declare_queue(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<(), BrokerError> {
    let declared = channel.queue_declare(short(name)?, QueueDeclareOptions::durable(), arguments);
    match declared.await {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(name, error)),
    }
}

pub(super) async fn bind(channel: &Channel, binding: &Binding) -> Result<(), BrokerError> {
    let Binding {
        exchange,
        queue,
        key,
    } = binding;
    let bound = channel.queue_bind(
        short(queue)?,
        short(exchange)?,
        short(key)?,
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    match bound.await {
        Ok(()) => Ok(()),
        Err(error) if is_missing(&error) && error.to_string().contains("no queue") => {
            Err(BrokerError::UnknownQueue(queue.clone()))
        }
        Err(error) if is_missing(&error) => Err(BrokerError::UnknownExchange(exchange.clone())),
        Err(error) => Err(unavailable(error)),
    }
}

/// Counts the messages that are ready in a queue.
pub(super) async fn depth(link: &Link, queue: &str) -> Result<u64, BrokerError> {
    let channel = link.channel().await?;
    let options = QueueDeclareOptions::durable().passive();
    let looked = channel.queue_declare(short(queue)?, options, FieldTable::default());
    match timeout(LIMIT, looked).await {
        Ok(Ok(found)) => Ok(found.message_count().into()),
        Ok(Err(error)) if is_missing(&error) => Err(BrokerError::UnknownQueue(queue.to_owned())),
        Ok(Err(error)) => Err(unavailable(error)),
        Err(_) => Err(late("the queue was not looked at")),
    }
}

fn refused(name: &str, error: lapin::Error) -> BrokerError {
    match complaint(&error) {
        Some(AMQPSoftError::PRECONDITIONFAILED) => BrokerError::Conflict(name.to_owned()),
        _ => unavailable(error),
    }
}
