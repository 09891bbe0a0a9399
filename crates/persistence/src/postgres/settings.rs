//! How a service reaches its schema.

use std::time::Duration;

use secrecy::SecretString;

/// How a service reaches its schema.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `postgres://user:password@host:port/database`, with `sslmode` where TLS is required.
    pub url: SecretString,
    /// Schema that unqualified names mean.
    pub schema: &'static str,
    /// Name in `pg_stat_activity`.
    pub application_name: String,
    /// Connections that stay open.
    pub pool_min: u32,
    /// Connections that may be open.
    pub pool_max: u32,
    /// Longest wait for a connection.
    pub acquire_timeout: Duration,
    /// Longest time of one statement.
    pub statement_timeout: Duration,
    /// Longest wait for the first answer at start.
    pub connect_within: Duration,
}

impl Settings {
    /// Makes settings with the platform's defaults.
    pub fn new(url: SecretString, schema: &'static str, application_name: &str) -> Self {
        Self {
            url,
            schema,
            application_name: application_name.to_owned(),
            pool_min: 10,
            pool_max: 20,
            acquire_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(10),
            connect_within: Duration::from_secs(15),
        }
    }
}
