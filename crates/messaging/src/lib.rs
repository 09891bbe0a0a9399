#![doc = include_str!("../README.md")]

pub mod broker;
pub mod memory;
pub mod message;
mod observe;
pub mod rabbit;
pub mod topology;

pub use broker::{Broker, BrokerError, Consumer, Handler, Outcome};
pub use message::{Delivery, Outgoing};
