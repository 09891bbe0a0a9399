//! The services in one process: built from the same types that run alone, connected by real gRPC.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sutazai_mesh::{
    catalog::ServiceName,
    registry::{Registry, memory::MemoryRegistry},
};
use sutazai_messaging::{
    Broker,
    memory::{Limits, MemoryBroker},
};
use sutazai_persistence::Cache;
use sutazai_runtime::{
    Parts,
    config::{self, Configured, Source},
    lifecycle::Shutdown,
    service::{Addresses, Service},
};
use sutazai_servers::moved;
use tokio::{sync::watch, task::JoinHandle};

use super::{Error, ServiceError};
use crate::{
    args::DevArgs,
    screen::Screen,
    site::{
        Description, Settings, database::Database, description, folder::Folder, node::Fleet,
        secrets::Secrets,
    },
};

/// Longest time until every service takes work.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Messages that one queue of the in-process broker holds.
const QUEUE_LENGTH: usize = 10_000;

/// What a platform is started with.
pub struct Options {
    /// Arguments of the command.
    pub args: DevArgs,
    /// Settings that hold for every service, below those that make the parts fit together.
    pub source: Source,
    /// Broker in place of the in-process one.
    pub broker: Option<Arc<dyn Broker>>,
    /// Registry in place of the in-process one.
    pub registry: Option<Arc<dyn Registry>>,
    /// Cache in place of the in-process one.
    pub cache: Option<Cache>,
}

impl Options {
    /// Takes the in-process registry, broker and cache.
    pub fn new(args: DevArgs, source: Source) -> Self {
        Self {
            args,
            source,
            broker: None,
            registry: None,
            cache: None,
        }
    }
}

/// A service that runs.
struct Running {
    name: ServiceName,
    addresses: Addresses,
    shutdown: Shutdown,
    // Says how the service ended; `None` while it runs.
    ended: watch::Receiver<Option<Ending>>,
    task: JoinHandle<()>,
}

type Ending = Arc<Result<(), ServiceError>>;

/// The running platform.
pub struct Platform {
    description: Description,
    services: Vec<Running>,
    fleet: Fleet,
    database: Database,
    // Last: the folder stays locked until all else is gone.
    folder: Folder,
}

impl Platform {
    /// Starts everything and returns when every service takes work.
    ///
    /// # Errors
    /// What could not be started, with the way out.
    pub async fn start(options: Options, screen: &Screen) -> Result<Self, Error> {
        let Options {
            args,
            source,
            broker,
            registry,
            cache,
        } = options;
        let step = screen.step("database");
        let kept = moved::resolved(&args.data.join("postgres"));
        let kept = kept.join("PG_VERSION").exists();
        if let (Some(file), true) = (&args.backup, kept) {
            let folder = Folder::open(&args.data, false)?;
            let database = Database::start(&folder).await?;
            database.backup(file).await?;
            database.stop().await;
        }
        let folder = Folder::open(&args.data, args.reset)?;
        let secrets = Secrets::ensure(&folder)?;
        let database = Database::start(&folder).await?;
        step.done(&format!("postgres on port {}", database.server().port()));

        let step = screen.step("model node");
        let fleet = Fleet::find(&source).await?;
        step.done(&fleet.urls().join(", "));
        fleet.note_demo(screen);

        let step = screen.step("services");
        let mut parts = Parts::new(
            registry.unwrap_or_else(|| Arc::new(MemoryRegistry::new())),
            broker.unwrap_or_else(|| {
                Arc::new(MemoryBroker::new(Limits {
                    queue_length: QUEUE_LENGTH,
                }))
            }),
        );
        parts.cache = cache.unwrap_or(parts.cache);
        let settings = Settings {
            secrets: &secrets,
            roles: database.roles(),
            fleet: &fleet,
        };
        let source = |service: ServiceName| -> Source {
            let port = match service {
                ServiceName::Backend => args.port,
                ServiceName::OllamaProxy => args.proxy_port,
                _ => 0,
            };
            let own = settings.of(service, port).into_iter();
            own.fold(source.clone(), |source, (name, value)| {
                source.with(name, value)
            })
        };
        let services = launch_all(&source, &parts).await?;
        let description = Description::new(&folder, &secrets, database.server(), &fleet)
            .with_services(
                services
                    .iter()
                    .map(|service| (service.name, service.addresses)),
            );
        let platform = Self {
            description,
            services,
            fleet,
            database,
            folder,
        };
        platform.ready(&parts).await?;
        let file = platform.folder.path(description::DEV);
        platform.description.write(&file)?;
        step.done(&format!("{} take work", platform.services.len()));
        Ok(platform)
    }

