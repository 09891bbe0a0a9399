#![doc = include_str!("../README.md")]

pub mod cache;
pub mod error;
pub mod limit;
pub mod migrate;
pub mod postgres;
pub mod provision;
pub mod redis;

pub use self::{cache::Cache, error::DatabaseError, postgres::Database, redis::Redis};
