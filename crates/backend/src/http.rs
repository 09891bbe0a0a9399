//! The public HTTP API: one file per family, all routes in [`routes`].

mod agents;
mod auth;
mod cache;
mod chat;
mod circuit_breaker;
mod conversations;
mod docs;
mod door;
mod input;
mod limit;
mod models;
mod openapi;
mod page;
mod problem;
mod routes;
mod security;
mod sse;
mod system;
mod tasks;
mod time;

pub use limit::Rates;
pub use security::{AllowedOrigins, InvalidOrigins};

pub(crate) use limit::Limits;
pub(crate) use routes::{Parts, router};
pub(crate) use system::Facts;
