//! Producers outside the platform at its door, over a real RabbitMQ.

#![expect(clippy::expect_used, reason = "a test may panic")]

mod door;
mod languages;
mod poison;
