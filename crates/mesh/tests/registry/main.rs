//! Registries: the contract of all, and the real Consul.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod acl;
mod consul;
mod contract;
mod running;
mod stage;
mod stand_in;
