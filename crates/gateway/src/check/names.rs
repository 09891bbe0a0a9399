//! One name, one entity.

use std::collections::BTreeSet;

use super::Fault;
use crate::kong::entity::Declaration;

pub(super) fn faults(declaration: &Declaration) -> Vec<Fault> {
    let services = declaration.services.iter();
    let routes = services.clone().flat_map(|service| &service.routes);
    let upstreams = declaration.upstreams.iter();
    let mut faults = Vec::new();
    faults.extend(twice("services", services.map(|service| &service.name)));
    faults.extend(twice("routes", routes.map(|route| &route.name)));
    faults.extend(twice("upstreams", upstreams.map(|upstream| &upstream.name)));
    faults
}

fn twice<'a>(kind: &'static str, names: impl Iterator<Item = &'a String>) -> Vec<Fault> {
    let mut seen = BTreeSet::new();
    let again = names.filter(|&name| !seen.insert(name));
    again
        .map(|name| Fault::SameName {
            kind,
            name: name.clone(),
        })
        .collect()
}
