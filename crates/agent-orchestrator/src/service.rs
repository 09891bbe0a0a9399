//! agent-orchestrator as a process.

use std::sync::Arc;

use sutazai_agent_kit::{Agent, Links, Models, Worker, announce::announcement};
use sutazai_auth::{Identity, grpc as doors, keys::KeyError};
use sutazai_mesh::{catalog::ServiceName, channel::Mesh};
use sutazai_persistence::{
    Database, DatabaseError,
    migrate::{self, MigrateError},
};
use sutazai_runtime::{
    Parts,
    lifecycle::Shutdown,
    probe::{BrokerProbe, Postgres, RegistryProbe},
    service::{Addresses, BindError, Process, RunError, Service as RuntimeService},
};

use crate::{
    agents::{Agents, Announcement},
    config::Config,
    generate::Generator,
    grpc,
    store::{MIGRATOR, Store},
};

const NAME: ServiceName = ServiceName::AgentOrchestrator;

/// agent-orchestrator with its sockets, ready to run.
pub struct Service(Process);

/// Why agent-orchestrator could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The database can not be reached.
    #[error("the database can not be used")]
    Database(#[from] DatabaseError),
    /// The schema is not the one that this binary was built for.
    #[error("the schema of the database does not fit")]
    Schema(#[from] MigrateError),
    /// A key file can not be used.
    #[error("the keys can not be used")]
    Keys(#[from] KeyError),
    /// A socket can not be had.
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl Config {
    /// Connects, checks the schema and takes the sockets.
    ///
    /// # Errors
    /// A part that the service can not do without is missing; the error names it.
    pub async fn build(self, parts: Parts) -> Result<Service, BuildError> {
        let breakers = parts.breakers.clone();
        let database = Database::connect(&self.database, &breakers).await?;
        migrate::verify(&database, &MIGRATOR).await?;
        let identity = Identity::from_files(NAME, &self.service_key_file, &self.jwks_file)?;
        let Parts {
            registry,
            broker,
            cache,
            ..
        } = parts;
        let mesh = Mesh::balanced(
            NAME,
            registry.clone(),
            breakers.clone(),
            self.base.balancing.clone(),
        );

        let agents = Agents::new(Store::new(database.clone()), registry.clone(), cache);
        let models = Models::new(mesh.clone(), identity.clone());
        let agent: Arc<dyn Agent> = Arc::new(Generator::new(models, self.slots));
        let own = announcement(&*agent);

        let builder = Process::builder(NAME, &self.base);
        let instance = builder.instance_id().clone();
        let links = Links {
            mesh,
            identity: identity.clone(),
            broker: broker.clone(),
            instance: instance.clone(),
        };
        let worker = Worker::new(agent, links, self.base.drain_grace);
        let introduction = worker.introduction();
        let process = builder
            .grpc(grpc::routes(agents.clone()))
            .guard(doors::guard(identity))
            .operator(doors::operator)
            .breakers(breakers)
            .probe(Arc::new(Postgres(database)))
            .probe(Arc::new(BrokerProbe(broker, NAME)))
            .probe(Arc::new(RegistryProbe(registry.clone(), NAME, instance)))
            .first("introduce", move || {
                let introduction = introduction.clone();
                async move { introduction.make().await }
            })
            .background("worker", |stop| worker.run(stop))
            // The way of every agent, less the network: this service owns the table.
            .on_ready("announce", move || {
                let (agents, own) = (agents.clone(), own.clone());
                async move { agents.announce(&Announcement::parse(own)?).await }
            })
            .bind(registry)
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
