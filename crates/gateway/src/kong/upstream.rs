//! Where the instances of our doors are, and how dead ones are found.

use std::collections::BTreeSet;

use sutazai_mesh::catalog::ServiceName;

use super::{
    door::CONTAINER_PORT,
    entity::{
        ActiveCheck, ActiveHealthy, ActiveUnhealthy, HealthChecks, PassiveCheck, PassiveHealthy,
        PassiveUnhealthy, Target, Upstream,
    },
    everywhere::tags,
};
use crate::{deadlines, routes::ROUTES};

/// What Consul's DNS appends to the name of a service.
pub(crate) const REGISTRY_DOMAIN: &str = ".service.consul";
/// Failures in a row after which an instance is given up.
const FAILURES: u32 = 3;

/// Returns the instances of every service that has a route.
pub(super) fn all() -> Vec<Upstream> {
    let services: BTreeSet<_> = ROUTES.iter().map(|route| route.entry.service()).collect();
    services.into_iter().map(upstream).collect()
}

fn upstream(service: ServiceName) -> Upstream {
    let target = Target {
        target: format!("{service}{REGISTRY_DOMAIN}:{CONTAINER_PORT}"),
        weight: 100,
        tags: tags(),
    };
    Upstream {
        name: service.as_str().to_owned(),
        algorithm: "round-robin".to_owned(),
        healthchecks: HealthChecks {
            active: active(),
            passive: passive(),
        },
        tags: tags(),
        targets: vec![target],
    }
}

fn active() -> ActiveCheck {
    let interval = u32::try_from(deadlines::HEALTH_CHECK_PAUSE.as_secs()).unwrap_or(u32::MAX);
    ActiveCheck {
        kind: "http".to_owned(),
        http_path: "/health".to_owned(),
        timeout: 5,
        concurrency: 4,
        healthy: ActiveHealthy {
            interval,
            http_statuses: vec![200],
            successes: 1,
        },
        unhealthy: ActiveUnhealthy {
            interval,
            http_statuses: vec![500, 503],
            http_failures: FAILURES,
            tcp_failures: FAILURES,
            timeouts: FAILURES,
        },
    }
}

fn passive() -> PassiveCheck {
    PassiveCheck {
        kind: "http".to_owned(),
        // Kong forgets failures only where it counts successes.
        healthy: PassiveHealthy { successes: 1 },
        unhealthy: PassiveUnhealthy {
            // An error that an instance answers is an answer: no model is free, a limit is reached.
            http_failures: 0,
            tcp_failures: FAILURES,
            timeouts: FAILURES,
        },
    }
}
