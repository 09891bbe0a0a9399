//! The broker between processes: RabbitMQ.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use lapin::{ConnectionProperties, uri::AMQPUri};
use secrecy::{ExposeSecret, SecretString};
use sutazai_proto::{Coded, ErrorCode};
use sutazai_resilience::{
    Backoff, Breaker, Breakers,
    breaker::{self, Permit},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::broker::{Broker, BrokerError, Consumer, Handler};
use crate::message::Outgoing;
use crate::observe;
use crate::topology::Topology;

mod acks;
mod consume;
mod declare;
mod declared;
mod failure;
mod lanes;
mod link;
mod ping;
mod publish;
mod retry;
mod settle;
mod wire;

use consume::Work;
use declared::Declared;
use failure::unavailable;
use lanes::Lanes;
use link::Link;
use publish::Publisher;
use retry::Waits;
use settle::Settler;

/// [`Broker::kind`], and the name of the breaker.
const KIND: &str = "rabbitmq";
/// Seconds between heartbeats; a connection without a sign of life for twice as long is dead.
const HEARTBEAT: u16 = 10;
/// A broker that is back is to be used again at once.
const OPEN_FOR: Backoff = Backoff {
    min: Duration::from_millis(200),
    max: Duration::from_secs(2),
};

/// Largest frame in bytes of the connection that publishes: all headers of a message are one frame.
/// lapin holds room for 64 frames on each connection. What it is told before it connects it takes as
/// pages of zeros, which are memory only once they are used; what the broker tells it later it touches.
const PUBLISHED: u32 = 72 * 1024;
/// Largest frame in bytes of the connection that consumes, for others may have sent headers as large as
/// RabbitMQ lets them: this is its own default, for which lapin would touch 8 MiB.
const CONSUMED: u32 = 128 * 1024;

/// How to reach a RabbitMQ.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `amqp://user:password@host:port/vhost`, or `amqps://` for TLS; without a path the virtual
    /// host is `/`.
    pub url: SecretString,
    /// What the broker's own pages call the connections: the name of the service.
    pub connection_name: String,
}

impl Settings {
    /// Makes settings.
    pub fn new(url: impl Into<SecretString>, connection_name: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connection_name: connection_name.into(),
        }
    }
}

/// The URL of a broker is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker's URL is not amqp://user:password@host:port/vhost: {0}")]
pub struct InvalidUrl(String);

impl Coded for InvalidUrl {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        "invalid_broker_url"
    }
}

/// Talks to a RabbitMQ over two connections: one that publishes, which the broker may block, and
/// one that consumes. Both are made again whenever they end; clones share them.
#[derive(Clone, Debug)]
pub struct RabbitBroker {
    publishing: Link,
    consuming: Link,
    publisher: Publisher,
    settler: Settler,
    breaker: Breaker,
    /// Our own name at the broker.
    user: Arc<str>,
}

impl RabbitBroker {
    /// Connects in the background; a broker that is not there makes calls fail, not this.
    ///
    /// # Errors
    /// Fails when the URL is malformed.
    pub fn new(settings: &Settings, breakers: &Breakers) -> Result<Self, InvalidUrl> {
        let mut uri: AMQPUri = settings.url.expose_secret().parse().map_err(InvalidUrl)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let user: Arc<str> = uri.authority.userinfo.username.as_str().into();
        let name = settings.connection_name.as_str();
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let link = |frame_max, role| {
            let mut uri = uri.clone();
            uri.query.frame_max.get_or_insert(frame_max);
            Link::start(uri, properties.clone(), role)
        };
        let (consuming, publishing) = (link(CONSUMED, "consume"), link(PUBLISHED, "publish"));
        // Declarations are no messages: they pass a broker that is short of memory.
        let declared = Declared::new(consuming.clone());
        let publisher = Publisher::new(
            Lanes::new(publishing.clone()),
            declared.clone(),
            user.clone(),
        );
        let settler = Settler {
            publisher: publisher.clone(),
            declared,
            waits: Waits::new(consuming.clone()),
        };
        let when = breaker::Settings {
            open_for: OPEN_FOR,
            ..breaker::Settings::default()
        };
        Ok(Self {
            publishing,
            consuming,
            publisher,
            settler,
            breaker: breakers.get_with(KIND, when),
            user,
        })
    }

    /// Publishes one message; an exchange that was declared here and is gone is declared again.
    async fn publish_one(&self, message: &Outgoing) -> Result<(), BrokerError> {
        let permit = self.breaker.permit().map_err(unavailable)?;
        let mut result = self.publisher.one(message).await;
        if self.restored(&result).await {
            result = self.publisher.one(message).await;
        }
        report(permit, [&result]);
        result
    }

    /// Declares the topology again when a result says that an exchange of it is gone.
    async fn restored(&self, result: &Result<(), BrokerError>) -> bool {
        let declared = &self.settler.declared;
        match result {
            Err(BrokerError::UnknownExchange(name)) if declared.has_exchange(name) => {
                let restored = declared.restore().await;
                if let Err(error) = &restored {
                    tracing::warn!(%error, "the topology is not declared again");
                }
                restored.is_ok()
            }
            _ => false,
        }
    }
}

/// Tells the breaker whether the broker answered.
fn report<'a>(permit: Permit, results: impl IntoIterator<Item = &'a Result<(), BrokerError>>) {
    let mut errors = results
        .into_iter()
        .filter_map(|result| result.as_ref().err());
    match errors.find(|error| matches!(error, BrokerError::Unavailable { .. })) {
        Some(error) => {
            observe::unreached(KIND);
            permit.failure(&error.to_string());
        }
        None => permit.success(),
    }
}

#[async_trait]
impl Broker for RabbitBroker {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.settler.declared.add(topology).await
    }

    async fn publish(&self, mut message: Outgoing) -> Result<(), BrokerError> {
        let span = observe::sending(&mut message);
        let result = self.publish_one(&message).await;
        observe::published(&span, &message.exchange, &result);
        result
    }

    async fn publish_all(&self, mut messages: Vec<Outgoing>) -> Vec<Result<(), BrokerError>> {
        let spans: Vec<Span> = messages.iter_mut().map(observe::sending).collect();
        let results = match self.breaker.permit() {
            Ok(permit) => {
                let results = self.publisher.all(&messages).await;
                report(permit, &results);
                results
            }
            Err(open) => messages.iter().map(|_| Err(unavailable(open))).collect(),
        };
        for result in &results {
            if self.restored(result).await {
                break;
            }
        }
        for ((span, message), result) in spans.iter().zip(&messages).zip(&results) {
            observe::published(span, &message.exchange, result);
        }
        results
    }

    async fn consume(
        &self,
        queue: &str,
        prefetch: u16,
        handler: Arc<dyn Handler>,
    ) -> Result<Consumer, BrokerError> {
        let work = Work {
            link: self.consuming.clone(),
            settler: self.settler.clone(),
            queue: queue.to_owned(),
            prefetch,
            handler,
            user: self.user.clone(),
        };
        let first = work.subscribe().await?;
        let stop = CancellationToken::new();
        let run = work.run(first, stop.clone());
        Ok(Consumer::new(stop, tokio::spawn(run.in_current_span())))
    }

    async fn depth(&self, queue: &str) -> Result<u64, BrokerError> {
        declare::depth(&self.consuming, queue).await
    }

    fn durable(&self) -> bool {
        true
    }

    fn kind(&self) -> &'static str {
        KIND
    }

    async fn ping(&self) -> Result<String, BrokerError> {
        let pinged = ping::ping(&self.publishing).await;
        pinged.inspect_err(|_| observe::unreached(KIND))
    }
}
