//! Kong's entities, as far as this platform uses them; the words are Kong's own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plugin::Plugin;

/// A whole configuration, entities inside those that they belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// `3.0` for Kong 3.
    #[serde(rename = "_format_version")]
    pub format_version: String,
    /// Doors of the platform.
    pub services: Vec<Service>,
    /// Their instances.
    #[serde(default)]
    pub upstreams: Vec<Upstream>,
    /// To whom keys belong.
    #[serde(default)]
    pub consumers: Vec<Consumer>,
    /// What is done with every request.
    #[serde(default)]
    pub plugins: Vec<Plugin>,
}

/// A door, with the time that it is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Unique.
    pub name: String,
    /// Name of an upstream.
    pub host: String,
    /// Where the upstream does not know better.
    pub port: u16,
    /// `http`.
    pub protocol: String,
    /// Whether requests pass.
    pub enabled: bool,
    /// Milliseconds.
    pub connect_timeout: u64,
    /// Milliseconds between two pieces of the request.
    pub write_timeout: u64,
    /// Milliseconds between two pieces of the answer.
    pub read_timeout: u64,
    /// Tries after the first.
    pub retries: u16,
    /// Who wrote it.
    pub tags: Vec<String>,
    /// The ways to it.
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// A way to a door.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Unique.
    pub name: String,
    /// Prefixes, and after a `~` regular expressions.
    pub paths: Vec<String>,
    /// Values of which one must match; a regular expression after `~*`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Vec<String>>,
    /// `http` and `https`.
    pub protocols: Vec<String>,
    /// Whether the part that matched is cut off.
    pub strip_path: bool,
    /// Whether the service sees the host that the client named.
    pub preserve_host: bool,
    /// Whether a body is read to its end before the service is asked.
    pub request_buffering: bool,
    /// Whether an answer is collected before it is passed on.
    pub response_buffering: bool,
    /// Who wrote it.
    pub tags: Vec<String>,
    /// What is done with the requests that take it.
    #[serde(default)]
    pub plugins: Vec<Plugin>,
}

/// The instances of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Name of the service; hosts of Kong's services refer to it.
    pub name: String,
    /// How an instance is chosen.
    pub algorithm: String,
    /// How a dead one is found.
    pub healthchecks: HealthChecks,
    /// Who wrote it.
    pub tags: Vec<String>,
    /// Where the instances are.
    pub targets: Vec<Target>,
}

/// Where instances are: one name, as many addresses as its DNS answer has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Host and port; the port of an SRV answer goes before it.
    pub target: String,
    /// Share.
    pub weight: u16,
    /// Who wrote it.
    pub tags: Vec<String>,
}

/// How dead instances are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthChecks {
    /// By asking.
    pub active: ActiveCheck,
    /// By watching the traffic.
    pub passive: PassiveCheck,
}

/// Asking instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActiveCheck {
    /// `http`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is asked for.
    pub http_path: String,
    /// Seconds.
    pub timeout: u32,
    /// Instances asked at once.
    pub concurrency: u32,
    /// How a dead one comes back.
    pub healthy: ActiveHealthy,
    /// How a living one is given up.
    pub unhealthy: ActiveUnhealthy,
}

/// How a dead instance comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActiveHealthy {
    /// Seconds between two checks.
    pub interval: u32,
    /// What counts.
    pub http_statuses: Vec<u16>,
    /// Good answers in a row.
    pub successes: u32,
}

/// How a living instance is given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActiveUnhealthy {
    /// Seconds between two checks.
    pub interval: u32,
    /// What counts.
    pub http_statuses: Vec<u16>,
    /// Bad answers in a row.
    pub http_failures: u32,
    /// Failed connections in a row.
    pub tcp_failures: u32,
    /// Silences in a row.
    pub timeouts: u32,
}

/// Watching the traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassiveCheck {
    /// `http`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What makes up for failures.
    pub healthy: PassiveHealthy,
    /// How an instance is given up; zero counts nothing.
    pub unhealthy: PassiveUnhealthy,
}

/// What makes up for failures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassiveHealthy {
    /// Good answers in a row.
    pub successes: u32,
}

/// How an instance is given up by its traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassiveUnhealthy {
    /// Bad answers in a row.
    pub http_failures: u32,
    /// Failed connections in a row.
    pub tcp_failures: u32,
    /// Silences in a row.
    pub timeouts: u32,
}

/// To whom keys belong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// Unique.
    pub username: String,
    /// Who wrote it.
    pub tags: Vec<String>,
    /// Keys of its tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jwt_secrets: Vec<JwtSecret>,
}

/// A public key by its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSecret {
    /// The `kid` of tokens.
    pub key: String,
    /// `EdDSA`.
    pub algorithm: String,
    /// The key as PEM, whatever its algorithm.
    pub rsa_public_key: String,
    /// Who wrote it.
    pub tags: Vec<String>,
}
