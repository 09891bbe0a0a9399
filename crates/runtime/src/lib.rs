#![doc = include_str!("../README.md")]

mod admin;
pub mod config;
pub mod entry;
mod grpc;
mod grpc_layers;
mod http_layers;
pub mod lifecycle;
pub mod parting;
mod parts;
pub mod probe;
mod serve;
pub mod service;

pub use config::{Configured, Source, load};
pub use entry::main;
pub use lifecycle::Shutdown;
pub use parts::Parts;
pub use service::{Addresses, Process, Service};
