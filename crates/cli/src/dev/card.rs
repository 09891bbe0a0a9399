//! Where everything is: `dev.json` for scripts, a card with three commands for people.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sutazai_mesh::catalog::ServiceName;
use sutazai_runtime::service::Addresses;

use super::{database::Database, folder::Folder, node::Fleet, secrets::Secrets};
use crate::{screen::Screen, secret_file};

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
    pub(super) fn new(
        folder: &Folder,
        secrets: &Secrets,
        services: &[(ServiceName, Addresses)],
        database: &Database,
        fleet: &Fleet,
    ) -> Self {
        let services: BTreeMap<_, _> = services
            .iter()
            .map(|(name, at)| {
                (
                    name.to_string(),
                    ServiceAddresses {
                        http: at.http,
                        grpc: at.grpc,
                    },
                )
            })
            .collect();
        let door = |name: ServiceName| {
            services
                .get(name.as_str())
                .map(|at| format!("http://{}", at.http))
                .unwrap_or_default()
        };
        Self {
            api: door(ServiceName::Backend),
            api_key_file: secrets.api_key.clone(),
            models: door(ServiceName::OllamaProxy),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            services,
            nodes: fleet.urls().to_vec(),
            demo: fleet.is_demo(),
            postgres_port: database.server().port(),
            postgres_pid: database.server().pid(),
            keys: folder.path("keys"),
            jwks_file: secrets.jwks.clone(),
        }
    }

    /// Reads the description of the platform that runs on a state folder.
    ///
    /// # Errors
    /// `NotFound` when none runs there.
    pub fn read(data: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(data.join(FILE))?;
        Ok(serde_json::from_str(&text)?)
    }

    pub(super) fn write(&self, folder: &Folder) -> io::Result<()> {
        secret_file::write(&folder.path(FILE), &serde_json::to_string_pretty(self)?)
    }

    /// Removes what says that a platform runs.
    pub(super) fn remove(folder: &Folder) {
        let _ = std::fs::remove_file(folder.path(FILE));
    }

    /// Returns three commands that work when pasted into a shell, each with what it does.
    pub fn commands(&self) -> [(&'static str, String); 3] {
        let api = &self.api;
        let key = shell_word(&self.api_key_file.display().to_string());
        let auth = format!(r#"-H "Authorization: Bearer $(cat {key})""#);
        let json = "-H 'Content-Type: application/json'";
        let chat = format!(
            r#"curl -sN {api}/api/v1/chat {auth} {json} -d '{{"message":"hello","stream":true}}'"#
        );
        let submit = format!(
            r#"curl -si {api}/api/v1/tasks {auth} {json} -d '{{"type":"llm.generate","input":{{"prompt":"Why is the sky blue?"}}}}'"#
        );
        let task = format!(
            r#"curl -sN {auth} "{api}$({submit} | sed -n 's/^[Ll]ocation: *\([^[:cntrl:]]*\).*/\1/p')/events""#
        );
        let program = std::env::current_exe()
            .map_or_else(|_| "sutazai".into(), |path| path.display().to_string());
        let data = self
            .api_key_file
            .parent()
            .map(|folder| folder.display().to_string());
        let doctor = format!(
            "{} doctor --data {}",
            shell_word(&program),
            shell_word(&data.unwrap_or_default())
        );
        [
            ("a chat", chat),
            ("a task, followed to its end", task),
            ("a look at every part", doctor),
        ]
    }
}

/// Prints where everything is.
pub fn print(description: &Description, screen: &Screen) {
    if screen.is_json() {
        let commands: BTreeMap<_, _> = description.commands().into();
        screen.event(
            &serde_json::json!({"event": "ready", "platform": description, "commands": commands}),
        );
        return;
    }
    let rows = [
        ("API", description.api.clone()),
        ("Documentation", format!("{}/docs", description.api)),
        ("Models (Ollama, OpenAI)", description.models.clone()),
        (
            "Administrator's API key",
            description.api_key_file.display().to_string(),
        ),
        ("Model node", description.nodes.join(", ")),
    ];
    screen.line("");
    for (name, value) in rows {
        screen.line(format!("  {name:<24} {value}"));
    }
    for (what, command) in description.commands() {
        screen.line(format!("\n{}", screen.bold(&format!("  {what}:"))));
        screen.line(command);
    }
    screen.line("\nCtrl-C stops it; what was stored stays.");
}

/// Quotes a word for a POSIX shell where it needs that.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_spaces_and_quotes_survive_a_shell() {
        for word in ["/plain/path", "with space", "it's", ""] {
            let script = format!("printf %s {}", shell_word(word));
            let output = std::process::Command::new("sh")
                .args(["-c", &script])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
