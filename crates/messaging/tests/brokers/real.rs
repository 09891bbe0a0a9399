//! Real brokers: the node is shared, each test has a virtual host of its own.

use sutazai_messaging::rabbit::{RabbitBroker, Settings};
use sutazai_resilience::Breakers;
use sutazai_servers::{rabbitmq::RabbitMq, scratch};

/// An empty virtual host on the node that all tests share.
pub(crate) struct Place {
    pub(crate) server: &'static RabbitMq,
    pub(crate) vhost: String,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self {
            server: scratch::rabbitmq().await.unwrap(),
            vhost: scratch::vhost().await.unwrap(),
        }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url(&self.vhost)
    }

    /// Connects as a service of this name.
    pub(crate) fn broker(&self, name: &str) -> RabbitBroker {
        connect(self.url(), name)
    }

    /// Sends a request about the virtual host to the management API, which has to agree.
    pub(crate) async fn manage(&self, method: &str, part: &str, name: &str, body: &str) -> String {
        let path = format!("/{part}/{}/{name}", self.vhost);
        let management = self.server.management();
        let answer = management.request(method, &path, body).await.unwrap();
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        answer.body
    }
}

pub(crate) fn connect(url: String, name: &str) -> RabbitBroker {
    RabbitBroker::new(&Settings::new(url, name), &Breakers::new()).unwrap()
}

/// Connects to an empty virtual host.
pub(crate) async fn rabbit() -> RabbitBroker {
    Place::new().await.broker("contract")
}
