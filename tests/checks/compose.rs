//! `deploy/compose.yaml` against what the programs, the gateway and the documents say.

mod access;
mod containers;
mod engine;
mod hosts;
mod network;
mod planted;
mod ports;
mod settings;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::tree::Tree;

pub(crate) const FILE: &str = "deploy/compose.yaml";

/// Servers of others that the file may name.
const SERVERS: [&str; 6] = ["consul", "kong", "ollama", "postgres", "rabbitmq", "redis"];
/// Commands of ours that prepare something and end.
const PREPARATIONS: [&str; 2] = ["enroll", "migrate"];

/// The file, read, and what it has to fit.
pub(crate) struct Compose<'a> {
    tree: &'a Tree,
    text: &'a str,
    root: Value,
}

impl<'a> Compose<'a> {
    /// Reads the file; merge keys (`<<`) are resolved.
    pub(crate) fn read(tree: &'a Tree) -> Self {
        let text = tree.text(FILE).expect("the compose file");
        let root = serde_saphyr::from_str(text).expect("YAML");
        Self { tree, text, root }
    }

    fn services(&self) -> impl Iterator<Item = (&str, &Value)> {
        entries(&self.root["services"])
    }

    /// Containers of our own image: services, their replicas, and preparations.
    fn programs(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.services().filter(|(name, _)| !SERVERS.contains(name))
    }

    fn faults(&self) -> Vec<String> {
        let rules = [
            ports::faults,
            containers::faults,
            settings::faults,
            network::faults,
            hosts::faults,
            access::faults,
        ];
        rules.iter().flat_map(|rule| rule(self)).collect()
    }
}

/// Returns the service that a container runs: `backend-2` runs what `backend` runs.
fn service_of(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((service, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => service,
        _ => name,
    }
}

/// Iterates over a mapping.
fn entries(mapping: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let entries = mapping.as_object().into_iter().flatten();
    entries.map(|(name, value)| (name.as_str(), value))
}

/// Lists the keys of a mapping.
fn keys(mapping: &Value) -> BTreeSet<&str> {
    entries(mapping).map(|(name, _)| name).collect()
}

/// Iterates over a list of texts.
fn texts(list: &Value) -> impl Iterator<Item = &str> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str)
}

#[test]
fn port_01_03_04_cfg_06_the_compose_file_fits_the_programs() {
    let repository = crate::repository();
    crate::assert_none(&Compose::read(&repository).faults());
}
