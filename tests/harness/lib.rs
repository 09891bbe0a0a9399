//! Starts the platform on free ports over a real Postgres, with fake model nodes, and gives tests
//! typed users of its doors.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "an expectation that fails is a test that fails"
)]

pub mod oracle;
pub mod platform;

mod client;
mod fleet;
mod history;
mod lasting;
mod people;
mod producer;
pub mod program;
mod python;
mod shared;
mod stage;
mod still;

pub use client::{Answer, Client, Event, Events, Opened, Rest};
pub use history::{assert_history, ends, kinds};
pub use people::newcomer;
pub use producer::{Producer, submission};
pub use python::PythonScript;
pub use stage::{Down, Setup, Stage};
pub use still::Still;

/// Polls until `look` has something, and fails with `what` when that takes longer than 30 s.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < give_up,
            "waited in vain: {what}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
