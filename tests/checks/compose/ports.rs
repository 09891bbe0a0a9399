//! Ports on the host and names in the network, as documented (PORT-01, PORT-03, PORT-04).

use std::{collections::BTreeSet, str::FromStr};

use sutazai_mesh::catalog::ServiceName;

use super::{Compose, PREPARATIONS, SERVERS, entries, service_of, texts};

/// Ports on the host, with container and port behind each; a replica stands a hundred apart.
const PORTS: [(u16, &str, u16); 12] = [
    (10000, "postgres", 5432),
    (10001, "redis", 6379),
    (10005, "kong", 8000),
    (10006, "consul", 8500),
    (10007, "rabbitmq", 5672),
    (10008, "rabbitmq", 15672),
    (10010, "backend", 8000),
    (10011, "ollama-proxy", 8000),
    (10015, "kong", 8001),
    (10104, "ollama", 11434),
    (10110, "backend-2", 8000),
    (10111, "ollama-proxy-2", 8000),
];
/// The old names, with the container that answers to each.
const ALIASES: [(&str, &str); 8] = [
    ("sutazai-backend", "backend"),
    ("sutazai-ollama", "ollama"),
    ("sutazai-redis", "redis"),
    ("sutazai-consul", "consul"),
    ("sutazai-kong", "kong"),
    ("sutazai-jarvis-automation-agent", "automation-agent"),
    ("sutazai-ai-agent-orchestrator", "agent-orchestrator"),
    ("sutazai-task-assignment-coordinator", "task-coordinator"),
];

pub(super) fn faults(compose: &Compose<'_>) -> Vec<String> {
    [published(compose), names(compose), aliases(compose)].concat()
}

/// Exactly the documented ports, and on loopback only.
fn published(compose: &Compose<'_>) -> Vec<String> {
    let wanted = PORTS.map(|(host, name, inside)| {
        let port = format!("127.0.0.1:{host}:{inside}");
        (name.to_owned(), port)
    });
    let wanted: BTreeSet<_> = wanted.into();
    let found: BTreeSet<_> = compose
        .services()
        .flat_map(|(name, service)| {
            texts(&service["ports"]).map(|port| (name.to_owned(), port.to_owned()))
        })
        .collect();
    let differences = wanted.symmetric_difference(&found);
    differences
        .map(|(name, port)| format!("port {port} of {name} is not as documented"))
        .collect()
}

/// A container is a service of the platform, a known server, or a preparation.
fn names(compose: &Compose<'_>) -> Vec<String> {
    let known = |name: &str| {
        SERVERS.contains(&name)
            || PREPARATIONS.contains(&name)
            || ServiceName::from_str(service_of(name)).is_ok()
    };
    let unknown = compose.services().filter(|(name, _)| !known(name));
    unknown
        .map(|(name, _)| format!("{name} is neither a service nor a known server"))
        .collect()
}

fn aliases(compose: &Compose<'_>) -> Vec<String> {
    let answers = |name: &str, alias: &str| {
        let networks = &compose.root["services"][name]["networks"];
        entries(networks).any(|(_, at)| texts(&at["aliases"]).any(|found| found == alias))
    };
    ALIASES
        .iter()
        .filter(|(alias, name)| !answers(name, alias))
        .map(|(alias, name)| format!("{name} does not answer to {alias}"))
        .collect()
}
