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

use super::{Error, database::Database, folder::Folder, node::Fleet, secrets::Secrets};
use crate::secret_file;

/// Name of the file in the state folder.
pub const FILE: &str = "dev.json";

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
        database: &Database,
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
            postgres_port: database.server().port(),
            postgres_pid: database.server().pid(),
            keys: folder.path("keys"),
            jwks_file: secrets.jwks.clone(),
        }
    }

    /// Says where the services are; of several instances of one, the first.
    #[must_use]
    pub(crate) fn with_services(
        mut self,
        services: impl IntoIterator<Item = (ServiceName, Addresses)>,
    ) -> Self {
        self.services = BTreeMap::new();
        for (name, Addresses { http, grpc }) in services {
            let at = ServiceAddresses { http, grpc };
            self.services.entry(name.to_string()).or_insert(at);
        }
        let door = |name: ServiceName| {
            let at = self.services.get(name.as_str());
            at.map(|at| format!("http://{}", at.http))
                .unwrap_or_default()
        };
        self.api = door(ServiceName::Backend);
        self.models = door(ServiceName::OllamaProxy);
        self
    }

    /// Reads the description of the platform that runs on a state folder.
    ///
    /// # Errors
    /// `NotFound` when none runs there.
    pub fn read(data: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(data.join(FILE))?;
        Ok(serde_json::from_str(&text)?)
    }

    pub(crate) fn write(&self, folder: &Folder) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::from)?;
        Ok(secret_file::write(&folder.path(FILE), &text)?)
    }

    /// Removes what says that a platform runs.
    pub(crate) fn remove(folder: &Folder) {
        let _ = std::fs::remove_file(folder.path(FILE));
    }
}
