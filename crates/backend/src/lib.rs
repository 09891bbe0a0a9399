#![doc = include_str!("../README.md")]

pub mod config;
pub mod error;
pub mod service;

mod accounts;
mod chat;
mod circuit_breakers;
mod conversation;
mod cursor;
mod http;
mod peers;
mod resources;
mod retention;
mod store;
mod system;

pub use config::Config;
pub use error::Error;
pub use http::{AllowedOrigins, InvalidOrigins, Rates};
pub use service::Service;
pub use store::{MIGRATOR, SCHEMA};

/// The document of the API, as it is committed.
pub const OPENAPI: &str = include_str!("../openapi.json");
