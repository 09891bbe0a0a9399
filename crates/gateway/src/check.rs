//! What is wrong with a configuration, before any Kong has seen it.

mod hosts;
pub mod memory;
mod names;
mod policy;
mod routing;

use serde::Serialize;

use crate::{
    kong::{conf::Conf, entity::Declaration, router::NoPattern},
    openapi::Document,
};

/// Something that a Kong would do wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// Nothing answers under this host.
    #[error("{entity}: `{host}` is no service of the platform")]
    DeadHost {
        /// Where it is named.
        entity: String,
        /// The host.
        host: String,
    },
    /// A host is an upstream's that the file does not have.
    #[error("service {service}: there is no upstream `{upstream}`")]
    NoUpstream {
        /// Kong's service.
        service: String,
        /// The name.
        upstream: String,
    },
    /// No service uses it.
    #[error("upstream {upstream}: no service uses it")]
    UnusedUpstream {
        /// The upstream.
        upstream: String,
    },
    /// Two entities of a kind have one name.
    #[error("two {kind} are named `{name}`")]
    SameName {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Kong may take either of two routes.
    #[error("routes {first} and {second} take the same requests, such as {example}")]
    SameRoute {
        /// A route.
        first: String,
        /// Another.
        second: String,
        /// A path.
        example: String,
    },
    /// A route gets no request, because another one takes them all.
    #[error("route {route} never gets {example}: {by} takes it")]
    Shadowed {
        /// The route.
        route: String,
        /// The other one.
        by: String,
        /// A path that it is there for.
        example: String,
    },
    /// A pattern that can not be judged.
    #[error("{entity}: `{pattern}` can not be judged: only whole paths and `[^/]+` can")]
    Unreadable {
        /// Where it stands.
        entity: String,
        /// The pattern.
        pattern: String,
    },
    /// A path of the API has no route of its family.
    #[error("no route for {path}")]
    NoRoute {
        /// The path.
        path: String,
    },
    /// An operation that needs a credential passes without.
    #[error("{path} needs a credential, and route {route} asks for none")]
    Unguarded {
        /// The path.
        path: String,
        /// The route.
        route: String,
    },
    /// An open operation is refused without a credential.
    #[error("{path} is open, and route {route} asks for a credential")]
    Closed {
        /// The path.
        path: String,
        /// The route.
        route: String,
    },
    /// A credential that nobody asks for brings other limits.
    #[error(
        "{path} is open, and with a credential it has the limits of route {by}, not those of {route}"
    )]
    OtherLimits {
        /// The path.
        path: String,
        /// The route without a credential.
        route: String,
        /// The route with one.
        by: String,
    },
    /// Instances are asked too often.
    #[error("upstream {upstream}: a health check every {seconds} s, at least 30 are asked for")]
    HastyCheck {
        /// The upstream.
        upstream: String,
        /// The pause.
        seconds: u32,
    },
    /// Every site may use the API.
    #[error("the plugin cors allows every origin")]
    EveryOrigin,
    /// One series for each consumer.
    #[error("the plugin prometheus counts {what}")]
    CostlyMetrics {
        /// What is counted.
        what: &'static str,
    },
    /// A plugin is used that Kong does not load.
    #[error("kong.conf does not load the plugin {plugin}")]
    NotLoaded {
        /// The plugin.
        plugin: String,
    },
    /// A setting of the memory budget is no number.
    #[error("kong.conf: {setting} = {value} has no size to count with")]
    NoSize {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// More memory than there is.
    #[error("Kong may take {mebibytes} MiB, more than {limit} MiB")]
    Memory {
        /// What it may take.
        mebibytes: u64,
        /// What it has.
        limit: u64,
    },
}

/// Returns all faults.
pub fn check(declaration: &Declaration, conf: &Conf, document: &Document) -> Vec<Fault> {
    let mut faults = names::faults(declaration);
    faults.extend(hosts::faults(declaration));
    match routing::faults(declaration, document) {
        Ok(found) => faults.extend(found),
        Err(NoPattern { route, pattern, .. }) => faults.push(Fault::Unreadable {
            entity: format!("route {route}"),
            pattern,
        }),
    }
    faults.extend(policy::faults(declaration, conf));
    faults.extend(memory::faults(conf));
    faults
}
