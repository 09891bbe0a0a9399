//! How large and how fresh the cache is.

use std::time::Duration;

/// How large and how fresh the cache is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Begins every key in Redis; caches with the same prefix share their entries.
    pub prefix: String,
    /// Bytes of the local level.
    pub local_bytes: u64,
    /// Longest life in the local level while invalidations are heard.
    pub local_life: Duration,
    /// The same while they are not: how stale an answer can be then.
    pub deaf_life: Duration,
    /// How long the shared level keeps waiting for a loader that may be dead.
    pub lease: Duration,
    /// Longest wait for a loader in another process; then it is loaded here, too.
    pub patience: Duration,
    /// Size in bytes from which values are compressed in Redis.
    pub compress_from: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: "sutazai:cache".to_owned(),
            local_bytes: 64 << 20,
            local_life: Duration::from_secs(30),
            deaf_life: Duration::from_secs(2),
            lease: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            compress_from: 4 << 10,
        }
    }
}
