//! A container is given settings that its program reads, and all that it can not do without (CFG-06).

use std::{collections::BTreeSet, str::FromStr};

use serde_json::Value;
use sutazai_cli::{configuration, environment};
use sutazai_gateway::kong::conf::Conf;
use sutazai_mesh::catalog::ServiceName;
use sutazai_runtime::config::Setting;

use super::{Compose, entries, keys, service_of, texts};
use crate::image::Image;

/// Parts that stand in for a whole address: the address, and the parts that have to be there.
const IN_PARTS: [(&str, [&str; 2]); 2] = [
    ("DATABASE_URL", ["POSTGRES_HOST", "POSTGRES_PASSWORD"]),
    ("AMQP_URL", ["RABBITMQ_HOST", "RABBITMQ_DEFAULT_PASS"]),
];
/// Parts of the database's address for a service that could do without one.
const DATABASE: &str = "POSTGRES_HOST";
/// Settings of Kong that kong.conf leaves alone.
const KONG: [&str; 3] = ["prefix", "declarative_config", "dns_valid_ttl"];
/// How long Kong believes the engine's names. By their own word it would be ten minutes, in which a door that is made
/// anew may get the address of the other one.
const KONG_BELIEVES: &str = "KONG_DNS_VALID_TTL";

pub(super) fn faults(compose: &Compose<'_>) -> Vec<String> {
    let image = Image::read(compose.tree);
    let mut faults = Vec::new();
    for (name, container) in compose.services() {
        if let Ok(service) = ServiceName::from_str(service_of(name)) {
            faults.extend(of_service(name, service, container, &image));
        }
    }
    for service in configuration::SERVICES {
        if compose.root["services"][service.as_str()].is_null() {
            faults.push(format!("{service} is not there"));
        }
    }
    faults.extend(of_kong(compose));
    faults.extend(described(compose));
    faults
}

fn of_service(
    name: &str,
    service: ServiceName,
    container: &Value,
    image: &Image<'_>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let command: Vec<&str> = texts(&container["command"]).collect();
    if command != ["serve", service.as_str()] {
        faults.push(format!("{name} does not run itself, but {command:?}"));
    }
    let known = configuration::settings(service);
    let given = keys(&container["environment"]);
    for setting in given
        .iter()
        .copied()
        .chain(image.environment.keys().copied())
    {
        if !known.iter().any(|known| is_named(known, setting)) {
            faults.push(format!("{name} reads no setting {setting}"));
        }
    }
    let has = |setting: &str| {
        given.contains(setting) || given.contains(format!("{setting}_FILE").as_str())
    };
    let mut needed: BTreeSet<&str> = BTreeSet::new();
    for setting in known.iter().filter(|setting| setting.required) {
        match IN_PARTS.iter().find(|(whole, _)| *whole == setting.name) {
            Some((_, parts)) => needed.extend(parts),
            None => {
                needed.insert(setting.name);
            }
        }
    }
    if known.iter().any(|setting| setting.name == DATABASE) {
        needed.extend(IN_PARTS[0].1);
    }
    // Consul asks for tokens here.
    needed.insert("CONSUL_HTTP_TOKEN");
    let missing = needed.iter().filter(|setting| !has(setting));
    faults.extend(missing.map(|setting| format!("{name} is not given {setting}")));
    faults
}

/// A secret is named by its file only.
fn is_named(setting: &Setting, name: &str) -> bool {
    if setting.secret {
        name.strip_suffix("_FILE") == Some(setting.name)
    } else {
        name == setting.name
    }
}

fn of_kong(compose: &Compose<'_>) -> Vec<String> {
    let conf = compose.tree.text("kong/kong.conf").expect("kong.conf");
    let conf = Conf::parse(conf).expect("kong.conf");
    let environment = &compose.root["services"]["kong"]["environment"];
    let mut faults: Vec<String> = entries(environment)
        .filter(|(variable, _)| {
            let name = variable.strip_prefix("KONG_").unwrap_or_default();
            let name = name.to_lowercase();
            conf.get(&name).is_none() && !KONG.contains(&name.as_str())
        })
        .map(|(variable, _)| format!("kong has no setting {variable}"))
        .collect();
    if environment[KONG_BELIEVES].is_null() {
        faults.push(format!("kong is not given {KONG_BELIEVES}"));
    }
    faults
}

/// What the file takes from the environment is described in `.env.example`.
fn described(compose: &Compose<'_>) -> Vec<String> {
    let example = environment::example();
    let named = compose.text.match_indices("${").filter_map(|(at, _)| {
        let rest = &compose.text[at + 2..];
        Some(&rest[..rest.find([':', '}'])?])
    });
    let named: BTreeSet<&str> = named.collect();
    named
        .into_iter()
        .filter(|name| !example.contains(&format!("\n#{name}=")))
        .map(|name| format!(".env.example does not describe {name}"))
        .collect()
}
