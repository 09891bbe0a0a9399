//! Settings of ollama-proxy.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use sutazai_auth::{Identity, store};
use sutazai_mesh::catalog::ServiceName;
use sutazai_persistence::postgres;
use sutazai_runtime::{
    config::{Base, Configured, Reader},
    entry::Need,
};

use crate::{
    ollama::{InvalidAddress, NodeUrl},
    probe,
};

/// Ollama's own port on this machine.
const LOCAL_NODE: &str = "127.0.0.1:11434";

const MIB: usize = 1024 * 1024;

/// Everything that ollama-proxy is told from outside.
#[derive(Debug)]
pub struct Config {
    pub(crate) base: Base,
    pub(crate) fleet: FleetConfig,
    /// Largest body of a request over HTTP, in bytes.
    pub(crate) body_limit: usize,
    pub(crate) service_key_file: PathBuf,
    pub(crate) jwks_file: PathBuf,
    /// Where the API keys are; without it only tokens are accepted.
    pub(crate) database: Option<postgres::Settings>,
}

/// The nodes and how they are used.
#[derive(Clone, Debug)]
pub(crate) struct FleetConfig {
    pub(crate) nodes: Vec<NodeUrl>,
    /// Requests that may run on one node at once.
    pub(crate) slots: usize,
    /// Requests that may wait for a slot.
    pub(crate) queue_limit: usize,
    /// Longest wait for a slot.
    pub(crate) queue_wait: Duration,
    pub(crate) limits: Limits,
    /// Pause between two health checks of a node.
    pub(crate) check_every: Duration,
    /// Longest time for one health check.
    pub(crate) check_limit: Duration,
    pub(crate) default_model: Option<String>,
}

/// The four deadlines of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// For the connection to a node.
    pub(crate) connect: Duration,
    /// For the first token, from the moment a node has the request.
    pub(crate) first_token: Duration,
    /// For the silence between two pieces of an answer.
    pub(crate) silence: Duration,
    /// For everything.
    pub(crate) total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_token: Duration::from_secs(120),
            silence: Duration::from_secs(30),
            total: Duration::from_secs(600),
        }
    }
}

/// Addresses of nodes, separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NodeUrls(Vec<NodeUrl>);

impl FromStr for NodeUrls {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let mut urls = Vec::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let url = part.parse()?;
            // Named twice it would have twice its slots.
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        if urls.is_empty() {
            Err(InvalidAddress::new(text))
        } else {
            Ok(Self(urls))
        }
    }
}

impl fmt::Display for NodeUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&urls.join(","))
    }
}

impl Configured for Config {
    const SERVICE: ServiceName = ServiceName::OllamaProxy;
    const USES_BROKER: bool = false;
    const USES_CACHE: bool = true;

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let base = Base::read(reader, Self::SERVICE);
        let fleet = FleetConfig::read(reader);
        let body_limit = reader.within(
            "BODY_LIMIT_BYTES",
            "largest body of a request over HTTP, in bytes; images are sent inside it",
            32 * MIB,
            1024..=1024 * MIB,
        );
        let service_key_file = reader.required(
            "SERVICE_KEY_FILE",
            "private key of this service, a PEM file of mode 0600",
        );
        let jwks_file = reader.required(
            "JWKS_FILE",
            "public keys of all services and of users' tokens",
        );
        let database = if reader.is_set("DATABASE_URL") || reader.is_set("POSTGRES_HOST") {
            Some(sutazai_runtime::config::database(
                reader,
                Self::SERVICE,
                sutazai_auth::store::SCHEMA,
            )?)
        } else {
            None
        };
        Some(Self {
            base: base?,
            fleet,
            body_limit,
            service_key_file: service_key_file?,
            jwks_file: jwks_file?,
            database,
        })
    }

    fn needs(&self) -> Vec<Need> {
        let (key_file, jwks_file) = (self.service_key_file.clone(), self.jwks_file.clone());
        let nodes = self.fleet.clone();
        let mut needs = vec![
            Need::new("keys", async move {
                Identity::check(Self::SERVICE, &key_file, &jwks_file)
            }),
            Need::new("nodes", probe::look(nodes)),
        ];
        let database = self.database.as_ref();
        needs.extend(database.map(|database| Need::database(database, &store::MIGRATOR)));
        needs
    }
}

impl FleetConfig {
    fn read(reader: &mut Reader<'_>) -> Self {
        let host = reader.optional::<NodeUrls>(
            "OLLAMA_HOST",
            "address of one node, as Ollama's own tools read it",
        );
        let list = "addresses of all nodes, separated by commas; others are found through Consul";
        let nodes = match host.or_else(|| local_node(reader)) {
            Some(default) => reader.or("OLLAMA_URLS", list, default),
            None => reader.optional("OLLAMA_URLS", list).unwrap_or_default(),
        };
        let slots = reader.within(
            "OLLAMA_SLOTS",
            "requests that may run on one node at once",
            4,
            1..=1024,
        );
        let queue_limit = reader.within(
            "QUEUE_LIMIT",
            "requests that may wait for a slot",
            64,
            0..=65_536,
        );
        let queue_wait = reader.seconds(
            "QUEUE_WAIT_SECONDS",
            "longest wait for a slot",
            Duration::from_secs(30),
        );
        let default_model = reader.optional::<String>(
            "DEFAULT_MODEL",
            "model of requests that name none, if a node has it",
        );
        let check_every = positive(
            reader,
            "OLLAMA_CHECK_SECONDS",
            "pause between two health checks of a node",
            Duration::from_secs(5),
        );
        let check_limit = positive(
            reader,
            "OLLAMA_CHECK_LIMIT_SECONDS",
            "longest time for one health check",
            Duration::from_secs(2),
        );
        Self {
            nodes: nodes.0,
            slots,
            queue_limit,
            queue_wait,
            limits: Limits::read(reader),
            check_every,
            check_limit,
            default_model: default_model.filter(|name| !name.is_empty()),
        }
    }
}

