//! A whole platform for one test.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use sutazai_auth::identity::Identity;
use sutazai_cli::{
    args::DevArgs,
    dev::{Options, Platform},
    doctor::{self, Report, kong::Kong},
    screen::Screen,
    site::description::{Description, ServiceAddresses},
};
use sutazai_mesh::{catalog::ServiceName, registry::Registry};
use sutazai_messaging::{
    Broker,
    memory::{Limits, MemoryBroker},
};
use sutazai_persistence::Cache;
use sutazai_resilience::Deadline;
use sutazai_runtime::config::Source;
use sutazai_telemetry::Guard;
use sutazai_testkit::ollama::{FakeNode, Script};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::Client;

/// Longest time of one call of ours.
const CALL: Duration = Duration::from_secs(30);

/// What a stage is made of; [`Setup::start`] runs it.
#[derive(Default)]
pub struct Setup {
    nodes: Vec<Script>,
    urls: Vec<String>,
    settings: Vec<(String, String)>,
    broker: Option<Arc<dyn Broker>>,
    registry: Option<Arc<dyn Registry>>,
    cache: Option<Cache>,
}

impl Setup {
    /// Adds a model node.
    #[must_use]
    pub fn node(mut self, script: Script) -> Self {
        self.nodes.push(script);
        self
    }

    /// Adds a model node that runs already.
    #[must_use]
    pub fn node_at(mut self, url: String) -> Self {
        self.urls.push(url);
        self
    }

    /// Sets a setting of every service.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a broker in place of the in-process one.
    #[must_use]
    pub fn broker(mut self, broker: Arc<dyn Broker>) -> Self {
        self.broker = Some(broker);
        self
    }

    /// Takes a registry in place of the in-process one.
    #[must_use]
    pub fn registry(mut self, registry: Arc<dyn Registry>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Takes a cache in place of the in-process one.
    #[must_use]
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Starts the platform; without a node it gets one with the default script.
    pub async fn start(self) -> Stage {
        self.start_in(folder()).await
    }

    pub(crate) async fn start_in(self, folder: TempDir) -> Stage {
        let mut scripts = self.nodes;
        let mut urls = self.urls;
        if scripts.is_empty() && urls.is_empty() {
            scripts.push(Script::new(["tinyllama:latest"]));
        }
        let mut nodes = Vec::new();
        for script in scripts {
            nodes.push(FakeNode::start(script).await);
        }
        urls.extend(nodes.iter().map(FakeNode::url));
        let mut source = Source::from_pairs(self.settings);
        source = source.with("OLLAMA_URLS", urls.join(","));
        let broker = self.broker.unwrap_or_else(in_process);
        let platform = start(
            folder.path(),
            source.clone(),
            broker.clone(),
            self.registry,
            self.cache,
        )
        .await;
        Stage {
            platform,
            nodes,
            broker,
            source,
            folder,
        }
    }
}

/// A running platform with its nodes; state and processes end with it.
pub struct Stage {
    /// The platform.
    pub platform: Platform,
    /// Its model nodes.
    pub nodes: Vec<FakeNode>,
    broker: Arc<dyn Broker>,
    source: Source,
    folder: TempDir,
}

impl Stage {
    /// Starts a platform with one node of the default script.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    /// Returns the broker, for producers outside the platform.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    /// Returns a client with the administrator's API key.
    pub fn admin(&self) -> Client {
        Client::with_key_of(self.description())
    }

    /// Returns a client without a credential.
    pub fn stranger(&self) -> Client {
        Client::new(&self.description().api, None)
    }

    /// Returns a client of the model fleet's own door, without a credential.
    pub fn models(&self) -> Client {
        Client::new(&self.description().models, None)
    }

    /// Returns a client of a service's HTTP side, without a credential.
    pub fn http(&self, service: ServiceName) -> Client {
        Client::new(&format!("http://{}", self.addresses(service).http), None)
    }

    /// Returns where everything is.
    pub fn description(&self) -> &Description {
        self.platform.description()
    }

    /// Returns the folder that keeps the state.
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    /// Returns what the doctor sees.
    pub async fn doctor(&self) -> Report {
        doctor::examine(self.description(), &Kong::default())
            .await
            .expect("the operator's key is there")
    }

    /// Returns the identity of one of the services, or of the operator.
    pub fn identity(&self, service: ServiceName) -> Identity {
        let Description {
            keys, jwks_file, ..
        } = self.description();
        let key = keys.join(format!("{service}.pem"));
        Identity::from_files(service, &key, jwks_file).expect("the key of the service")
    }

    /// Returns where a service listens.
    pub fn addresses(&self, service: ServiceName) -> ServiceAddresses {
        self.description().services[service.as_str()]
    }

