//! The platform as the backend sees it now: its own parts, and every instance that is registered.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use sutazai_auth::Principal;
use sutazai_mesh::{catalog::ServiceName, registry::Instance};
use sutazai_persistence::postgres::{Database, PoolStats};
use sutazai_proto::{
    Coded,
    platform::v1::{DescribeRequest, DescribeResponse, diagnostics_client::DiagnosticsClient},
};
use sutazai_resilience::Deadline;
use sutazai_runtime::probe::{self, Outcome, Probe};

use crate::{error::Error, peers::Peers, resources::Resources};

/// Longest time until all instances are found and have described themselves.
const DESCRIBE: Duration = Duration::from_secs(2);

/// Looks at the platform.
#[derive(Clone)]
pub(crate) struct System {
    peers: Peers,
    database: Database,
    probes: Arc<[Arc<dyn Probe>]>,
}

/// What was seen.
pub(crate) struct Status {
    pub(crate) dependencies: Vec<Outcome>,
    pub(crate) registry: &'static str,
    pub(crate) services: Vec<ServiceStatus>,
    pub(crate) resources: Resources,
    pub(crate) pool: PoolStats,
}

/// One service and its instances.
pub(crate) struct ServiceStatus {
    pub(crate) name: ServiceName,
    pub(crate) instances: Vec<InstanceStatus>,
}

/// One registered instance, and what it says about itself.
pub(crate) struct InstanceStatus {
    pub(crate) instance: Instance,
    pub(crate) description: Result<DescribeResponse, Error>,
}

impl System {
    pub(crate) fn new(peers: Peers, database: Database, probes: Arc<[Arc<dyn Probe>]>) -> Self {
        Self {
            peers,
            database,
            probes,
        }
    }

    /// Probes the parts and asks every instance, all at the same time.
    pub(crate) async fn look(&self, principal: &Principal) -> Status {
        let services = Peers::services();
        let services = join_all(services.map(|name| self.service(name, principal)));
        let (dependencies, services) = tokio::join!(probe::run(&self.probes), services);
        Status {
            dependencies,
            registry: self.peers.registry_kind(),
            services,
            resources: Resources::read(),
            pool: self.database.pool_stats(),
        }
    }

    async fn service(&self, name: ServiceName, principal: &Principal) -> ServiceStatus {
        let deadline = Deadline::after(DESCRIBE);
        let known = self.peers.instances(name, deadline).await;
        let instances = known.iter().map(async |instance| InstanceStatus {
            instance: instance.clone(),
            description: self.describe(instance, deadline, principal).await,
        });
        ServiceStatus {
            name,
            instances: join_all(instances).await,
        }
    }

    async fn describe(
        &self,
        instance: &Instance,
        deadline: Deadline,
        principal: &Principal,
    ) -> Result<DescribeResponse, Error> {
        self.peers
            .call_instance(
                deadline,
                instance,
                principal,
                DescribeRequest {},
                async |edge, request| DiagnosticsClient::new(edge).describe(request).await,
            )
            .await
    }
}

impl Status {
    /// Tells whether every part works and every service has an instance that is ready.
    pub(crate) fn is_whole(&self) -> bool {
        self.dependencies.iter().all(|part| part.result.is_ok())
            && self.services.iter().all(ServiceStatus::is_ready)
    }
}

impl ServiceStatus {
    fn is_ready(&self) -> bool {
        self.instances
            .iter()
            .any(|one| one.description.as_ref().is_ok_and(|said| said.ready))
    }
}

impl InstanceStatus {
    /// Returns the stable reason why the instance did not describe itself.
    pub(crate) fn fault(&self) -> Option<String> {
        self.description
            .as_ref()
            .err()
            .map(|error| error.reason().to_owned())
    }
}
