#![doc = include_str!("../README.md")]

mod config;
pub mod follow;
mod init;
mod json;
pub mod metrics;
pub mod names;
pub mod propagate;
mod service;
mod traces;

pub use config::{Config, DEFAULT_FILTER, Format, UnknownFormat};
pub use init::{Guard, InitError, init, spans_are_read};
pub use service::service_span;
pub use traces::{Export, Sampling, Traces};
