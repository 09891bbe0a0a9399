//! A platform over a RabbitMQ, with a producer's account.

use std::sync::Arc;

use serde_json::{Value, json};
use sutazai_messaging::rabbit::{RabbitBroker, Settings};
use sutazai_resilience::Breakers;
use sutazai_servers::{rabbitmq::RabbitMq, scratch};
use system_tests::{Setup, Stage, submission};
use uuid::Uuid;

pub(crate) const DEAD_LETTERS: &str = "/api/v1/tasks/dead-letters";
/// Rights of a producer, as `proto/README.md` gives them: configure, write, read.
const RIGHTS: [&str; 3] = ["^(amq\\.gen|shop\\.)", "^tasks$", "^(amq\\.gen|shop\\.)"];

/// A platform over a virtual host of its own.
pub(crate) struct Door {
    pub(crate) broker: Arc<RabbitBroker>,
    pub(crate) stage: Stage,
    /// Name of the producer's account.
    pub(crate) user: String,
    /// Where the producer connects.
    pub(crate) url: String,
}

impl Door {
    pub(crate) async fn open() -> Self {
        let rabbit = scratch::rabbitmq().await.expect("RabbitMQ");
        let host = scratch::vhost().await.expect("a virtual host");
        let settings = Settings::new(rabbit.url(&host), "platform");
        let broker = RabbitBroker::new(&settings, &Breakers::new()).expect("a URL");
        let broker = Arc::new(broker);
        let stage = Setup::default().broker(broker.clone()).start().await;
        let (user, url) = account(rabbit, &host).await;
        Self {
            broker,
            stage,
            user,
            url,
        }
    }

    pub(crate) async fn close(self) {
        self.stage.stop().await;
    }
}

/// Makes an account with the rights of a producer; returns its name and where it connects.
async fn account(rabbit: &RabbitMq, host: &str) -> (String, String) {
    let (user, password) = (format!("shop-{}", Uuid::new_v4()), "shop-password");
    rabbit
        .ctl(&["add_user", &user, password])
        .await
        .expect("an account");
    let rights = ["set_permissions", "-p", host, &user]
        .into_iter()
        .chain(RIGHTS);
    let rights: Vec<&str> = rights.collect();
    rabbit.ctl(&rights).await.expect("its rights");
    let url = format!(
        "amqp://{user}:{password}@127.0.0.1:{}/{host}",
        rabbit.port()
    );
    (user, url)
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(crate) fn hello(id: &str) -> Value {
    submission(
        id,
        &json!({"type": "llm.generate", "input": {"prompt": "hello"}}),
    )
}
