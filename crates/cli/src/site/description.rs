//! Where everything is, for scripts and for the other commands.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sutazai_mesh::catalog::ServiceName;
use sutazai_runtime::service::Addresses;
use sutazai_servers::postgres::Postgres;

use super::{Error, folder::Folder, node::Fleet, secrets::Secrets};
use crate::secret_file;

/// Name of the description of a platform in one process.
pub const DEV: &str = "dev.json";
/// Folder below the state folder that a platform of many processes keeps its own state in.
pub const UP_FOLDER: &str = "up";
/// Name of its description there.
pub const UP: &str = "up.json";

/// Where a running platform is; holds no secret, only where the secrets lie.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Description {
    /// Base URL of the public API.
    pub api: String,
    /// File with the administrator's API key.
    pub api_key_file: PathBuf,
    /// Base URL of the model fleet's own door.
    pub models: String,
    /// Process id of the platform.
    pub pid: u32,
    /// Version of the platform.
    pub version: String,
    /// Addresses by service.
    pub services: BTreeMap<String, ServiceAddresses>,
    /// Base URLs of the model nodes.
    pub nodes: Vec<String>,
    /// Whether the demo node stands in for a model.
    pub demo: bool,
    /// Port of Postgres on 127.0.0.1.
    pub postgres_port: u16,
    /// Process id of Postgres.
    pub postgres_pid: u32,
    /// Folder with the private keys.
    pub keys: PathBuf,
    /// All public keys.
    pub jwks_file: PathBuf,
    /// Addresses of every instance, by service; of a platform of many processes only.
    #[serde(default)]
    pub replicas: BTreeMap<String, Vec<ServiceAddresses>>,
    /// The servers besides Postgres, which a platform in one process does without.
    #[serde(default)]
    pub servers: Option<Servers>,
    /// The gateway in front of it, where there is one.
    #[serde(default)]
    pub gateway: Option<Gateway>,
    /// The processes under supervision, by name.
    #[serde(default)]
    pub processes: BTreeMap<String, Process>,
}

/// The Kong in front of a platform.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gateway {
    /// Base URL for clients.
    pub proxy: String,
    /// Base URL of its admin API.
    pub admin: String,
    /// Its container, where it is one.
    #[serde(default)]
    pub container: Option<Container>,
}

/// A container that a Docker engine runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The program that speaks with the engine.
    pub docker: PathBuf,
    /// Name of the container.
    pub name: String,
}

/// The servers of a platform of many processes, on 127.0.0.1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Servers {
    /// Base URL of Consul's API; its pages are at `/ui`.
    pub consul: String,
    /// File with the token that commands such as the doctor have there; beside it those of all others.
    #[serde(default)]
    pub consul_token_file: PathBuf,
    /// Port of RabbitMQ.
    pub amqp_port: u16,
    /// Base URL of RabbitMQ's management API and pages.
    pub rabbitmq: String,
    /// Login at RabbitMQ.
    pub rabbitmq_user: String,
    /// File with its password.
    pub rabbitmq_password_file: PathBuf,
    /// Port of Redis.
    pub redis_port: u16,
    /// File with its password.
    pub redis_password_file: PathBuf,
    /// Folder with the logs.
    pub logs: PathBuf,
}

/// A process under supervision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its process id; the newest one while it restarts.
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot: pids are used again.
    pub started: Option<u64>,
    /// Whether it runs.
    pub state: State,
    /// How often it was started again.
    pub restarts: u32,
}

/// Whether a process under supervision runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It runs.
    Running,
    /// It ended and is about to be started again.
    Restarting,
}

impl Process {
    pub(crate) fn running(pid: u32, restarts: u32) -> Self {
        Self {
            pid,
            started: started(pid),
            state: State::Running,
            restarts,
        }
    }

    /// Says whether this very process is alive, and not another one that got its pid.
    pub fn is_alive(&self) -> bool {
        let now = started(self.pid);
        now.is_some() && now == self.started
    }

    /// Says whether no process at all has its pid: what is left of its group is its own then.
    pub(crate) fn is_gone(&self) -> bool {
        started(self.pid).is_none()
    }
}

/// Returns when a process started, in ticks since boot; none when there is no such process.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces; what follows it begins with field 3, the state.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Where one service listens.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ServiceAddresses {
    /// Health, metrics and, for the doors, the service's own HTTP API.
    pub http: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
}

impl Description {
    pub(crate) fn new(
        folder: &Folder,
        secrets: &Secrets,
        postgres: &Postgres,
        fleet: &Fleet,
    ) -> Self {
        Self {
            api: String::new(),
            api_key_file: secrets.api_key.clone(),
            models: String::new(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            services: BTreeMap::new(),
            nodes: fleet.urls().to_vec(),
            demo: fleet.is_demo(),
            postgres_port: postgres.port(),
            postgres_pid: postgres.pid(),
            keys: folder.path("keys"),
            jwks_file: secrets.jwks.clone(),
            replicas: BTreeMap::new(),
            servers: None,
            gateway: None,
            processes: BTreeMap::new(),
        }
    }

    /// Says where the services are; a door whose address is known already keeps it.
    #[must_use]
    pub(crate) fn with_services(
        mut self,
        services: impl IntoIterator<Item = (ServiceName, Addresses)>,
    ) -> Self {
        self.replicas = BTreeMap::new();
        for (name, Addresses { http, grpc }) in services {
            let at = ServiceAddresses { http, grpc };
            self.replicas.entry(name.to_string()).or_default().push(at);
        }
        let firsts = self.replicas.iter();
        self.services = firsts
            .filter_map(|(name, all)| Some((name.clone(), *all.first()?)))
            .collect();
        let door = |name: ServiceName| {
            let at = self.services.get(name.as_str());
            at.map(|at| format!("http://{}", at.http))
                .unwrap_or_default()
        };
        let (api, models) = (door(ServiceName::Backend), door(ServiceName::OllamaProxy));
        for (known, found) in [(&mut self.api, api), (&mut self.models, models)] {
            if known.is_empty() {
                *known = found;
            }
        }
        self
    }

    /// Reads the description of the platform that runs on a state folder, in one process or in many;
    /// of one that was killed, what it left.
    ///
    /// # Errors
    /// `NotFound` when none runs there.
    pub fn read(data: &Path) -> io::Result<Self> {
        let dev = Self::from_file(&data.join(DEV));
        match &dev {
            Ok(running) if started(running.pid).is_some() => dev,
            _ => Self::from_file(&data.join(UP_FOLDER).join(UP))
                // The folder itself may be the one of a platform of many processes.
                .or_else(|_| Self::from_file(&data.join(UP)))
                .or(dev),
        }
    }

    pub(crate) fn from_file(file: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(file)?;
        Ok(serde_json::from_str(&text)?)
    }

    pub(crate) fn write(&self, file: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::from)?;
        Ok(secret_file::write(file, &text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_and_not_by_its_pid_alone() {
        let own = Process::running(std::process::id(), 0);
        assert!(own.is_alive());
        let other = Process {
            started: own.started.map(|ticks| ticks + 1),
            ..own
        };
        assert!(!other.is_alive());
    }
}