    /// Returns where everything is.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Returns the database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Stops one service and leaves the others alone, as a crash would.
    pub async fn stop_service(&self, name: ServiceName) {
        for service in self.services.iter().filter(|service| service.name == name) {
            service.stop().await;
        }
    }

    /// Returns when a service ends by itself.
    pub async fn failure(&self) -> Error {
        let ends = self
            .services
            .iter()
            .map(|service| Box::pin(service.failure()));
        futures::future::select_all(ends).await.0
    }

    /// Drains the services, callers before those they call, then stops the database.
    pub async fn stop(self) {
        for group in [
            &[ServiceName::Backend][..],
            &[ServiceName::AutomationAgent, ServiceName::AgentOrchestrator],
            &[ServiceName::TaskCoordinator, ServiceName::OllamaProxy],
        ] {
            let members = self
                .services
                .iter()
                .filter(|service| group.contains(&service.name));
            futures::future::join_all(members.map(Running::stop)).await;
        }
        self.fleet.stop().await;
        // Nothing says any more that a platform runs.
        let _ = std::fs::remove_file(self.folder.path(description::DEV));
        self.database.stop().await;
    }

    /// Waits until the registry lists every service; workers brought their task types before that.
    async fn ready(&self, parts: &Parts) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            let missing = self.missing(parts);
            if missing.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > READY_LIMIT {
                return Err(Error::Late {
                    seconds: READY_LIMIT.as_secs(),
                    waiting: missing.join(", "),
                });
            }
            tokio::select! {
                error = self.failure() => return Err(error),
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
    }

    fn missing(&self, parts: &Parts) -> Vec<String> {
        let absent = |name: &ServiceName| parts.registry.watch(*name).current().is_empty();
        let names = self.services.iter().map(|service| service.name);
        names.filter(absent).map(|name| name.to_string()).collect()
    }
}

impl Running {
    async fn stop(&self) {
        self.shutdown.trigger();
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(Option::is_some).await;
    }

    /// Returns when the service ended without having been asked to.
    async fn failure(&self) -> Error {
        let mut ended = self.ended.clone();
        let ending = ended
            .wait_for(Option::is_some)
            .await
            .map(|ending| ending.clone());
        if self.shutdown.is_draining() {
            std::future::pending::<()>().await;
        }
        let source = ending.ok().flatten().and_then(|ending| match &*ending {
            Ok(()) => None,
            Err(error) => Some(error.to_string().into()),
        });
        Error::Ended {
            service: self.name,
            source,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.abort();
        self.task.abort();
    }
}

/// Builds and runs the services, those that are called before their callers.
async fn launch_all(
    source: &impl Fn(ServiceName) -> Source,
    parts: &Parts,
) -> Result<Vec<Running>, Error> {
    Ok(vec![
        launch(source, parts, task_coordinator::Config::build).await?,
        launch(source, parts, ollama_proxy::Config::build).await?,
        launch(source, parts, agent_orchestrator::Config::build).await?,
        launch(source, parts, automation_agent::Config::build).await?,
        launch(source, parts, backend::Config::build).await?,
    ])
}

async fn launch<C, S, E>(
    source: &impl Fn(ServiceName) -> Source,
    parts: &Parts,
    build: impl AsyncFnOnce(C, Parts) -> Result<S, E>,
) -> Result<Running, Error>
where
    C: Configured,
    S: Service,
    E: std::error::Error + Send + Sync + 'static,
{
    let name = C::SERVICE;
    let loaded = config::load::<C>(&source(name)).map_err(|source| Error::Configuration {
        service: name,
        source,
    })?;
    let own = Parts {
        cache: parts.cache.clone(),
        ..Parts::new(parts.registry.clone(), parts.broker.clone())
    };
    let service = build(loaded.config, own)
        .await
        .map_err(|error| Error::Build {
            service: name,
            source: Box::new(error),
        })?;
    let addresses = service.addresses();
    let shutdown = Shutdown::new();
    let (report, ended) = watch::channel(None);
    let run = service.run(shutdown.clone());
    let task = tokio::spawn(async move {
        let ending = run.await.map_err(|error| Box::new(error) as ServiceError);
        report.send_replace(Some(Arc::new(ending)));
    });
    Ok(Running {
        name,
        addresses,
        shutdown,
        ended,
        task,
    })
}
