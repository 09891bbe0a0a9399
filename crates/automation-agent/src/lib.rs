#![doc = include_str!("../README.md")]

mod agent;
mod config;
mod conversation;
pub mod plan;
pub mod policy;
mod service;

pub use config::Config;
pub use service::{BuildError, Service};
