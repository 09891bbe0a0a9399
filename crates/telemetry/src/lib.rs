#![doc = include_str!("../README.md")]

mod config;
mod init;
mod json;
pub mod metrics;
pub mod names;
pub mod propagate;

pub use config::{Config, DEFAULT_FILTER, Format, UnknownFormat};
pub use init::{Guard, InitError, init};
