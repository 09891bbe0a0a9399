//! What happened to a breaker, newest last, as much as is worth keeping.

use std::{collections::VecDeque, fmt, time::SystemTime};

use super::State;

/// Most changes that are remembered of one breaker.
pub const HISTORY_LIMIT: usize = 64;

/// One change of a breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: SystemTime,
    /// The state before.
    pub from: State,
    /// The state after; the same as before when an operator confirmed it.
    pub to: State,
    /// Why.
    pub cause: Cause,
}

/// Why a breaker changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Too many calls failed, or the probe did; the text is of the newest failure.
    Failed(String),
    /// It was open for long enough: one call may probe.
    Waited,
    /// The probe was answered.
    Recovered,
    /// This operator closed it and let it judge again.
    Reset(String),
    /// This operator holds it open.
    ForcedOpen(String),
    /// This operator holds it closed.
    ForcedClosed(String),
}

/// The newest changes of one breaker.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Transition>);

impl Cause {
    /// Returns the stable snake_case name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::Waited => "waited",
            Self::Recovered => "recovered",
            Self::Reset(_) => "reset",
            Self::ForcedOpen(_) => "forced_open",
            Self::ForcedClosed(_) => "forced_closed",
        }
    }

    /// Returns who did it, when somebody did.
    pub fn operator(&self) -> Option<&str> {
        match self {
            Self::Reset(by) | Self::ForcedOpen(by) | Self::ForcedClosed(by) => Some(by),
            Self::Failed(_) | Self::Waited | Self::Recovered => None,
        }
    }

    /// Returns the failure that did it, when one did.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl History {
    pub(super) fn add(&mut self, transition: Transition) {
        if self.0.len() == HISTORY_LIMIT {
            self.0.pop_front();
        }
        self.0.push_back(transition);
    }

    pub(super) fn list(&self) -> Vec<Transition> {
        self.0.iter().cloned().collect()
    }
}
