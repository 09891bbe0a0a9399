//! What services share within one process.

use std::sync::Arc;

use sutazai_mesh::registry::Registry;
use sutazai_messaging::Broker;

/// The parts that a service does not make itself, because others must see the same ones.
#[derive(Clone)]
pub struct Parts {
    /// Who is where.
    pub registry: Arc<dyn Registry>,
    /// Where messages go.
    pub broker: Arc<dyn Broker>,
}
