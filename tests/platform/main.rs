//! The platform as a stranger meets it: a fresh clone, the README's command, the printed commands,
//! Ctrl-C, and an end in the middle of the work.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod clone;
mod crash;
mod process;
mod state;
