//! A Consul of a test's own, and registries on it.

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use sutazai_mesh::registry::consul::{ConsulRegistry, Settings};
use sutazai_resilience::Breakers;
use sutazai_servers::consul::{Consul, Options};

/// A running Consul in memory.
pub(crate) struct Stage {
    pub(crate) consul: Consul,
    folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let folder = folder();
        let consul = Consul::start(options(folder.path(), None)).await.unwrap();
        Self { consul, folder }
    }

    pub(crate) async fn with_token(token: &str) -> Self {
        let folder = folder();
        let options = options(folder.path(), Some(token.to_owned()));
        let consul = Consul::start(options).await.unwrap();
        Self { consul, folder }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            check_every: Duration::from_secs(1),
            ..Settings::new(self.consul.address())
        }
    }

    pub(crate) fn registry(&self) -> ConsulRegistry {
        registry(self.settings())
    }

    /// Kills Consul and returns what starts it again, without anything it knew.
    pub(crate) async fn crash(self) -> Crashed {
        let options = self.consul.options();
        self.consul.kill().await;
        Crashed {
            options,
            folder: self.folder,
        }
    }
}

/// What is left of a Consul that was killed.
pub(crate) struct Crashed {
    options: Options,
    folder: tempfile::TempDir,
}

impl Crashed {
    pub(crate) async fn start(self) -> Stage {
        Stage {
            consul: Consul::start(self.options).await.unwrap(),
            folder: self.folder,
        }
    }
}

pub(crate) fn registry(settings: Settings) -> ConsulRegistry {
    ConsulRegistry::new(settings, &Breakers::new()).unwrap()
}

/// A folder that the server's account can reach.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mode = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(folder.path(), mode).unwrap();
    folder
}

fn options(folder: &Path, management_token: Option<String>) -> Options {
    Options {
        data: folder.join("consul"),
        ports: None,
        durable: false,
        management_token,
    }
}
