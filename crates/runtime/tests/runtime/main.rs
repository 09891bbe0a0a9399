//! Processes as their clients and their operator see them.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod config;
mod grpc;
mod http;
mod order;
mod stop;
mod support;
