//! The task coordinator as a process: built from its settings, then run.

use std::sync::Arc;

use async_trait::async_trait;
use sutazai_auth::{Identity, grpc as doors, keys::KeyError};
use sutazai_mesh::catalog::ServiceName;
use sutazai_messaging::{Broker, BrokerError, Consumer, Handler, topology};
use sutazai_persistence::{
    Database, DatabaseError,
    migrate::{self, MigrateError},
};
use sutazai_runtime::{
    Parts,
    lifecycle::Shutdown,
    probe::{BrokerProbe, Evidence, Failure, Postgres, Probe, RegistryProbe},
    service::{self, Addresses, BindError, Process, RunError},
};
use tokio_util::sync::CancellationToken;

use crate::answer::{AnswerRelay, Answers};
use crate::config::Config;
use crate::consumer::{Events, Rejected, Unroutable};
use crate::dead_letter::DeadLetters;
use crate::desk;
use crate::grpc;
use crate::intake::Intake;
use crate::lease::Leases;
use crate::outbox::{Bell, Relay};
use crate::reaper::Reaper;
use crate::results::Results;
use crate::retention;
use crate::store::{MIGRATOR, Store};
use crate::tasks::Tasks;
use crate::watch::Watchers;

const NAME: ServiceName = ServiceName::TaskCoordinator;
/// Results that are applied at once: as many as share a transaction.
const EVENTS_AT_ONCE: u16 = desk::BATCH;
/// Submissions that are stored at once.
const INTAKE_AT_ONCE: u16 = 16;
/// Rare messages need no haste.
const RARE_AT_ONCE: u16 = 2;

/// The task coordinator with its sockets, ready to run.
pub struct Service(Process);

/// Why the task coordinator could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The database can not be reached.
    #[error("the database can not be used")]
    Database(#[from] DatabaseError),
    /// The schema is not the one that this binary was built for.
    #[error("the schema of the database does not fit")]
    Schema(#[from] MigrateError),
    /// A key file can not be used.
    #[error("a key can not be used")]
    Key(#[from] KeyError),
    /// The sockets can not be taken.
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl Config {
    /// Connects, checks the schema and takes the sockets.
    ///
    /// # Errors
    /// A part that the task coordinator can not do without is missing; the error names it.
    pub async fn build(self, parts: Parts) -> Result<Service, BuildError> {
        let breakers = parts.breakers.clone();
        let database = Database::connect(&self.database, &breakers).await?;
        migrate::verify(&database, &MIGRATOR).await?;
        let identity = Identity::from_files(NAME, &self.service_key_file, &self.jwks_file)?;

        let Parts {
            registry, broker, ..
        } = parts;
        let store = Store::new(database.clone(), self.rules);
        let (watchers, bell) = (Watchers::default(), Bell::default());
        let tasks = Tasks::new(store.clone(), watchers.clone(), bell.clone());
        let leases = Leases::new(store.clone(), watchers.clone(), bell.clone());
        let reaper = Reaper::new(store.clone(), watchers.clone(), bell.clone());
        let relay = Relay::new(
            store.clone(),
            broker.clone(),
            watchers.clone(),
            bell.clone(),
        );
        let results = Results::new(store.clone(), watchers.clone(), bell);
        let letters = DeadLetters::new(store.clone(), broker.clone());
        let answers = Answers::new(broker.clone(), self.rules.publish);
        let told = AnswerRelay::new(store.clone(), answers.clone(), watchers.clone());
        let intake_stops = CancellationToken::new();
        let intake = Arc::new(Intake {
            tasks: tasks.clone(),
            producers: self.producers,
            answers,
            stopping: intake_stops.clone(),
        });
        let events = Events {
            tasks: tasks.clone(),
            results,
        };
        let unroutable = Unroutable {
            intake: Arc::clone(&intake),
            events: events.clone(),
            relay: relay.clone(),
            letters: letters.clone(),
        };
        let rejected = Rejected {
            events: events.clone(),
            letters: letters.clone(),
        };

        let builder = Process::builder(NAME, &self.base);
        let instance = builder.instance_id().clone();
        let mut builder = builder
            .grpc(grpc::routes(tasks, leases, letters))
            .guard(doors::guard(identity))
            .operator(doors::operator)
            .breakers(breakers)
            .probe(Arc::new(Postgres(database)))
            .probe(Arc::new(Degrading(BrokerProbe(broker.clone(), NAME))))
            .probe(Arc::new(RegistryProbe(registry.clone(), NAME, instance)));
        let handlers: [(&'static str, u16, Arc<dyn Handler>); 4] = [
            (
                topology::COORDINATOR_EVENTS,
                EVENTS_AT_ONCE,
                Arc::new(events),
            ),
            (topology::INTAKE, INTAKE_AT_ONCE, intake),
            (topology::UNROUTABLE, RARE_AT_ONCE, Arc::new(unroutable)),
            (topology::DEAD_LETTERS, RARE_AT_ONCE, Arc::new(rejected)),
        ];
        for (queue, at_once, handler) in handlers {
            let broker = broker.clone();
            builder = builder.consumer(queue, move || {
                consume(broker.clone(), queue, at_once, handler.clone())
            });
        }
        let (news, news_store) = (watchers.clone(), store.clone());
        let (hears, heard_store) = (watchers.clone(), store.clone());
        let ages = self.ages;
        let process = builder
            .background("outbox-relay", async move |stop| relay.run(&stop).await)
            .background("task-answers", async move |stop| told.run(&stop).await)
            .background("task-intake", async move |stop| {
                stop.cancelled().await;
                intake_stops.cancel();
            })
            .background("reaper", async move |stop| reaper.run(&stop).await)
            .background("task-news", async move |stop| {
                news.announce(&news_store, &stop).await;
            })
            .background("task-listener", async move |stop| {
                hears.listen(&heard_store, &stop).await;
            })
            .background("task-retention", async move |stop| {
                retention::run(&store, &ages, &stop).await;
            })
            // Streams without an end would hold up the drain; clients resume elsewhere.
            .background("watch-streams", async move |stop| {
                stop.cancelled().await;
                watchers.close();
            })
            .bind(registry)
            .await?;
        Ok(Service(process))
    }
}

impl service::Service for Service {
    const NAME: ServiceName = NAME;

    fn addresses(&self) -> Addresses {
        self.0.addresses()
    }

    async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        self.0.run(shutdown).await
    }
}

async fn consume(
    broker: Arc<dyn Broker>,
    queue: &'static str,
    at_once: u16,
    handler: Arc<dyn Handler>,
) -> Result<Consumer, BrokerError> {
    broker.declare(&topology::platform()).await?;
    broker.consume(queue, at_once, handler).await
}

/// A part whose absence only degrades: without a broker tasks are accepted, shown and cancelled.
struct Degrading(BrokerProbe);

#[async_trait]
impl Probe for Degrading {
    fn part(&self) -> &'static str {
        self.0.part()
    }

    fn required(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<Evidence, Failure> {
        self.0.probe().await
    }

    async fn check(&self) -> Result<Evidence, Failure> {
        self.0.check().await
    }
}
