//! The first word of a worker: which task types it brings.

use super::{coordinator::Coordinator, heartbeat::credits};
use crate::{Capability, Failure};

/// Makes the task types of an agent known to the coordinator.
///
/// Said before the agent registers, so that whoever finds the agent can submit its tasks: the
/// coordinator refuses a type that nobody has brought.
#[derive(Clone)]
pub struct Introduction {
    coordinator: Coordinator,
    capabilities: Vec<Capability>,
}

impl Introduction {
    pub(super) fn new(coordinator: Coordinator, capabilities: Vec<Capability>) -> Self {
        Self {
            coordinator,
            capabilities,
        }
    }

    /// Says it once, without a free slot: nothing is assigned before the worker runs.
    ///
    /// # Errors
    /// Fails when the coordinator does not answer yet or refuses.
    pub async fn make(&self) -> Result<(), Failure> {
        let credits = credits(&self.capabilities, 0);
        self.coordinator.heartbeat(credits, Vec::new()).await?;
        Ok(())
    }
}
