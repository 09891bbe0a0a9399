//! automation-agent as a process.

use std::sync::Arc;

use sutazai_agent_kit::{
    Agent, Links, Models, Worker,
    announce::{announce, announcement},
};
use sutazai_auth::{Identity, grpc, keys::KeyError};
use sutazai_mesh::{catalog::ServiceName, channel::Mesh};
use sutazai_runtime::{
    Parts,
    lifecycle::Shutdown,
    probe::{BrokerProbe, RegistryProbe},
    service::{Addresses, BindError, Process, RunError, Service as RuntimeService},
};

use crate::agent::Planner;
use crate::config::Config;

const NAME: ServiceName = ServiceName::AutomationAgent;

/// automation-agent with its sockets, ready to run.
pub struct Service(Process);

/// Why automation-agent could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A key file can not be used.
    #[error("the keys can not be used")]
    Keys(#[from] KeyError),
    /// A socket can not be had.
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl Config {
    /// Reads the keys, takes the sockets and makes the service.
    ///
    /// # Errors
    /// [`BuildError`]; services and a broker that do not answer are no error.
    pub async fn build(self, parts: Parts) -> Result<Service, BuildError> {
        let identity = Identity::from_files(NAME, &self.service_key_file, &self.jwks_file)?;
        let breakers = parts.breakers.clone();
        let mesh = Mesh::balanced(
            NAME,
            parts.registry.clone(),
            breakers.clone(),
            self.base.balancing.clone(),
        );
        let models = Models::new(mesh.clone(), identity.clone());
        let agent: Arc<dyn Agent> = Arc::new(Planner::new(models, self.policy, self.slots));

        let builder = Process::builder(NAME, &self.base);
        let instance = builder.instance_id().clone();
        let links = Links {
            mesh: mesh.clone(),
            identity: identity.clone(),
            broker: parts.broker.clone(),
            instance: instance.clone(),
        };
        let request = announcement(&*agent);
        let worker = Worker::new(agent, links, self.base.drain_grace);
        let introduction = worker.introduction();
        let process = builder
            .guard(grpc::guard(identity.clone()))
            .operator(grpc::operator)
            .probe(Arc::new(BrokerProbe(parts.broker, NAME)))
            .probe(Arc::new(RegistryProbe(
                parts.registry.clone(),
                NAME,
                instance,
            )))
            .breakers(breakers)
            .first("introduce", move || {
                let introduction = introduction.clone();
                async move { introduction.make().await }
            })
            .background("worker", |stop| worker.run(stop))
            .on_ready("announce", move || {
                announce(request.clone(), mesh.clone(), identity.clone())
            })
            .bind(parts.registry)
            .await?;
        Ok(Service(process))
    }
}

impl RuntimeService for Service {
    const NAME: ServiceName = NAME;

    fn addresses(&self) -> Addresses {
        self.0.addresses()
    }

    async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        self.0.run(shutdown).await
    }
}
