#![doc = include_str!("../README.md")]

pub mod backoff;
pub mod batch;
pub mod breaker;
pub mod coalesce;
pub mod deadline;
pub mod registry;
pub mod retry_budget;

pub use backoff::Backoff;
pub use breaker::Breaker;
pub use coalesce::Flights;
pub use deadline::{Deadline, Elapsed};
pub use registry::Breakers;
pub use retry_budget::RetryBudget;
