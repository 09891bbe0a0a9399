//! Registries: the contract of all, and the real Consul.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![cfg_attr(feature = "servers", expect(clippy::expect_used, reason = "the same"))]

#[cfg(feature = "servers")]
mod acl;
#[cfg(feature = "servers")]
mod consul;
mod contract;
#[cfg(feature = "servers")]
mod dns;
#[cfg(feature = "servers")]
mod places;
mod running;
#[cfg(feature = "servers")]
mod stage;
#[cfg(feature = "servers")]
mod stand_in;
mod waiting;
