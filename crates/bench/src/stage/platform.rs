//! The whole platform as `make up` runs it, on free ports, with the model node of the benchmark.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use sutazai_cli::site::{Description, description::Servers};
use sutazai_mesh::catalog::ServiceName;

use super::{Core, Program, Running, Stage, free_address};
use crate::failure::Failure;

/// Longest time for the servers and services to take work; the first start may have to build Consul.
const LIMIT: Duration = Duration::from_secs(900);
/// What every service is told besides; nothing here makes a request cheaper, only more of them legal.
const SETTINGS: [(&str, &str); 8] = [
    // Requests do not pass through Kong: no engine answers, so none is fetched and started.
    ("DOCKER_HOST", "unix:///nowhere"),
    ("OLLAMA_SLOTS", "1024"),
    ("QUEUE_LIMIT", "4096"),
    ("RATE_LIMIT_CHAT_PER_MINUTE", "100000000"),
    ("RATE_LIMIT_READ_PER_MINUTE", "100000000"),
    ("RATE_LIMIT_WRITE_PER_MINUTE", "100000000"),
    // What services are run with in production: nothing is said about a request that went well.
    ("RUST_LOG", "warn"),
    ("LOG_FORMAT", "json"),
];
/// Settings of a service that another instance of it needs too.
const COPIED: [&str; 20] = [
    "SUTAZAI_PROFILE",
    "DRAIN_GRACE_SECONDS",
    "SERVICE_KEY_FILE",
    "JWKS_FILE",
    "DATABASE_URL",
    "DATABASE_URL_FILE",
    "DB_POOL_MIN",
    "DB_POOL_MAX",
    "USER_KEY_FILE",
    "SECRET_KEY_FILE",
    "ADMIN_PASSWORD_FILE",
    "ADMIN_API_KEY_FILE",
    "OLLAMA_URLS",
    "CONSUL_HTTP_ADDR",
    "CONSUL_HTTP_TOKEN",
    "CONSUL_HTTP_TOKEN_FILE",
    "AMQP_URL",
    "AMQP_URL_FILE",
    "REDIS_URL",
    "REDIS_URL_FILE",
];

/// A platform that runs.
#[derive(Debug)]
pub struct Platform {
    data: PathBuf,
    supervisor: Running,
    upstream: Running,
    node: SocketAddr,
}

