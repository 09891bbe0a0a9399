#![doc = include_str!("../README.md")]

pub mod agent;
pub mod announce;
pub mod context;
pub mod failure;
pub mod models;
pub mod progress;
pub mod worker;

pub use agent::{About, Agent, Capability};
pub use context::{Payload, TaskContext, json_payload};
pub use failure::Failure;
pub use models::Models;
pub use progress::Progress;
pub use worker::{Introduction, Links, Worker};
