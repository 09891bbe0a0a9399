//! Consul, used as every service uses it: entered, found again, left.

use std::{collections::BTreeMap, time::Duration};

use sutazai_mesh::{
    catalog::ServiceName,
    registry::{
        Instance, InstanceId, Registry, RegistryError,
        consul::{ConsulRegistry, Settings},
    },
};
use sutazai_proto::status::chain;
use sutazai_resilience::Breakers;
use tokio::time::{Instant, sleep, timeout};

use super::Error;
use crate::{configuration::SERVICES, enroll, site::description::Servers};

/// Longest time for Consul to list who is entered.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pause between two looks.
const PACE: Duration = Duration::from_millis(5);
/// The doctor as a service: nobody calls it.
const OWN: ServiceName = ServiceName::Cli;

/// The registry of a platform of many processes.
pub(super) struct Consul {
    registry: ConsulRegistry,
}

impl Consul {
    pub(super) fn new(servers: &Servers) -> Result<Self, Error> {
        let settings = Settings {
            token: Some(enroll::token(&servers.consul_token_file)?),
            ..Settings::new(&servers.consul)
        };
        let registry = ConsulRegistry::new(settings, &Breakers::new())?;
        Ok(Self { registry })
    }

    /// Lists every instance that is entered, whatever its checks say.
    pub(super) async fn entered(
        &self,
    ) -> Result<BTreeMap<ServiceName, Vec<Instance>>, RegistryError> {
        let lists = SERVICES.map(async |name| Ok((name, self.registry.entered(name).await?)));
        futures::future::try_join_all(lists)
            .await
            .map(|lists| lists.into_iter().collect())
    }

    /// Registers this process, finds it by a watch whose index has moved, and leaves again.
    pub(super) async fn visit(&self) -> Result<String, String> {
        let mut watch = self.registry.watch(OWN);
        let before = timeout(PATIENCE, self.index_after(None)).await;
        let before = before.map_err(|_| self.unanswered("a watch got no answer"))?;
        let id = InstanceId::new(format!("{OWN}-{:08x}", rand::random::<u32>()));
        let begun = Instant::now();
        let registered = self.registry.register(guest(id.clone())).await;
        let lease = registered.map_err(|error| chain(&error))?;
        let found = timeout(PATIENCE, async {
            while watch.current().iter().all(|one| one.id != id) && watch.changed().await {}
            // The list is told a moment before its index.
            self.index_after(Some(before)).await
        });
        let (found, took) = (found.await, begun.elapsed().as_millis());
        lease.close().await.map_err(|error| chain(&error))?;
        let after = found.map_err(|_| {
            self.unanswered(&format!(
                "{id} was registered, and no watch found it with an index beyond {before}"
            ))
        })?;
        Ok(format!(
            "{id} registered and was found {took} ms later, the index went from {before} to {after}"
        ))
    }

    /// Waits for an answer to the watch with another index.
    async fn index_after(&self, before: Option<u64>) -> u64 {
        loop {
            match self.index_now() {
                Some(index) if before != Some(index) => return index,
                _ => sleep(PACE).await,
            }
        }
    }

    /// Adds why the last query of the watch brought nothing.
    fn unanswered(&self, what: &str) -> String {
        let progress = self.registry.progress();
        let failure = progress
            .get(OWN.as_str())
            .and_then(|one| one.failure.as_ref());
        failure.map_or_else(|| what.to_owned(), |failure| format!("{what}: {failure}"))
    }

    fn index_now(&self) -> Option<u64> {
        self.registry.progress().get(OWN.as_str())?.index
    }
}

/// This process as an instance without a port: it says by itself that it is alive.
fn guest(id: InstanceId) -> Instance {
    Instance {
        id,
        service: OWN,
        grpc: ([127, 0, 0, 1], 0).into(),
        http: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        meta: BTreeMap::new(),
    }
}
