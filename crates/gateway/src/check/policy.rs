//! What plugins and health checks must not do.

use std::collections::BTreeSet;

use super::Fault;
use crate::{
    deadlines,
    kong::{conf::Conf, entity::Declaration, plugin::Plugin},
};

pub(super) fn faults(declaration: &Declaration, conf: &Conf) -> Vec<Fault> {
    let routes = declaration
        .services
        .iter()
        .flat_map(|service| &service.routes);
    let of_routes = routes.flat_map(|route| &route.plugins);
    let plugins: Vec<_> = declaration.plugins.iter().chain(of_routes).collect();
    let mut faults: Vec<_> = plugins.iter().copied().flat_map(habit).collect();
    faults.extend(hasty(declaration));
    faults.extend(not_loaded(&plugins, conf));
    faults
}

fn habit(plugin: &Plugin) -> Vec<Fault> {
    match plugin {
        Plugin::Cors { origins, .. }
            if origins.is_empty() || origins.iter().any(|origin| is_wild(origin)) =>
        {
            vec![Fault::EveryOrigin]
        }
        Plugin::Prometheus {
            per_consumer,
            latency_metrics,
            bandwidth_metrics,
            ..
        } => [
            (*per_consumer, "each consumer"),
            (*latency_metrics, "latencies"),
            (*bandwidth_metrics, "bytes"),
        ]
        .into_iter()
        .filter(|(counted, _)| *counted)
        .map(|(_, what)| Fault::CostlyMetrics { what })
        .collect(),
        _ => Vec::new(),
    }
}

/// An origin with a star, or with anything else of a regular expression.
fn is_wild(origin: &str) -> bool {
    !origin
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || ".:/-".contains(c))
}

fn hasty(declaration: &Declaration) -> Vec<Fault> {
    let least = deadlines::HEALTH_CHECK_PAUSE.as_secs();
    let pause = |checks: &crate::kong::entity::HealthChecks| {
        let active = &checks.active;
        active.healthy.interval.min(active.unhealthy.interval)
    };
    let upstreams = declaration.upstreams.iter();
    upstreams
        .map(|upstream| (upstream, pause(&upstream.healthchecks)))
        .filter(|(_, seconds)| u64::from(*seconds) < least)
        .map(|(upstream, seconds)| Fault::HastyCheck {
            upstream: upstream.name.clone(),
            seconds,
        })
        .collect()
}

fn not_loaded(plugins: &[&Plugin], conf: &Conf) -> Vec<Fault> {
    let Some(loaded) = conf.plugins() else {
        return Vec::new();
    };
    let used: BTreeSet<_> = plugins.iter().map(|plugin| plugin.name()).collect();
    let missing = used.into_iter().filter(|name| !loaded.contains(name));
    missing
        .map(|name| Fault::NotLoaded {
            plugin: name.to_owned(),
        })
        .collect()
}
