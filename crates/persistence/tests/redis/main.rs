//! The connection and the cache against a real Redis.

#![expect(clippy::expect_used, reason = "the setup of a test may panic")]

mod coalescing;
mod connection;
mod harness;
mod invalidation;
mod life;
mod outage;
