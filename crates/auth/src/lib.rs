#![doc = include_str!("../README.md")]

pub mod api_key;
mod credential;
mod crypto;
mod error;
pub mod grpc;
pub mod http;
pub mod identity;
pub mod keys;
pub mod password;
pub mod permission;
pub mod principal;
pub mod store;
pub mod token;

pub use error::{AuthError, Refusal};
pub use identity::Identity;
pub use permission::Permission;
pub use principal::{Principal, Role};
