//! Accounts and API keys in Postgres, schema `identity`.
//!
//! The backend writes it; the doors read it through a cache that forgets within thirty seconds at
//! the latest, and at once when the database says that something has changed.

mod accounts;
mod cache;
mod keys;

pub use accounts::{ADMIN, ADMIN_ID, Account, Accounts};
pub use keys::{DEFAULT_LIFE, Grant, Keys, LIFE_LIMIT, StoredKey};

/// Schema of the tables.
pub const SCHEMA: &str = "identity";

/// The history of the schema.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();
