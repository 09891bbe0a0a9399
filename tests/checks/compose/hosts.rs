//! Who reaches whom: every name leads to a container, in a network that both are in (PORT-04).

use std::str::FromStr;

use serde_json::Value;
use sutazai_gateway::kong::entity::Declaration;
use sutazai_mesh::catalog::ServiceName;

use super::{Compose, entries, keys, texts};
use crate::image::Image;

pub(super) fn faults(compose: &Compose<'_>) -> Vec<String> {
    [hosts(compose), doors(compose)].concat()
}

/// No address names a container that is not there or out of reach, and none names a service of ours.
fn hosts(compose: &Compose<'_>) -> Vec<String> {
    let containers = &compose.root["services"];
    let mut faults = Vec::new();
    for (name, container) in compose.programs() {
        let settings = entries(&container["environment"]);
        let named = settings.filter_map(|(setting, value)| host_of(setting, value.as_str()?));
        let arguments: Vec<&str> = texts(&container["command"]).collect();
        let hosts = arguments.windows(2).filter_map(|pair| match pair[0] {
            "--host" => Some(pair[1]),
            "--address" => authority(pair[1]),
            _ => None,
        });
        for host in named.chain(hosts) {
            if ServiceName::from_str(host).is_ok() {
                faults.push(format!("{name} is told of {host}, which Consul finds"));
            } else if containers[host].is_null() {
                faults.push(format!("{name} is told of {host}, which is not there"));
            } else if !together(container, &containers[host]) {
                faults.push(format!("{name} is told of {host}, which it can not reach"));
            }
        }
    }
    faults
}

/// Every target of the gateway's file is a name of the right container, on the port of its image.
fn doors(compose: &Compose<'_>) -> Vec<String> {
    let file = compose.tree.text("kong/kong.yml").expect("kong.yml");
    let declaration = Declaration::from_yaml(file).expect("kong.yml");
    let port = Image::read(compose.tree).http_port();
    let kong = keys(&compose.root["services"]["kong"]["networks"]);
    let mut faults = Vec::new();
    for upstream in &declaration.upstreams {
        let networks = &compose.root["services"][&upstream.name]["networks"];
        for target in &upstream.targets {
            let (host, wanted) = target.target.rsplit_once(':').expect("host and port");
            let answers = entries(networks)
                .filter(|(network, _)| kong.contains(network))
                .any(|(_, at)| texts(&at["aliases"]).any(|alias| alias == host));
            if !answers {
                faults.push(format!(
                    "{} does not answer to {host} beside kong",
                    upstream.name
                ));
            }
            if wanted != port {
                faults.push(format!(
                    "kong asks {host} on {wanted}, which listens on {port}"
                ));
            }
        }
    }
    faults
}

fn together(one: &Value, other: &Value) -> bool {
    let others = keys(&other["networks"]);
    keys(&one["networks"])
        .intersection(&others)
        .next()
        .is_some()
}

/// Returns the host that a setting names, for settings that name one.
fn host_of<'a>(setting: &str, value: &'a str) -> Option<&'a str> {
    if setting.ends_with("_HOST") {
        return Some(value);
    }
    authority(value)
}

/// Returns the host of a URL, which may be the default of a variable.
fn authority(value: &str) -> Option<&str> {
    let authority = value.split_once("://")?.1;
    let end = authority.find([':', '/', '}']).unwrap_or(authority.len());
    Some(&authority[..end])
}
