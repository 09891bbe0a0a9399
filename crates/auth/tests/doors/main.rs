//! Both doors of the platform, from the outside: the outer one over HTTP, the inner one over gRPC.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod access;
mod attacks;
mod door;
mod forge;
mod genuine;
mod rotation;
