#![doc = include_str!("../README.md")]

mod chat;
mod config;
mod error;
mod fleet;
mod grpc;
mod http;
mod models;
mod ollama;
mod probe;
mod service;

pub use config::Config;
pub use error::{Error, Fault};
pub use service::{BuildError, Service};
