//! The registry as the supervisor sees it: the same adapter that the services use.

use std::sync::Arc;

use sutazai_mesh::registry::{
    Registry,
    consul::{ConsulRegistry, Settings},
};
use sutazai_resilience::Breakers;

use super::Error;

/// Follows the registry at this address.
pub(super) fn open(address: &str) -> Result<Arc<dyn Registry>, Error> {
    let registry = ConsulRegistry::new(Settings::new(address), &Breakers::new());
    Ok(Arc::new(registry.map_err(Error::Registry)?))
}
