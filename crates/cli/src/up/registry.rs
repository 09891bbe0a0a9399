//! The registry as the supervisor sees it: started with everybody's rights, and asked by the same
//! adapter that the services use.

use std::{path::PathBuf, sync::Arc};

use sutazai_mesh::registry::{
    Registry,
    consul::{ConsulRegistry, Settings},
};
use sutazai_resilience::Breakers;
use sutazai_servers::consul::{Consul, Options};

use super::{Error, plan::StartError};
use crate::{configuration::SERVICES, enroll};

/// How Consul is started.
#[derive(Clone, Debug)]
pub(super) struct Guarded {
    pub(super) options: Options,
    /// Folder with everybody's tokens.
    pub(super) secrets: PathBuf,
}

impl Guarded {
    /// Starts Consul and tells it who may do what; that is known from then on, so it is quick when
    /// Consul is started again.
    pub(super) async fn start(self) -> Result<Consul, StartError> {
        let consul = Consul::start(self.options).await?;
        match enroll::on_this_machine(&consul.address(), &self.secrets).await {
            Ok(()) => Ok(consul),
            Err(error) => {
                consul.stop().await;
                Err(error.into())
            }
        }
    }

    /// Takes out the services that a killed platform left: they are gone, and whoever listens on
    /// their ports by now would pass for them.
    pub(super) async fn sweep(&self, address: &str) -> Result<(), Error> {
        let registry = self.with_rights_of(enroll::OPERATOR, address)?;
        for service in SERVICES {
            for left in registry.entered(service).await.map_err(Error::Sweep)? {
                registry.take_out(&left.id).await.map_err(Error::Sweep)?;
            }
        }
        Ok(())
    }

    /// Follows the registry.
    pub(super) fn open(&self, address: &str) -> Result<Arc<dyn Registry>, Error> {
        Ok(Arc::new(self.with_rights_of(enroll::PAGES, address)?))
    }

    fn with_rights_of(&self, name: &str, address: &str) -> Result<ConsulRegistry, Error> {
        let token = enroll::token(&enroll::token_file(&self.secrets, name))?;
        let settings = Settings {
            token: Some(token),
            ..Settings::new(address)
        };
        ConsulRegistry::new(settings, &Breakers::new()).map_err(Error::Registry)
    }
}