impl Limits {
    fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let limits = Self {
            connect: positive(
                reader,
                "OLLAMA_CONNECT_SECONDS",
                "longest time to connect to a node",
                default.connect,
            ),
            first_token: positive(
                reader,
                "OLLAMA_FIRST_TOKEN_SECONDS",
                "longest time from a request to its first token, loading the model included",
                default.first_token,
            ),
            silence: positive(
                reader,
                "OLLAMA_SILENCE_SECONDS",
                "longest silence between two tokens",
                default.silence,
            ),
            total: positive(
                reader,
                "OLLAMA_TOTAL_SECONDS",
                "longest time for a whole answer",
                default.total,
            ),
        };
        if limits.total < limits.first_token || limits.total < limits.silence {
            reader.fault(
                "OLLAMA_TOTAL_SECONDS",
                "must not be less than the limits inside it",
            );
        }
        limits
    }
}

/// The node that is there without any setting; with Consul there need be none.
fn local_node(reader: &Reader<'_>) -> Option<NodeUrls> {
    let found_elsewhere = reader.is_set("CONSUL_HTTP_ADDR");
    (!found_elsewhere)
        .then(|| LOCAL_NODE.parse().ok())
        .flatten()
}

fn positive(
    reader: &mut Reader<'_>,
    name: &'static str,
    doc: &'static str,
    default: Duration,
) -> Duration {
    let time = reader.seconds(name, doc, default);
    if time.is_zero() {
        reader.fault(name, "must be more than 0");
        return default;
    }
    time
}

#[cfg(test)]
mod tests {
    use sutazai_runtime::config::{Faults, Source, load};

    use super::*;

    const KEYS: [(&str, &str); 2] = [
        ("SERVICE_KEY_FILE", "/keys/own.pem"),
        ("JWKS_FILE", "/keys/jwks.json"),
    ];

    fn read(settings: &[(&str, &str)]) -> Result<Config, Faults> {
        let pairs = KEYS
            .iter()
            .chain(settings)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(&Source::from_pairs(pairs)).map(|loaded| loaded.config)
    }

    fn nodes(config: &Config) -> Vec<String> {
        config.fleet.nodes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn llm_01_the_deadlines_are_5_120_30_and_600_seconds() {
        let limits = read(&[]).unwrap().fleet.limits;
        let seconds = [
            limits.connect,
            limits.first_token,
            limits.silence,
            limits.total,
        ]
        .map(|d| d.as_secs());
        assert_eq!(seconds, [5, 120, 30, 600]);
    }

    #[test]
    fn nodes_come_from_the_list_else_from_ollamas_own_setting_else_from_this_machine() {
        assert_eq!(nodes(&read(&[]).unwrap()), ["http://127.0.0.1:11434"]);
        let host = ("OLLAMA_HOST", "gpu-1");
        assert_eq!(nodes(&read(&[host]).unwrap()), ["http://gpu-1:11434"]);
        let urls = ("OLLAMA_URLS", "gpu-2, http://gpu-3:80,gpu-2,");
        assert_eq!(
            nodes(&read(&[host, urls]).unwrap()),
            ["http://gpu-2:11434", "http://gpu-3"]
        );
    }

    #[test]
    fn olp_05_with_consul_the_list_may_be_empty() {
        let consul = ("CONSUL_HTTP_ADDR", "127.0.0.1:10006");
        assert!(nodes(&read(&[consul]).unwrap()).is_empty());
        let urls = ("OLLAMA_URLS", "gpu-1");
        let listed = read(&[consul, urls]).unwrap();
        assert_eq!(nodes(&listed), ["http://gpu-1:11434"]);
    }

    #[test]
    fn cfg_01_every_fault_is_named_at_once() {
        let faults = read(&[
            ("OLLAMA_URLS", "ftp://gpu-1"),
            ("OLLAMA_SLOTS", "0"),
            ("OLLAMA_SILENCE_SECONDS", "0"),
            ("OLLAMA_TOTAL_SECONDS", "10"),
        ]);
        let text = faults.unwrap_err().to_string();
        for name in [
            "OLLAMA_URLS",
            "OLLAMA_SLOTS",
            "OLLAMA_SILENCE_SECONDS",
            "OLLAMA_TOTAL_SECONDS",
        ] {
            assert!(text.contains(name), "{name} is not in {text}");
        }
    }
}
