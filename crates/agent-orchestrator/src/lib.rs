#![doc = include_str!("../README.md")]

mod agents;
mod config;
mod error;
mod generate;
mod grpc;
mod service;
mod store;

pub use config::Config;
pub use error::Error;
pub use service::{BuildError, Service};
pub use store::{MIGRATOR, SCHEMA};
