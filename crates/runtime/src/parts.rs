//! What services share.

use std::sync::Arc;

use async_trait::async_trait;
use sutazai_mesh::registry::Registry;
use sutazai_messaging::{
    Broker, BrokerError, Consumer, Handler, message::Outgoing, topology::Topology,
};
use sutazai_persistence::cache::{Cache, Settings};
use sutazai_resilience::Breakers;

/// The parts that a service does not make itself, because others must see the same ones.
#[derive(Clone)]
pub struct Parts {
    /// Who is where.
    pub registry: Arc<dyn Registry>,
    /// Where messages go.
    pub broker: Arc<dyn Broker>,
    /// The breakers of the service, those of its links among them.
    pub breakers: Breakers,
    /// What is worked out once and read often.
    pub cache: Cache,
}

impl Parts {
    /// Takes the shared parts, for a service whose breakers and cache are its own.
    pub fn new(registry: Arc<dyn Registry>, broker: Arc<dyn Broker>) -> Self {
        Self {
            registry,
            broker,
            breakers: Breakers::new(),
            cache: Cache::local(Settings::default()),
        }
    }
}

/// The broker of a service that declares that it uses none: it refuses everything.
pub(crate) struct NoBroker;

#[derive(Debug, thiserror::Error)]
#[error("the service declares that it uses no broker")]
struct Undeclared;

impl NoBroker {
    fn refusal(&self) -> BrokerError {
        BrokerError::Unavailable {
            kind: self.kind(),
            source: Box::new(Undeclared),
        }
    }
}

#[async_trait]
impl Broker for NoBroker {
    async fn declare(&self, _: &Topology) -> Result<(), BrokerError> {
        Err(self.refusal())
    }

    async fn publish(&self, _: Outgoing) -> Result<(), BrokerError> {
        Err(self.refusal())
    }

    async fn consume(&self, _: &str, _: u16, _: Arc<dyn Handler>) -> Result<Consumer, BrokerError> {
        Err(self.refusal())
    }

    async fn depth(&self, _: &str) -> Result<u64, BrokerError> {
        Err(self.refusal())
    }

    fn durable(&self) -> bool {
        false
    }

    fn kind(&self) -> &'static str {
        "absent"
    }

    async fn ping(&self) -> Result<String, BrokerError> {
        Err(self.refusal())
    }
}