    /// Connects to the gRPC side of a service, as a foreign client.
    #[expect(
        clippy::disallowed_methods,
        reason = "a foreign client, not one of the platform"
    )]
    pub fn channel(&self, service: ServiceName) -> Channel {
        let url = format!("http://{}", self.addresses(service).grpc);
        Channel::from_shared(url).expect("a URL").connect_lazy()
    }

    /// Makes a request to a service in the operator's name.
    pub fn signed<T>(&self, to: ServiceName, message: T) -> tonic::Request<T> {
        let deadline = Deadline::after(CALL);
        self.identity(ServiceName::Cli)
            .request(to, None, deadline, message)
            .expect("a token")
    }

    /// Returns the first column of what a query finds, as the database's own user.
    pub async fn query(&self, sql: &'static str, id: &str) -> Vec<String> {
        use sqlx::Connection;

        let url = self.platform.database().server().superuser_url("sutazai");
        let mut connection = sqlx::PgConnection::connect(&url)
            .await
            .expect("the database");
        let id = uuid::Uuid::parse_str(id).expect("a UUID");
        let rows = sqlx::query_scalar(sql)
            .bind(id)
            .fetch_all(&mut connection)
            .await;
        rows.expect("an answer to the query")
    }

    /// Runs a statement, as the database's own user.
    pub async fn execute(&self, sql: &'static str) {
        use sqlx::Connection;

        let url = self.platform.database().server().superuser_url("sutazai");
        let mut connection = sqlx::PgConnection::connect(&url)
            .await
            .expect("the database");
        let done = sqlx::query(sql).execute(&mut connection).await;
        done.expect("the statement runs");
    }

    /// Kills the database, as a crash would.
    pub async fn kill_postgres(&self) {
        let server = self.platform.database().server();
        let pid = server
            .pid()
            .try_into()
            .ok()
            .and_then(Pid::from_raw)
            .expect("a pid");
        kill_process(pid, Signal::KILL).expect("the database runs");
        server.ended().await;
    }

    /// Stops the platform and starts it again on the same state.
    pub async fn restart(self) -> Self {
        self.down().await.up().await
    }

    /// Stops the platform; its nodes go on and its state stays.
    pub async fn down(self) -> Down {
        let Self {
            platform,
            nodes,
            source,
            folder,
            ..
        } = self;
        platform.stop().await;
        Down {
            nodes,
            source,
            folder,
        }
    }

    /// Stops the platform in order.
    pub async fn stop(self) {
        self.platform.stop().await;
    }
}

/// A stage whose platform does not run.
pub struct Down {
    /// The model nodes.
    pub nodes: Vec<FakeNode>,
    source: Source,
    folder: TempDir,
}

impl Down {
    /// Starts the platform again on the same state.
    pub async fn up(self) -> Stage {
        let Self {
            nodes,
            source,
            folder,
        } = self;
        let broker = in_process();
        let platform = start(folder.path(), source.clone(), broker.clone(), None, None).await;
        Stage {
            platform,
            nodes,
            broker,
            source,
            folder,
        }
    }
}

fn in_process() -> Arc<dyn Broker> {
    Arc::new(MemoryBroker::new(Limits::default()))
}

async fn start(
    folder: &Path,
    source: Source,
    broker: Arc<dyn Broker>,
    registry: Option<Arc<dyn Registry>>,
    cache: Option<Cache>,
) -> Platform {
    sutazai_cli::install_tls_provider();
    start_telemetry();
    let args = DevArgs {
        data: folder.to_owned(),
        port: 0,
        proxy_port: 0,
        reset: false,
        backup: None,
    };
    let options = Options {
        broker: Some(broker),
        registry,
        cache,
        ..Options::new(args, source)
    };
    Platform::start(options, &Screen::silent())
        .await
        .expect("the platform starts")
}

/// Starts metrics and traces, without which requests have no trace id; logs only where asked for.
fn start_telemetry() {
    static TELEMETRY: OnceLock<Guard> = OnceLock::new();
    TELEMETRY.get_or_init(|| {
        let config = sutazai_telemetry::Config {
            format: sutazai_telemetry::Format::Human,
            filter: std::env::var("RUST_LOG").unwrap_or_else(|_| "off".to_owned()),
            ..sutazai_telemetry::Config::default()
        };
        sutazai_telemetry::init(&config).expect("telemetry")
    });
}

fn folder() -> TempDir {
    open_to_servers(tempfile::tempdir().expect("a temporary folder"))
}

/// Lets the database's own account through.
pub(crate) fn open_to_servers(folder: TempDir) -> TempDir {
    use std::os::unix::fs::PermissionsExt;

    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))
        .expect("its mode");
    folder
}
