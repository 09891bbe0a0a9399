//! The process in the background that holds all others.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use sutazai_mesh::{catalog::ServiceName, registry::Registry};
use sutazai_proto::status::chain;
use sutazai_runtime::{lifecycle, lifecycle::Shutdown};
use sutazai_telemetry::Format;
use tokio::task::JoinHandle;
use tracing::info;

use super::{
    Error, LOGS,
    board::Board,
    gateway,
    keeper::Keeper,
    logs,
    nodes::Nodes,
    plan::{Fresh, Running, start_all, stop_all},
    ports::Ports,
    servers::Servers,
    services::{Instance, Services},
};
use crate::{
    args::SuperviseArgs,
    configuration::SERVICES,
    screen::Screen,
    site::{
        self, Description, Settings,
        database::Roles,
        description::{UP, UP_FOLDER},
        folder::Folder,
        node::Fleet,
        secrets::Secrets,
    },
};

/// Longest time until every service takes work.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// Time for a process that is being started to ask for the signal at our end.
const SETTLE: Duration = Duration::from_millis(500);
/// Lines of the log of a service that ended too early.
const LAST_LINES: usize = 20;
/// Services in the order of the stop: callers before those they call. Servers come last.
const STOPS: [&[ServiceName]; 3] = [
    &[ServiceName::Backend],
    &[ServiceName::AutomationAgent, ServiceName::AgentOrchestrator],
    &[ServiceName::TaskCoordinator, ServiceName::OllamaProxy],
];

/// Holds the platform until a signal; progress goes to standard output, one JSON document a line.
///
/// # Errors
/// What could not be started, with the way out.
pub async fn command(args: SuperviseArgs, screen: &Screen) -> Result<(), Error> {
    let config = sutazai_telemetry::Config {
        // Lines on standard error: standard output is for the progress.
        format: Format::Human,
        filter: std::env::var("RUST_LOG")
            .unwrap_or_else(|_| sutazai_telemetry::DEFAULT_FILTER.to_owned()),
        ..sutazai_telemetry::Config::default()
    };
    // Without a subscriber the platform still works, so a failure here ends nothing.
    let _telemetry = sutazai_telemetry::init(&config).ok();
    let shutdown = Shutdown::new();
    let signals = tokio::spawn(lifecycle::signals(shutdown.clone()));
    let platform = tokio::select! {
        platform = Box::pin(Platform::start(&args, screen)) => platform?,
        () = shutdown.draining() => {
            // What was just being started learns of our end only once it has asked to be told.
            tokio::time::sleep(SETTLE).await;
            return Ok(());
        }
    };
    screen.event(&serde_json::json!({
        "event": "ready", "platform": platform.board.description(),
    }));
    info!("platform ready");
    shutdown.draining().await;
    platform.stop().await;
    info!("platform stopped");
    signals.abort();
    Ok(())
}

struct Platform {
    board: Board,
    services: Vec<(ServiceName, Keeper)>,
    servers: Vec<Keeper>,
    gateway: Option<Keeper>,
    background: Vec<JoinHandle<()>>,
    fleet: Fleet,
    // Last: the folder stays locked until all else is gone.
    folder: Folder,
}

/// The services while they are not kept yet.
struct Started {
    board: Board,
    registry: Arc<dyn Registry>,
    services: Vec<Fresh<Instance>>,
    gateway: Option<Fresh<&'static str>>,
    fleet: Fleet,
}

impl Platform {
    async fn start(args: &SuperviseArgs, screen: &Screen) -> Result<Self, Error> {
        let folder = Folder::open(&args.data.join(UP_FOLDER), args.reset)?;
        let ports = if args.free_ports {
            Ports::free().map_err(site::Error::Secrets)?
        } else {
            Ports::documented(args.replicas)?
        };
        let logs = folder.path(LOGS);
        fs::create_dir_all(&logs).map_err(site::Error::Secrets)?;

        let step = screen.step("servers");
        let servers = Servers::plan(&folder, &ports)?;
        let mut running = servers.start().await?;
        step.done("postgres, redis, rabbitmq, consul");
        let started = match Nodes::find(&folder, &ports, screen).await {
            Ok(Nodes { fleet, own }) => {
                running.extend(own);
                for (name, _, running) in &running {
                    link_log(&logs, name, running);
                }
                start_services(args, &folder, &ports, &servers, &running, fleet, screen).await
            }
            Err(error) => Err(error),
        };
        let started = match started {
            Ok(started) => started,
            Err(error) => {
                // Nothing is left when we say that it failed.
                stop_all(running).await;
                return Err(error);
            }
        };
        Ok(Self::keep(started, running, folder, logs))
    }

    /// Hands every process to a keeper.
    fn keep(
        started: Started,
        servers: Vec<Fresh<&'static str>>,
        folder: Folder,
        logs: PathBuf,
    ) -> Self {
        let Started {
            board,
            registry,
            services,
            gateway,
            fleet,
        } = started;
        let keep = |name: String, plan, running| Keeper::new(name, plan, running, board.clone());
        let services = services.into_iter().map(|(instance, plan, running)| {
            let Instance { service, name } = instance;
            (service, keep(name, plan, running))
        });
        let services = services.collect();
        let keep = |(name, plan, running): Fresh<&str>| keep(name.to_owned(), plan, running);
        let servers = servers.into_iter().map(&keep).collect();
        let gateway = gateway.map(keep);
        board.locate(&*registry);
        let background = vec![
            tokio::spawn(board.clone().follow(registry)),
            tokio::spawn(logs::keep_short(logs)),
        ];
        Self {
            board,
            services,
            servers,
            gateway,
            background,
            fleet,
            folder,
        }
    }

