//! What services share.

use std::sync::Arc;

use sutazai_mesh::registry::Registry;
use sutazai_messaging::Broker;
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
