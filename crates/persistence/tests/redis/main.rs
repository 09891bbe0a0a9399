//! The connection, the cache and the limits against a real Redis.

#![expect(clippy::expect_used, reason = "the setup of a test may panic")]

mod coalescing;
mod connection;
mod harness;
mod invalidation;
mod life;
mod limit;
mod outage;
