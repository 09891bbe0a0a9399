//! The public API and the fleet's own door, over a whole platform: one file per family, as their
//! addresses go, and what holds for all of them.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "an expectation that fails is a test that fails"
)]

mod agents;
mod auth;
mod bodies;
#[cfg(feature = "servers")]
mod cache;
mod chat;
mod circuit_breaker;
mod docs;
mod document;
mod fleet;
mod health;
mod metrics;
mod models;
mod openapi;
mod parameters;
mod rate_limit;
mod routes;
mod schema;
mod secrets;
mod system;
mod tasks;

/// An id that nothing has; a name that no agent has.
const UNKNOWN: &str = "0198c0de-0000-7000-8000-000000000000";

/// Model of the shared stage's node.
const MODEL: &str = "tinyllama:latest";

/// Returns the names of an object's members, sorted.
fn members(value: &serde_json::Value) -> Vec<&str> {
    let object = value.as_object();
    let object = object.unwrap_or_else(|| panic!("no object: {value}"));
    let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
