//! A real broker for each test: the node is shared, the virtual host is not.

use sutazai_messaging::rabbit::{RabbitBroker, Settings};
use sutazai_resilience::Breakers;
use sutazai_servers::scratch;

/// Connects to an empty virtual host.
pub(crate) async fn rabbit() -> RabbitBroker {
    let server = scratch::rabbitmq().await.unwrap();
    let url = server.url(&scratch::vhost().await.unwrap());
    RabbitBroker::new(&Settings::new(url, "contract"), &Breakers::new()).unwrap()
}