    /// Drains the services, callers before those they call, then stops the servers.
    async fn stop(mut self) {
        for task in &self.background {
            task.abort();
        }
        if let Some(gateway) = self.gateway.take() {
            gateway.stop().await;
        }
        let gateway = self.board.description().gateway;
        if let Some(container) = gateway.and_then(|gateway| gateway.container) {
            gateway::container::remove(&container).await;
        }
        for group in STOPS {
            let members = self
                .services
                .extract_if(.., |(service, _)| group.contains(service));
            let stops: Vec<_> = members.map(|(_, keeper)| keeper.stop()).collect();
            futures::future::join_all(stops).await;
        }
        self.fleet.stop().await;
        futures::future::join_all(self.servers.into_iter().map(Keeper::stop)).await;
        // Nothing says any more that a platform runs.
        let _ = fs::remove_file(self.folder.path(UP));
    }
}

/// Prepares the database and starts the services.
async fn start_services(
    args: &SuperviseArgs,
    folder: &Folder,
    ports: &Ports,
    servers: &Servers,
    running: &[Fresh<&'static str>],
    fleet: Fleet,
    screen: &Screen,
) -> Result<Started, Error> {
    let postgres = running.iter().find_map(|(.., running)| match running {
        Running::Postgres(server) => Some(server),
        _ => None,
    });
    let postgres = postgres.ok_or_else(|| Error::GaveUp("no postgres was planned".to_owned()))?;
    let step = screen.step("schemas");
    let secrets = Secrets::ensure(folder)?;
    let roles = Roles::prepare(folder, postgres).await?;
    step.done("of this version");

    let step = screen.step("services");
    let mut description = Description::new(folder, &secrets, postgres, &fleet);
    description.servers = Some(servers.description.clone());
    // Of several instances, the first is the door that people and scripts are told of.
    description.api = ports.door(ServiceName::Backend);
    description.models = ports.door(ServiceName::OllamaProxy);
    let address = &servers.description.consul;
    servers.registry.sweep(address).await?;
    let registry = servers.registry.open(address)?;
    let services = Services {
        settings: Settings {
            secrets: &secrets,
            roles: &roles,
            fleet: &fleet,
        },
        servers,
        ports,
        replicas: args.replicas,
    };
    let fresh = start_all(services.plans()?, |instance| instance.name.as_str()).await?;
    if let Err(error) = ready(&fresh, &*registry, &services).await {
        stop_all(fresh).await;
        return Err(error);
    }
    step.done(&format!("{} processes take work", fresh.len()));
    let gateway = start_gateway(folder, ports, servers, screen).await;
    let gateway = gateway.map(|gateway::Started { fresh, gateway }| {
        description.gateway = Some(gateway);
        fresh
    });
    Ok(Started {
        board: Board::new(description, folder.path(UP)),
        registry,
        services: fresh,
        gateway,
        fleet,
    })
}

/// Starts the gateway where its program is, or a Docker engine. It stands in front of the platform
/// and is no part of it: without one, clients use the doors themselves.
async fn start_gateway(
    folder: &Folder,
    ports: &Ports,
    servers: &Servers,
    screen: &Screen,
) -> Option<gateway::Started> {
    let doors = "clients use the doors of the services themselves";
    let Some(way) = gateway::Way::find().await else {
        screen.note(&format!(
            "not run: no kong is on the PATH and no Docker engine answers, so {doors}"
        ));
        return None;
    };
    let site = gateway::Site {
        data: &folder.path(""),
        logs: &servers.description.logs,
        ports,
        dns: servers.dns,
    };
    match site.start(&way, screen).await {
        Ok(started) => {
            screen.note(&format!("kong listens at {}", started.gateway.proxy));
            Some(started)
        }
        Err(error) => {
            screen.note(&format!("{}; {doors}", chain(&error)));
            None
        }
    }
}

/// Waits until the registry lists every instance; workers brought their task types before that.
async fn ready(
    fresh: &[Fresh<Instance>],
    registry: &dyn Registry,
    services: &Services<'_>,
) -> Result<(), Error> {
    let begun = Instant::now();
    let watches = SERVICES.map(|name| (name, registry.watch(name)));
    let wanted = usize::from(services.replicas);
    loop {
        let missing = watches.iter().filter_map(|(name, watch)| {
            let there = watch.current().len();
            (there < wanted).then(|| format!("{name} ({there} of {wanted})"))
        });
        let missing: Vec<String> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        if let Some((instance, ..)) = fresh.iter().find(|(.., running)| running.has_ended()) {
            let name = instance.name.clone();
            let log = services.log(&name);
            let tail = logs::tail(&log, LAST_LINES).unwrap_or_default().join("\n");
            return Err(Error::Ended { name, log, tail });
        }
        if begun.elapsed() > READY_LIMIT {
            return Err(Error::Late {
                seconds: READY_LIMIT.as_secs(),
                waiting: missing.join(", "),
                logs: services.servers.description.logs.clone(),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Lets the log of a server be found beside those of the services.
fn link_log(folder: &Path, name: &str, running: &Running) {
    let Some(log) = running.log() else { return };
    let link = folder.join(format!("{name}.log"));
    let _ = fs::remove_file(&link);
    if let Err(error) = std::os::unix::fs::symlink(&log, &link) {
        tracing::warn!(%error, log = %log.display(), "the log can not be linked");
    }
}
