//! The least code that does the same work as ours: same crates, same build profile, nothing besides.
//!
//! These programs use the raw clients, which the platform's crates only do in one place each.

pub(crate) mod answer;
pub(crate) mod api;
mod api_rows;
pub(crate) mod consul;
pub(crate) mod hit;
pub(crate) mod pipeline;
pub(crate) mod proxy;
pub(crate) mod task_rows;
