//! How much is allowed, and what was decided.

use std::time::Duration;

/// How many requests are allowed in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Requests in one window, over any longer time; at least 1.
    pub requests: u32,
    /// The window.
    pub window: Duration,
    /// Requests that may come at once; at least 1.
    pub burst: u32,
}

/// What was decided about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may go on.
    pub allowed: bool,
    /// Requests that may come at once after it.
    pub remaining: u32,
    /// When the next one can be allowed; zero when this one was.
    pub retry_after: Duration,
    /// When a whole burst is allowed again.
    pub reset_after: Duration,
    /// Whether all replicas decided together.
    pub shared: bool,
}

impl Quota {
    /// Returns the part of this quota that one of `replicas` grants alone: rounded down, at least
    /// one request.
    #[must_use]
    pub fn share_of(self, replicas: usize) -> Self {
        let replicas = u32::try_from(replicas).unwrap_or(u32::MAX).max(1);
        Self {
            requests: (self.requests / replicas).max(1),
            burst: (self.burst / replicas).max(1),
            ..self
        }
    }

    /// Returns the time that one request uses up.
    pub(super) fn cost_micros(self) -> u64 {
        let window = u64::try_from(self.window.as_micros()).unwrap_or(u64::MAX);
        (window / u64::from(self.requests.max(1))).max(1)
    }

    /// Returns the time that a burst uses up.
    pub(super) fn ahead_micros(self) -> u64 {
        self.cost_micros() * u64::from(self.burst.max(1))
    }
}
