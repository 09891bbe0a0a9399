//! Live checks of the parts a process uses, made with its production clients.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::future::join_all;
use sutazai_mesh::{
    catalog::ServiceName,
    registry::{InstanceId, Registry},
};
use sutazai_messaging::{Broker, Outgoing, topology};
use sutazai_persistence::{Cache, Redis, postgres::Database};
use sutazai_proto::{events::EventType, platform::v1::Echo, status::chain};

/// Longest time that one probe may take, unless it names its own.
pub const LIMIT: Duration = Duration::from_secs(4);

/// Counter of the broker's evidence: echoes that were sent and confirmed.
pub const ECHOES: &str = "echoes";

/// A live check of one part.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// Returns the name of the part, for example `postgres`.
    fn part(&self) -> &'static str;

    /// Returns the key of the part in `/health`; the name of the part by default.
    fn health_key(&self) -> &'static str {
        self.part()
    }

    /// Tells whether the service is useless without the part; otherwise it is only degraded.
    fn required(&self) -> bool {
        true
    }

    /// Uses the part once and tells what was seen.
    ///
    /// # Errors
    ///
    /// Tells why the part does not work and the way out.
    async fn probe(&self) -> Result<Evidence, Failure>;

    /// Looks at the part, every few seconds, for `/health`: the same as [`Self::probe`], unless
    /// using the part costs much more than looking at it.
    ///
    /// # Errors
    ///
    /// Tells why the part does not work and the way out.
    async fn check(&self) -> Result<Evidence, Failure> {
        self.probe().await
    }

    /// Returns the longest time that [`Self::probe`] may take.
    fn limit(&self) -> Duration {
        LIMIT
    }
}

/// What a successful probe saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Readable alone: `wrote and read row 41 in 1.2 ms`.
    pub text: String,
    /// Totals that show real work through the part, by name.
    pub counters: BTreeMap<String, u64>,
}

impl Evidence {
    /// Makes evidence without counters.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            counters: BTreeMap::new(),
        }
    }
}

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Failure {
    /// The cause and the way out.
    pub cause: String,
}

impl Failure {
    /// Makes a failure from its cause.
    pub fn new(cause: impl Display) -> Self {
        Self {
            cause: cause.to_string(),
        }
    }
}

/// The outcome of one probe.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Name of the part.
    pub part: &'static str,
    /// Key of the part in `/health`.
    pub health_key: &'static str,
    /// Whether the service is useless without the part.
    pub required: bool,
    /// What was seen.
    pub result: Result<Evidence, Failure>,
    /// How long it took.
    pub took: Duration,
}

/// Uses the parts at the same time, each within its limit; the outcomes keep their order.
pub async fn run(probes: &[Arc<dyn Probe>]) -> Vec<Outcome> {
    join_all(
        probes
            .iter()
            .map(|probe| watch(&**probe, probe.limit(), probe.probe())),
    )
    .await
}

/// Looks at the parts at the same time, each within [`LIMIT`]; the outcomes keep their order.
pub async fn check(probes: &[Arc<dyn Probe>]) -> Vec<Outcome> {
    join_all(
        probes
            .iter()
            .map(|probe| watch(&**probe, LIMIT, probe.check())),
    )
    .await
}

async fn watch(
    probe: &dyn Probe,
    limit: Duration,
    look: impl Future<Output = Result<Evidence, Failure>>,
) -> Outcome {
    let started = Instant::now();
    let result = tokio::time::timeout(limit, look).await;
    Outcome {
        part: probe.part(),
        health_key: probe.health_key(),
        required: probe.required(),
        result: result.unwrap_or_else(|_| {
            let seconds = limit.as_secs();
            Err(Failure::new(format!("no answer within {seconds} s")))
        }),
        took: started.elapsed(),
    }
}

/// Probes the database: required, `database` in `/health`.
pub struct Postgres(pub Database);

