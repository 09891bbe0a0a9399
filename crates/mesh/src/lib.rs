#![doc = include_str!("../README.md")]

pub mod catalog;
pub mod channel;
pub mod http;
pub mod registry;

pub use catalog::ServiceName;
pub use channel::{Edge, Mesh};
pub use registry::{Instance, InstanceId, Registry};
