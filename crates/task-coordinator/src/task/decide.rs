//! The commands: each looks at a task and decides which events follow.

use chrono::{DateTime, Utc};
use sutazai_proto::ErrorCode;

use super::{EffectMode, Event, Failure, Payload, State, Task};

/// How a worker says that its attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Succeeded(Payload),
    Failed {
        error: Failure,
        /// Another attempt may succeed.
        retryable: bool,
    },
    /// It stopped because it was asked to.
    Cancelled,
}

/// Why an attempt is taken away from its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The lease was not renewed.
    Silent,
    /// The attempt ran longer than its type allows.
    Overdue,
}

/// Why a task can not be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another attempt holds the lease.
    Held,
    /// It has ended or is about to.
    Ended,
    /// The time of its next attempt has not come.
    Early,
}

/// The attempt is not, or no longer, the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale;

impl Task {
    /// The broker took a release over.
    pub(crate) fn release(&self) -> Vec<Event> {
        match self.state {
            State::Queued => vec![Event::Released],
            _ => Vec::new(),
        }
    }

    /// A worker wants to begin the next attempt.
    pub(crate) fn claim(&self, worker: &str, now: DateTime<Utc>) -> Result<Vec<Event>, Refusal> {
        let over = self.spec.expires_at.is_some_and(|at| at <= now);
        if self.state.is_terminal() || self.cancel_requested || over {
            return Err(Refusal::Ended);
        }
        if self.state == State::Running {
            return Err(Refusal::Held);
        }
        if self.not_before.is_some_and(|at| now < at) {
            return Err(Refusal::Early);
        }
        let started = Event::Started {
            attempt: self.attempt + 1,
            worker: worker.to_owned(),
        };
        // The claim may come before the broker's confirm: it proves the release.
        Ok(if self.released {
            vec![started]
        } else {
            vec![Event::Released, started]
        })
    }

    /// A worker reports the end of an attempt.
    pub(crate) fn finish(
        &self,
        attempt: u32,
        worker: &str,
        outcome: Outcome,
        retry_at: DateTime<Utc>,
    ) -> Result<Vec<Event>, Stale> {
        let current = self.state == State::Running
            && self.attempt == attempt
            && self.worker.as_deref() == Some(worker);
        if !current {
            return Err(Stale);
        }
        let event = match outcome {
            Outcome::Succeeded(result) => Event::Succeeded { result },
            Outcome::Failed { error, retryable } => {
                self.attempt_failed(attempt, error, retryable, retry_at)
            }
            Outcome::Cancelled if self.cancel_requested => Event::Cancelled,
            Outcome::Cancelled => self.abandoned(
                Failure::new(
                    ErrorCode::Unavailable,
                    "worker_stopped",
                    "the worker stopped the attempt although nobody asked for it",
                ),
                retry_at,
            ),
        };
        Ok(vec![event])
    }

    /// The lease of the running attempt is over.
    pub(crate) fn lose(&self, loss: Loss, retry_at: DateTime<Utc>) -> Vec<Event> {
        if self.state != State::Running {
            return Vec::new();
        }
        let error = match loss {
            Loss::Silent => Failure::new(
                ErrorCode::Unavailable,
                "worker_lost",
                "the worker stopped renewing its lease",
            ),
            Loss::Overdue => Failure::new(
                ErrorCode::DeadlineExceeded,
                "attempt_timeout",
                "the attempt ran longer than its task type allows",
            ),
        };
        vec![self.abandoned(error, retry_at)]
    }

    /// Someone asks for the end of the task; again and too late are no errors.
    pub(crate) fn cancel(&self) -> Vec<Event> {
        match self.state {
            State::Queued => vec![Event::Cancelled],
            State::Running if !self.cancel_requested => vec![Event::CancelRequested],
            _ => Vec::new(),
        }
    }

    /// The task's own deadline may have passed.
    pub(crate) fn expire(&self, now: DateTime<Utc>) -> Vec<Event> {
        if self.state.is_terminal() || self.spec.expires_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let error = Failure::new(
            ErrorCode::DeadlineExceeded,
            "task_expired",
            "the task expired before an attempt succeeded",
        );
        vec![Event::Expired { error }]
    }

    /// The broker gave a release up: that counts as an attempt, though none was started.
    pub(crate) fn give_up_release(&self, why: &str, retry_at: DateTime<Utc>) -> Vec<Event> {
        if self.state != State::Queued {
            return Vec::new();
        }
        let message = format!("no worker could take the task from its queue: {why}");
        let error = Failure::new(ErrorCode::Unavailable, "dead_lettered", &message);
        let failed = self.attempt_failed(self.attempt + 1, error, true, retry_at);
        if self.released {
            vec![failed]
        } else {
            vec![Event::Released, failed]
        }
    }

    /// Decides on an attempt whose effect is unknown.
    fn abandoned(&self, error: Failure, retry_at: DateTime<Utc>) -> Event {
        match self.spec.effect_mode {
            EffectMode::AtMostOnce => Event::Interrupted { error },
            EffectMode::Idempotent => self.attempt_failed(self.attempt, error, true, retry_at),
        }
    }

    fn attempt_failed(
        &self,
        attempt: u32,
        error: Failure,
        retryable: bool,
        retry_at: DateTime<Utc>,
    ) -> Event {
        if self.cancel_requested {
            return Event::Cancelled;
        }
        // What ran at most once is never run again, however it ended.
        let ran_once =
            self.state == State::Running && self.spec.effect_mode == EffectMode::AtMostOnce;
        if retryable && !ran_once && attempt < self.spec.max_attempts {
            return Event::AttemptFailed {
                attempt,
                error,
                retry_at,
            };
        }
        Event::Failed {
            attempt,
            error,
            parked: retryable,
        }
    }
}
