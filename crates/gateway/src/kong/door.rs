//! The route table as Kong's services and routes.

use std::{collections::BTreeMap, time::Duration};

use super::{entity, everywhere::tags, guard};
use crate::{
    deadlines,
    model::{Admission, Entry, Paths, Route},
};

/// Port of our HTTP doors in containers; elsewhere the registry's answer names the port.
pub(super) const CONTAINER_PORT: u16 = 8000;
/// Appended to the name of a route for the one that takes API keys.
const API_KEY_SUFFIX: &str = "-api-key";

/// Returns a service of Kong for each entry that has routes.
pub(super) fn services(table: &[Route]) -> Vec<entity::Service> {
    let entries = Entry::ALL.into_iter();
    entries
        .map(|entry| {
            let routes = table.iter().filter(|route| route.entry == entry);
            service(entry, routes.flat_map(routes_of).collect())
        })
        .filter(|service| !service.routes.is_empty())
        .collect()
}

fn service(entry: Entry, routes: Vec<entity::Route>) -> entity::Service {
    let host = entry.service().as_str().to_owned();
    let name = match entry {
        Entry::BackendStreaming => format!("{host}-streaming"),
        Entry::Backend | Entry::OllamaProxy => host.clone(),
    };
    entity::Service {
        name,
        host,
        port: CONTAINER_PORT,
        protocol: "http".to_owned(),
        enabled: true,
        connect_timeout: milliseconds(deadlines::ORDINARY),
        write_timeout: milliseconds(deadlines::ORDINARY),
        read_timeout: milliseconds(entry.read_timeout()),
        retries: deadlines::RETRIES,
        tags: tags(),
        routes,
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns one route, and a second one for requests with an API key, which asks for no token: the
/// door behind judges keys. Kong counts conditions first, so an open route needs the second one as
/// well: without it, its requests with a key would go by the family around it and have its limits.
fn routes_of(route: &Route) -> [entity::Route; 2] {
    let credential = match route.admission {
        Admission::Open => None,
        Admission::Credential => Some(guard::token()),
    };
    let plain = entity::Route {
        name: route.name.to_owned(),
        paths: paths(route.paths),
        headers: BTreeMap::new(),
        protocols: vec!["http".to_owned(), "https".to_owned()],
        strip_path: route.strips,
        preserve_host: true,
        request_buffering: true,
        response_buffering: !route.entry.streams(),
        tags: tags(),
        plugins: guard::plugins(route.class, credential),
    };
    let with_key = entity::Route {
        name: format!("{}{API_KEY_SUFFIX}", plain.name),
        headers: guard::api_key_header(),
        plugins: guard::plugins(route.class, None),
        ..plain.clone()
    };
    [plain, with_key]
}

fn paths(paths: Paths) -> Vec<String> {
    match paths {
        Paths::Exact(all) => all.iter().map(|path| pattern(path)).collect(),
        Paths::Below(all) => all.iter().map(|&path| path.to_owned()).collect(),
        Paths::Shaped(shape) => vec![pattern(shape)],
    }
}

/// Returns the regular expression of a whole path, in which `*` stands for one segment.
fn pattern(shape: &str) -> String {
    format!("~{}$", shape.replace('.', r"\.").replace('*', "[^/]+"))
}
