//! Every path of the API arrives where it belongs, and no route is there for nothing.

use std::collections::BTreeSet;

use super::Fault;
use crate::{
    kong::{
        entity::{Declaration, Route},
        plugin::Plugin,
        router::{NoPattern, Request, Router, Way},
    },
    openapi::{Document, Operation},
};

/// Has the shape of an API key and is none: its checksum is wrong.
const SAMPLE_KEY: &str = "Bearer sutazai_dev_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const SAMPLE_TOKEN: &str = "Bearer e30.e30.AA";

pub(super) fn faults(
    declaration: &Declaration,
    document: &Document,
) -> Result<Vec<Fault>, NoPattern> {
    let router = Router::new(declaration)?;
    let services = declaration.services.iter();
    let paths = services
        .flat_map(|service| &service.routes)
        .flat_map(|route| route.paths.iter().map(move |path| (route, path)));
    let mut faults: Vec<_> = paths
        .clone()
        .filter_map(|(route, path)| overtaken(&router, route, path))
        .collect();
    let operations = document.operations();
    faults.extend(operations.flat_map(|operation| misled(&router, operation)));
    // A path has several operations.
    faults.dedup();
    // Some open routes lead to what no document describes.
    let examples = paths.filter_map(|(_, path)| example(path));
    let samples = document.operations().map(|operation| operation.sample());
    let asked: BTreeSet<_> = examples.chain(samples).collect();
    let asked = asked.iter();
    faults.extend(asked.filter_map(|path| limited_otherwise(&router, path)));
    Ok(faults)
}

/// Asks for a path that a route is there for, and tells when another route takes it.
fn overtaken(router: &Router<'_>, route: &Route, path: &str) -> Option<Fault> {
    let unreadable = || Fault::Unreadable {
        entity: format!("route {}", route.name),
        pattern: path.to_owned(),
    };
    let Some(example) = example(path) else {
        return Some(unreadable());
    };
    let authorization = (!route.headers.is_empty()).then_some(SAMPLE_KEY);
    let found = router.matches(Request {
        path: &example,
        authorization,
    });
    let is_mine = |way: &&&Way<'_>| way.route.name == route.name;
    let Some(mine) = found.iter().find(is_mine) else {
        return Some(unreadable());
    };
    let other = found.iter().find(|way| !is_mine(way))?;
    let name = || route.name.clone();
    let by = other.route.name.clone();
    if other.ties_with(mine) {
        Some(Fault::SameRoute {
            first: name(),
            second: by,
            example,
        })
    } else if found[0].route.name == route.name {
        None
    } else {
        Some(Fault::Shadowed {
            route: name(),
            by,
            example,
        })
    }
}

/// Returns a path that nobody but this entry of a route should take.
fn example(path: &str) -> Option<String> {
    let Some(pattern) = path.strip_prefix('~') else {
        let slash = if path.ends_with('/') { "" } else { "/" };
        return Some(format!("{path}{slash}x1"));
    };
    let whole = pattern.strip_suffix('$')?;
    let plain = whole.replace("[^/]+", "x1").replace(r"\.", ".");
    let is_plain = plain
        .replace('\\', "*")
        .chars()
        .all(|c| c.is_alphanumeric() || "/_-.".contains(c));
    // An unescaped dot would match anything.
    let dots = whole.matches('.').count() == whole.matches(r"\.").count();
    (is_plain && dots).then_some(plain)
}

/// Tells when an operation arrives nowhere, or past the wrong guard.
fn misled(router: &Router<'_>, operation: Operation<'_>) -> Vec<Fault> {
    let sample = operation.sample();
    let mut faults = Vec::new();
    for authorization in [None, Some(SAMPLE_TOKEN), Some(SAMPLE_KEY)] {
        let found = router.matches(Request {
            path: &sample,
            authorization,
        });
        let path = operation.path.to_owned();
        let Some(way) = found.first().filter(|way| is_of_family(way, &sample)) else {
            return vec![Fault::NoRoute { path }];
        };
        let asks = way.route.plugins.iter().any(is_token_check);
        let takes_key = authorization == Some(SAMPLE_KEY) && !way.route.headers.is_empty();
        let route = way.route.name.clone();
        if operation.guarded && !asks && !takes_key {
            faults.push(Fault::Unguarded { path, route });
        } else if !operation.guarded && asks {
            faults.push(Fault::Closed { path, route });
        }
    }
    faults.dedup();
    faults
}

/// Tells when a credential that nobody asks for brings a request the limits of another class.
fn limited_otherwise(router: &Router<'_>, path: &str) -> Option<Fault> {
    let taken = |authorization| {
        let found = router.matches(Request {
            path,
            authorization,
        });
        found.first().map(|way| way.route)
    };
    let plain = taken(None)?;
    if plain.plugins.iter().any(is_token_check) {
        return None;
    }
    let other = [SAMPLE_TOKEN, SAMPLE_KEY]
        .into_iter()
        .filter_map(|credential| taken(Some(credential)))
        .find(|route| limits(route) != limits(plain))?;
    Some(Fault::OtherLimits {
        path: path.to_owned(),
        route: plain.name.clone(),
        by: other.name.clone(),
    })
}

/// Returns how many requests a route lets pass, and how large ones.
fn limits(route: &Route) -> [Option<&Plugin>; 2] {
    ["rate-limiting", "request-size-limiting"].map(|name| {
        let mut plugins = route.plugins.iter();
        plugins.find(|plugin| plugin.name() == name)
    })
}

fn is_token_check(plugin: &Plugin) -> bool {
    matches!(plugin, Plugin::Jwt { .. })
}

/// `/api/v1/chatbot` begins like `/api/v1/chat` and is not of its family.
fn is_of_family(way: &Way<'_>, path: &str) -> bool {
    way.path.starts_with('~')
        || way.path.ends_with('/')
        || path
            .strip_prefix(way.path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
