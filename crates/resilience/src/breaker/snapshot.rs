//! What a status page shows of a breaker.

use std::{fmt, time::Duration};

/// Whether calls pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// One call at a time passes, to see whether the target is back.
    HalfOpen,
}

/// A breaker at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Name of the breaker.
    pub name: String,
    /// Whether calls pass. An open breaker turns half-open with the first call after its time.
    pub state: State,
    /// Whether an operator holds it in that state until it is reset.
    pub forced: bool,
    /// Calls that were answered, since the process started.
    pub successes: u64,
    /// Calls that failed by the callee's fault.
    pub failures: u64,
    /// Calls that were refused.
    pub rejections: u64,
    /// What the latest failure said.
    pub last_error: Option<String>,
    /// Time until a call may pass again; none when calls pass, or when it is held open.
    pub next_try_in: Option<Duration>,
}

impl State {
    /// Returns the stable snake_case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
