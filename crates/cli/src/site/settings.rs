//! The settings that make the parts of a platform on this machine fit together.

use std::path::Path;

use sutazai_mesh::catalog::ServiceName;

use super::{database::Roles, node::Fleet, secrets::Secrets};

/// Seconds that a service may take to drain. Three groups stop one after the other, and all have to
/// be gone within the 25 s of the process story.
const DRAIN_SECONDS: &str = "7";

/// Everything that the settings of the services are made of.
pub(crate) struct Settings<'a> {
    pub(crate) secrets: &'a Secrets,
    pub(crate) roles: &'a Roles,
    pub(crate) fleet: &'a Fleet,
}

impl Settings<'_> {
    /// Returns what one service is told above what the environment says; its HTTP side listens on
    /// `port` of 127.0.0.1.
    pub(crate) fn of(&self, service: ServiceName, port: u16) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        let mut settings = vec![
            ("SUTAZAI_PROFILE", "dev".to_owned()),
            ("HTTP_LISTEN", format!("127.0.0.1:{port}")),
            ("GRPC_LISTEN", "127.0.0.1:0".to_owned()),
            ("DRAIN_GRACE_SECONDS", DRAIN_SECONDS.to_owned()),
            ("SERVICE_KEY_FILE", text(&self.secrets.key_of(service))),
            ("JWKS_FILE", text(&self.secrets.jwks)),
        ];
        if let Some(file) = self.roles.url_file(service) {
            settings.extend([
                // An empty value is none: the file alone counts.
                ("DATABASE_URL", String::new()),
                ("DATABASE_URL_FILE", text(file)),
                ("DB_POOL_MIN", "1".to_owned()),
                ("DB_POOL_MAX", "8".to_owned()),
            ]);
        }
        match service {
            ServiceName::Backend => settings.extend([
                ("USER_KEY_FILE", text(&self.secrets.user_key())),
                ("SECRET_KEY_FILE", text(&self.secrets.cursor_key)),
                ("ADMIN_PASSWORD_FILE", text(&self.secrets.admin_password)),
                ("ADMIN_API_KEY_FILE", text(&self.secrets.api_key)),
            ]),
            ServiceName::OllamaProxy => settings.push(("OLLAMA_URLS", self.fleet.urls().join(","))),
            _ => {}
        }
        settings
    }
}
