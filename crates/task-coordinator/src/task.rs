//! A task as a pure, event-sourced state machine.
//!
//! Commands ([`decide`]) look at the state and give events; the state is what the events fold to.
//! Nothing here knows the time, a database or a random number: they come as arguments.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sutazai_proto::ids::TaskId;

mod decide;
mod event;
mod failure;
mod fold;
mod spec;

pub(crate) use decide::{Loss, Outcome, Refusal};
pub(crate) use event::{Event, Recorded};
pub(crate) use failure::Failure;
pub(crate) use fold::Change;
pub(crate) use spec::{EffectMode, Payload, Spec, State, TypeName};

/// What the events of one task fold to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) spec: Arc<Spec>,
    pub(crate) state: State,
    /// Attempts begun so far; the newest one is the fencing epoch.
    pub(crate) attempt: u32,
    /// The broker took the present release over.
    pub(crate) released: bool,
    pub(crate) cancel_requested: bool,
    /// Holds the lease; set while running.
    pub(crate) worker: Option<String>,
    /// Set when the newest attempt failed.
    pub(crate) error: Option<Failure>,
    /// Set while a retry waits for its time.
    pub(crate) not_before: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
    /// Sequence of the newest event.
    pub(crate) sequence: u64,
}

#[cfg(test)]
mod tests;
