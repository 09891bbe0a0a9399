//! The settings that `sutazai dev` gives to each service.

use std::path::Path;

use sutazai_mesh::catalog::ServiceName;
use sutazai_runtime::config::Source;

use super::{database::Database, node::Fleet, secrets::Secrets};

/// Seconds that a service may take to drain. Three groups stop one after the other, and all have to
/// be gone within the 25 s of the process story.
const DRAIN_SECONDS: &str = "7";

/// Everything that the settings of the services are made of.
pub(super) struct Settings<'a> {
    pub(super) base: &'a Source,
    pub(super) secrets: &'a Secrets,
    pub(super) database: &'a Database,
    pub(super) fleet: &'a Fleet,
    pub(super) port: u16,
    pub(super) proxy_port: u16,
}

impl Settings<'_> {
    /// Returns the configuration source of one service: what the environment says, and above it
    /// what makes the parts of this one process fit together.
    pub(super) fn of(&self, service: ServiceName) -> Source {
        let port = match service {
            ServiceName::Backend => self.port,
            ServiceName::OllamaProxy => self.proxy_port,
            _ => 0,
        };
        let text = |path: &Path| path.display().to_string();
        let mut source = self
            .base
            .clone()
            .with("SUTAZAI_PROFILE", "dev")
            .with("HTTP_LISTEN", format!("127.0.0.1:{port}"))
            .with("GRPC_LISTEN", "127.0.0.1:0")
            .with("DRAIN_GRACE_SECONDS", DRAIN_SECONDS)
            .with("SERVICE_KEY_FILE", text(&self.secrets.key_of(service)))
            .with("JWKS_FILE", text(&self.secrets.jwks));
        if let Some(url) = self.database.url(service) {
            source = source
                .with("DATABASE_URL", url)
                .with("DB_POOL_MIN", "1")
                .with("DB_POOL_MAX", "8");
        }
        match service {
            ServiceName::Backend => source
                .with("USER_KEY_FILE", text(&self.secrets.user_key()))
                .with("SECRET_KEY_FILE", text(&self.secrets.cursor_key))
                .with("ADMIN_PASSWORD_FILE", text(&self.secrets.admin_password))
                .with("ADMIN_API_KEY_FILE", text(&self.secrets.api_key)),
            ServiceName::OllamaProxy => source.with("OLLAMA_URLS", self.fleet.urls().join(",")),
            _ => source,
        }
    }
}
