#![doc = include_str!("../README.md")]

pub mod error;
pub mod migrate;
pub mod postgres;
pub mod provision;

pub use error::DatabaseError;
pub use postgres::Database;