impl Platform {
    pub(super) async fn start(stage: &Stage) -> Result<Self, Failure> {
        // Two addresses: one node has 1,024 slots at most.
        let nodes = [free_address()?, free_address()?];
        let ports = nodes.map(|address| address.port().to_string());
        let upstream = stage
            .start(&stage.part("upstream", ports), Core::Client)
            .await?;
        upstream.ready(nodes[0], "/api/version", LIMIT).await?;
        let data = stage.folder().join("platform");
        fs::create_dir_all(&data).map_err(Failure::doing("make the state folder"))?;
        let log = stage.folder().join("logs/supervisor.log");
        // A log of an earlier run says `ready` already.
        if log.exists() {
            fs::remove_file(&log).map_err(Failure::doing("take away an old log"))?;
        }
        // Afresh: what an earlier run stored would make its tables larger for this one.
        let arguments = [
            "--json",
            "supervise",
            "--reset",
            "--free-ports",
            "--replicas=1",
        ];
        let arguments = arguments
            .map(str::to_owned)
            .into_iter()
            .chain([format!("--data={}", data.display())]);
        let urls = nodes.map(|node| format!("http://{node}")).join(",");
        let program = Program::new("supervisor", stage.binary("sutazai"), arguments.collect())
            .with("OLLAMA_URLS", urls);
        let program = SETTINGS
            .into_iter()
            .fold(program, |program, (name, value)| program.with(name, value));
        let supervisor = stage.start(&program, Core::All).await?;
        let platform = Self {
            data,
            supervisor,
            upstream,
            node: nodes[0],
        };
        let begun = Instant::now();
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.contains(r#""event":"ready""#) {
                return Ok(platform);
            }
            if said.contains(r#""event":"failed""#) || begun.elapsed() > LIMIT {
                let log = log.display().to_string();
                platform.stop().await;
                return Err(Failure::NotReady {
                    name: "the platform".to_owned(),
                    log,
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns where everything is.
    ///
    /// # Errors
    /// The platform has ended.
    pub fn description(&self) -> Result<Description, Failure> {
        Description::read(&self.data).map_err(Failure::doing("read the platform's description"))
    }

    /// Returns where the servers are.
    ///
    /// # Errors
    /// The platform has ended.
    pub fn servers(&self) -> Result<Servers, Failure> {
        let servers = self.description()?.servers;
        servers.ok_or_else(|| Failure::wrong("the platform runs without servers"))
    }

    /// Returns where a service of the platform answers HTTP.
    ///
    /// # Errors
    /// The platform has ended.
    pub fn http_of(&self, service: ServiceName) -> Result<SocketAddr, Failure> {
        let services = self.description()?.services;
        let found = services.get(service.as_str());
        let found = found.ok_or_else(|| Failure::wrong(format!("{service} does not run")))?;
        Ok(found.http)
    }

    /// Returns the URL of the database for its superuser.
    ///
    /// # Errors
    /// The platform has ended, or its secret can not be read.
    pub fn superuser_url(&self) -> Result<String, Failure> {
        let password = fs::read_to_string(self.data.join("up/secrets/postgres-superuser"))
            .map_err(Failure::doing("read the database's password"))?;
        let port = self.description()?.postgres_port;
        Ok(format!(
            "postgres://postgres:{}@127.0.0.1:{port}/sutazai",
            password.trim()
        ))
    }

    /// Returns somebody's token for Consul.
    ///
    /// # Errors
    /// It can not be read.
    pub fn consul_token(&self, name: &str) -> Result<String, Failure> {
        let doctors = self.servers()?.consul_token_file;
        let file = doctors.with_file_name(format!("consul-{name}"));
        let token = fs::read_to_string(file).map_err(Failure::doing("read Consul's token"))?;
        Ok(token.trim().to_owned())
    }

    /// Returns the administrator's API key.
    ///
    /// # Errors
    /// It can not be read.
    pub fn api_key(&self) -> Result<String, Failure> {
        let key = fs::read_to_string(self.description()?.api_key_file);
        let key = key.map_err(Failure::doing("read the API key"))?;
        Ok(key.trim().to_owned())
    }

    /// Returns the file that a service was told of, by the name of the variable that names it.
    ///
    /// # Errors
    /// It was not told of one.
    pub fn file_of(&self, service: ServiceName, name: &str) -> Result<PathBuf, Failure> {
        let settings = self.settings_of(service)?;
        let file = settings.into_iter().find(|(found, _)| *found == name);
        let (_, file) = file.ok_or_else(|| Failure::wrong(format!("{service} has no {name}")))?;
        Ok(file.into())
    }

    /// Returns the address of the model node.
    pub fn node(&self) -> SocketAddr {
        self.node
    }

    /// Returns what a service of the platform was told.
    pub(super) fn settings_of(
        &self,
        service: ServiceName,
    ) -> Result<Vec<(&'static str, String)>, Failure> {
        let description = self.description()?;
        let process = description
            .processes
            .get(service.as_str())
            .ok_or_else(|| Failure::wrong(format!("{service} does not run")))?;
        let text = fs::read(format!("/proc/{}/environ", process.pid))
            .map_err(Failure::doing(format!("read the settings of {service}")))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let of = |name: &'static str| {
            let found = text
                .split('\0')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.map(|value| (name, value.to_owned()))
        };
        let own = SETTINGS.into_iter().map(|(name, _)| name);
        Ok(COPIED.into_iter().chain(own).filter_map(of).collect())
    }

    /// Returns a secret that a service finds in a file, by the name of the variable that names it.
    ///
    /// # Errors
    /// It was not told of such a file, or the file can not be read.
    pub fn secret_of(&self, service: ServiceName, name: &str) -> Result<String, Failure> {
        let file = self.file_of(service, name)?;
        let secret = fs::read_to_string(file).map_err(Failure::doing(format!("read {name}")))?;
        Ok(secret.trim().to_owned())
    }

    pub(super) async fn stop(self) {
        self.supervisor.stop().await;
        self.upstream.stop().await;
    }
}
