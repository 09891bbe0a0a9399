//! What happens to RabbitMQ in real life.

use std::time::Duration;

use sutazai_messaging::{Broker, Outgoing};
use tokio::time::Instant;

use crate::bench::PATIENCE;

mod answers;
mod network;
mod node;
mod proxy;
mod topology;

/// Publishes as an outbox does: again and again, with the same id, until it is confirmed.
async fn published(broker: &impl Broker, message: Outgoing) {
    let started = Instant::now();
    while let Err(error) = broker.publish(message.clone()).await {
        assert!(
            started.elapsed() < 3 * PATIENCE,
            "{}: {error:?}",
            message.id
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
