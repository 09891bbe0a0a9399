//! What this process declared, to be declared again when it is gone.

use std::sync::Arc;

use parking_lot::Mutex;

use super::declare;
use super::link::Link;
use crate::broker::BrokerError;
use crate::message::Outgoing;
use crate::topology::{Queue, Topology};

/// The topology as far as this process knows it; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    link: Link,
    topology: Arc<Mutex<Topology>>,
}

impl Declared {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            topology: Arc::default(),
        }
    }

    /// Declares a topology, and remembers it.
    pub(super) async fn add(&self, topology: &Topology) -> Result<(), BrokerError> {
        declare::declare(&self.link, topology).await?;
        self.topology.lock().merge(topology);
        Ok(())
    }

    /// Declares everything once more, because something of it is missing.
    pub(super) async fn restore(&self) -> Result<(), BrokerError> {
        let topology = self.topology.lock().clone();
        tracing::warn!("part of the topology is gone, declaring it again");
        declare::declare(&self.link, &topology).await
    }

    pub(super) fn queue(&self, name: &str) -> Option<Queue> {
        self.topology.lock().queue(name).cloned()
    }

    pub(super) fn has_exchange(&self, name: &str) -> bool {
        self.topology.lock().exchange(name).is_some()
    }

    /// Tells whether what the exchange can not route is caught.
    pub(super) fn has_alternate(&self, exchange: &str) -> bool {
        let topology = self.topology.lock();
        topology
            .exchange(exchange)
            .is_some_and(|found| found.alternate.is_some())
    }

    /// Names the queue that a message is for, as well as it can be known here.
    pub(super) fn target(&self, message: &Outgoing) -> String {
        if message.exchange.is_empty() {
            return message.routing_key.clone();
        }
        let topology = self.topology.lock();
        let mut targets = topology.targets(&message.exchange, &message.routing_key);
        targets.next().unwrap_or(&message.routing_key).to_owned()
    }
}