#[async_trait]
impl Probe for Postgres {
    fn part(&self) -> &'static str {
        "postgres"
    }

    fn health_key(&self) -> &'static str {
        "database"
    }

    async fn probe(&self) -> Result<Evidence, Failure> {
        let text = self
            .0
            .ping()
            .await
            .map_err(|error| Failure::new(chain(&error)))?;
        let pool = self.0.pool_stats();
        let counters = [("connections", pool.size), ("connections_idle", pool.idle)];
        Ok(Evidence {
            text,
            counters: counters
                .into_iter()
                .map(|(name, count)| (name.to_owned(), u64::from(count)))
                .collect(),
        })
    }
}

/// Probes the message broker: required, `broker` in `/health`.
///
/// A look sends a message through a queue of its own. The probe also sends an echo the way that results go:
/// who asked for it sees in the counters of those who consume them whether it arrived.
pub struct BrokerProbe(
    /// The broker.
    pub Arc<dyn Broker>,
    /// The service that sends.
    pub ServiceName,
);

#[async_trait]
impl Probe for BrokerProbe {
    fn part(&self) -> &'static str {
        "broker"
    }

    async fn probe(&self) -> Result<Evidence, Failure> {
        let Evidence { text, .. } = self.check().await?;
        let Self(broker, service) = self;
        let exchange = topology::EVENTS;
        let echo = Outgoing::event(service.as_str(), exchange, Echo::NAME, &Echo {});
        let started = Instant::now();
        broker
            .publish(echo)
            .await
            .map_err(|error| Failure::new(chain(&error)))?;
        let took = started.elapsed().as_micros();
        Ok(Evidence {
            text: format!("{text}; an echo to `{exchange}` was confirmed in {took} µs"),
            counters: [(ECHOES.to_owned(), 1)].into(),
        })
    }

    async fn check(&self) -> Result<Evidence, Failure> {
        let text = self
            .0
            .ping()
            .await
            .map_err(|error| Failure::new(chain(&error)))?;
        Ok(Evidence::new(format!("{}: {text}", self.0.kind())))
    }
}

/// Probes the shared level of the cache: not required, because the local level goes on alone.
pub struct CacheProbe(Cache);

impl CacheProbe {
    /// Makes the probe of a cache that has a Redis; one without has nothing that could fail.
    pub fn of(cache: &Cache) -> Option<Arc<dyn Probe>> {
        cache.redis()?;
        Some(Arc::new(Self(cache.clone())))
    }
}

#[async_trait]
impl Probe for CacheProbe {
    fn part(&self) -> &'static str {
        "redis"
    }

    fn required(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<Evidence, Failure> {
        let text = self.0.check().await.map_err(|error| {
            let cause = chain(&error);
            Failure::new(format!(
                "degraded, this process caches and counts for itself: {cause}"
            ))
        })?;
        let answered = self.0.redis().map_or(0, Redis::answered);
        let total = self.0.stats().await.total();
        let counters = [
            ("redis_operations", answered),
            ("local_hits", total.local_hits),
            ("shared_hits", total.shared_hits),
            ("misses", total.misses),
        ];
        Ok(Evidence {
            text,
            counters: counters
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
        })
    }
}

/// Probes the registry: not required, because what is known stays usable without it.
///
/// A look asks the registry. The probe also wants the watch of the instance's own service to list it.
pub struct RegistryProbe(
    /// The registry.
    pub Arc<dyn Registry>,
    /// The service that asks.
    pub ServiceName,
    /// The instance that asks.
    pub InstanceId,
);

#[async_trait]
impl Probe for RegistryProbe {
    fn part(&self) -> &'static str {
        "registry"
    }

    fn required(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<Evidence, Failure> {
        let evidence = self.check().await?;
        let Self(registry, service, id) = self;
        let known = registry.watch(*service).current();
        if known.iter().all(|instance| instance.id != *id) {
            let kind = registry.kind();
            return Err(Failure::new(format!(
                "{kind}: {id} does not find itself among the instances of {service}"
            )));
        }
        Ok(evidence)
    }

    async fn check(&self) -> Result<Evidence, Failure> {
        let Self(registry, service, _) = self;
        let text = registry
            .ping()
            .await
            .map_err(|error| Failure::new(chain(&error)))?;
        let instances = registry.watch(*service).current().len();
        Ok(Evidence {
            text: format!(
                "{}: {text}; {instances} of {service} known",
                registry.kind()
            ),
            counters: [("instances".to_owned(), instances as u64)].into(),
        })
    }
}
