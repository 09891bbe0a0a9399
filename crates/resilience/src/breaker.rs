//! A circuit breaker on failsafe's state machine.

mod history;
mod machine;
mod snapshot;

use std::{error::Error, fmt, future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;

use self::machine::{Core, Ticket};
pub use self::{
    history::{Cause, HISTORY_LIMIT, Transition},
    machine::{STATE_METRIC, TRANSITIONS_METRIC},
    snapshot::{Snapshot, State},
};
use crate::{
    backoff::Backoff,
    deadline::{Deadline, Elapsed},
};

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row that open it.
    pub consecutive_failures: u32,
    /// How long it stays open: longer after each probe that fails.
    pub open_for: Backoff,
}

/// A circuit breaker in front of one target; clones share their state.
#[derive(Clone)]
pub struct Breaker {
    name: Arc<str>,
    core: Arc<Mutex<Core>>,
}

/// Leave to make one call, to be given back with its outcome.
///
/// Dropped without an outcome, for example because the caller went away, it counts neither way,
/// and a probe's place becomes free again.
#[derive(Debug)]
#[must_use = "a permit that is dropped reports nothing"]
pub struct Permit {
    breaker: Breaker,
    ticket: Option<Ticket>,
}

/// The breaker is open: the call was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the circuit breaker is open")]
pub struct Open {
    /// When the next try may be let through.
    pub retry_after: Duration,
}

/// Why a guarded call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError<E: Error + 'static> {
    /// The call was not made.
    #[error(transparent)]
    Open(#[from] Open),
    /// No answer came in time.
    #[error(transparent)]
    Timeout(#[from] Elapsed),
    /// The call failed by itself.
    #[error(transparent)]
    Inner(E),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            open_for: Backoff {
                min: Duration::from_secs(1),
                max: Duration::from_secs(30),
            },
        }
    }
}

impl Breaker {
    /// Makes a closed breaker; [`Breakers`](crate::Breakers) is where users get theirs.
    pub fn new(name: &str, settings: Settings) -> Self {
        let name: Arc<str> = name.into();
        let core = Core::new(name.clone(), settings);
        Self {
            name,
            core: Arc::new(Mutex::new(core)),
        }
    }

    /// Makes one call through the breaker.
    ///
    /// `counts` says which errors are the callee's fault; any other error is an answer, and an
    /// answer is a success here. The deadline lies inside the breaker: silence counts as a failure.
    ///
    /// # Errors
    /// [`CallError`]: not made, no answer in time, or the call's own error. A deadline that was over
    /// before the call is a time-out that counts for nothing.
    pub async fn call<T, E, F>(
        &self,
        deadline: Deadline,
        counts: impl Fn(&E) -> bool,
        future: F,
    ) -> Result<T, CallError<E>>
    where
        E: Error + 'static,
        F: Future<Output = Result<T, E>>,
    {
        if deadline.is_over() {
            return Err(Elapsed.into());
        }
        let permit = self.permit()?;
        match deadline.run(future).await {
            Ok(Ok(answer)) => {
                permit.success();
                Ok(answer)
            }
            Ok(Err(error)) if counts(&error) => {
                permit.failure(&error.to_string());
                Err(CallError::Inner(error))
            }
            Ok(Err(error)) => {
                permit.success();
                Err(CallError::Inner(error))
            }
            Err(elapsed) => {
                permit.failure("no answer before the deadline");
                Err(elapsed.into())
            }
        }
    }

    /// Asks for leave to make one call, for callers whose outcome is not one future.
    ///
    /// # Errors
    /// [`Open`] when the call must not be made now.
    pub fn permit(&self) -> Result<Permit, Open> {
        let ticket = self.core.lock().admit()?;
        Ok(Permit {
            breaker: self.clone(),
            ticket: Some(ticket),
        })
    }

    /// Returns the name, for example `postgres:tasks`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what a status page shows.
    pub fn snapshot(&self) -> Snapshot {
        self.core.lock().snapshot()
    }

    /// Tells whether a call would be refused now. Half open it lets one through, so it would not.
    pub fn keeps_out(&self) -> bool {
        self.core.lock().keeps_out()
    }

    /// Tells whether the one call that half-open lets through is on its way: until it ends any
    /// other is refused.
    pub fn is_probing(&self) -> bool {
        self.core.lock().is_probing()
    }

    /// Returns its newest changes, oldest first.
    pub fn history(&self) -> Vec<Transition> {
        self.core.lock().history()
    }

    /// Closes it, forgets the failures and lets it judge again; `by` is kept and logged.
    pub fn reset(&self, by: &str) {
        self.core.lock().reset(by);
    }

    /// Holds it open until [`reset`](Self::reset); `by` is kept and logged.
    pub fn force_open(&self, by: &str) {
        self.core.lock().force_open(by);
    }

    /// Holds it closed, whatever fails, until [`reset`](Self::reset); `by` is kept and logged.
    pub fn force_closed(&self, by: &str) {
        self.core.lock().force_closed(by);
    }

    /// Stops reporting trouble with a target that is gone for good.
    pub(crate) fn retire(&self) {
        self.core.lock().retire();
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Permit {
    /// Reports that the callee answered.
    pub fn success(mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.core.lock().succeed(ticket);
        }
    }

    /// Reports a fault of the callee; `why` is kept for the status page.
    pub fn failure(mut self, why: &str) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.core.lock().fail(ticket, why);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.core.lock().abandon(ticket);
        }
    }
}

#[cfg(test)]
mod tests;
