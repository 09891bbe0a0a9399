//! The proof that the broker works: one message there and back.

use std::time::{Duration, Instant};

use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use tokio::time::timeout;

use super::failure::{late, unavailable};
use super::link::Link;
use crate::broker::BrokerError;

/// Longest time for all of it: less than a probe has, so that our reason is the one that is told.
const LIMIT: Duration = Duration::from_secs(3);
/// How often the queue is looked into.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Sends a message through a queue that only this connection sees, and says how long it took.
pub(super) async fn ping(link: &Link) -> Result<String, BrokerError> {
    let work = async {
        let channel = link.confirming_channel().await?;
        through(&channel).await.map_err(unavailable)
    };
    let microseconds = match timeout(LIMIT, work).await {
        Ok(taken) => taken?.as_micros(),
        Err(_) => return Err(late("the message did not come back")),
    };
    let connection = link.connection().await?;
    let vhost = connection.status().vhost();
    Ok(format!(
        "a confirmed message went through a queue of its own in {microseconds} µs, in the virtual host `{vhost}`"
    ))
}

async fn through(channel: &Channel) -> Result<Duration, lapin::Error> {
    let options = QueueDeclareOptions::exclusive().auto_delete();
    let declared = channel.queue_declare("".into(), options, FieldTable::default());
    let queue = declared.await?.name().clone();
    let started = Instant::now();
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let sent = channel.basic_publish(
        "".into(),
        queue.clone(),
        options,
        b"",
        BasicProperties::default(),
    );
    match sent.await?.await? {
        Confirmation::Ack(None) => {}
        other => return Err(std::io::Error::other(format!("it answered {other:?}")).into()),
    }
    let get = BasicGetOptions { no_ack: true };
    while channel.basic_get(queue.clone(), get).await?.is_none() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let taken = started.elapsed();
    channel
        .queue_delete(queue, QueueDeleteOptions::default())
        .await?;
    Ok(taken)
}
