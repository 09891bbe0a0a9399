#![doc = include_str!("../README.md")]

mod admission;
mod answer;
mod config;
mod consumer;
mod credit;
mod dead_letter;
mod desk;
mod error;
mod grpc;
mod intake;
mod lease;
mod outbox;
mod reaper;
mod results;
mod retention;
mod retry;
mod service;
mod store;
mod submission;
mod task;
mod tasks;
mod watch;

pub use config::Config;
pub use error::Error;
pub use service::{BuildError, Service};
pub use store::{MIGRATOR, SCHEMA};

#[cfg(test)]
mod tests;
