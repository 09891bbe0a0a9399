//! What every broker promises, and what RabbitMQ keeps through faults. All tests share one node,
//! but for those that break it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod bench;
mod contract;
#[cfg(feature = "servers")]
mod faults;
#[cfg(feature = "servers")]
mod real;
