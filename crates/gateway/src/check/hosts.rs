//! Every host is a service of the platform, by its one name.

use std::str::FromStr;

use sutazai_mesh::catalog::ServiceName;

use super::Fault;
use crate::kong::{REGISTRY_DOMAIN, entity::Declaration};

pub(super) fn faults(declaration: &Declaration) -> Vec<Fault> {
    let mut faults = Vec::new();
    for service in &declaration.services {
        let entity = || format!("service {}", service.name);
        if service_of(&service.host).is_none() {
            faults.push(dead(entity(), &service.host));
        } else if !has_upstream(declaration, &service.host) {
            faults.push(Fault::NoUpstream {
                service: service.name.clone(),
                upstream: service.host.clone(),
            });
        }
    }
    for upstream in &declaration.upstreams {
        let entity = || format!("upstream {}", upstream.name);
        let service = ServiceName::from_str(&upstream.name).ok();
        if service.is_none() {
            faults.push(dead(entity(), &upstream.name));
        }
        for target in &upstream.targets {
            let host = target.target.split(':').next().unwrap_or_default();
            // A target of another service would be as wrong as one of none.
            if service.is_some() && service_of(host) != service {
                faults.push(dead(entity(), host));
            }
        }
        if !declaration
            .services
            .iter()
            .any(|one| one.host == upstream.name)
        {
            faults.push(Fault::UnusedUpstream {
                upstream: upstream.name.clone(),
            });
        }
    }
    faults
}

fn dead(entity: String, host: &str) -> Fault {
    Fault::DeadHost {
        entity,
        host: host.to_owned(),
    }
}

/// Reads a bare name, or the name under which Consul's DNS knows a service.
fn service_of(host: &str) -> Option<ServiceName> {
    let name = host.strip_suffix(REGISTRY_DOMAIN).unwrap_or(host);
    ServiceName::from_str(name).ok()
}

/// A name of Consul's DNS needs no upstream: it has the instances itself.
fn has_upstream(declaration: &Declaration, host: &str) -> bool {
    let mut upstreams = declaration.upstreams.iter();
    host.ends_with(REGISTRY_DOMAIN) || upstreams.any(|upstream| upstream.name == host)
}
