//! How a process reaches its Redis.

use std::time::Duration;

use secrecy::SecretString;

/// How a process reaches its Redis.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `redis://:password@host:port/database`; `rediss://` for TLS.
    pub url: SecretString,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest time of one unit of work. The library's own 500 ms are less than a busy machine
    /// sometimes needs, and one late answer must not look like a dead server.
    pub response_timeout: Duration,
}

impl Settings {
    /// Makes settings with the platform's defaults.
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(2),
        }
    }
}
