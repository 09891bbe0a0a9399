//! How events make the state, and which events a state admits.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sutazai_proto::ids::TaskId;

use super::{EffectMode, Event, Payload, Recorded, Spec, State, Task};

/// Events of one task, and the state they lead to; only [`Task`] makes one, so it is legal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// `None` when the task was made.
    before: Option<State>,
    task: Task,
    events: Vec<Recorded>,
}

impl Change {
    /// Tells whether the task was in this state before the events and is not any more.
    pub(crate) fn left(&self, state: State) -> bool {
        self.before == Some(state) && self.task.state != state
    }

    /// The newest event.
    pub(crate) fn last(&self) -> Option<&Event> {
        self.events.last().map(|recorded| &recorded.event)
    }

    /// The task after the events.
    pub(crate) fn task(&self) -> &Task {
        &self.task
    }

    pub(crate) fn events(&self) -> &[Recorded] {
        &self.events
    }
}

/// The state does not admit the event.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("event {sequence} of task {task} is not possible now: {event}")]
pub(crate) struct Illegal {
    task: TaskId,
    sequence: u64,
    event: String,
}

impl Task {
    /// Makes a task with its first event.
    pub(crate) fn create(id: TaskId, spec: Spec, input: Payload, now: DateTime<Utc>) -> Change {
        let task = Self::begin(id, spec.clone(), now);
        let event = Event::Created {
            spec: Box::new(spec),
            input,
        };
        let first = Recorded {
            sequence: 1,
            at: now,
            attempt: 0,
            state: task.state,
            event,
        };
        Change {
            before: None,
            task,
            events: vec![first],
        }
    }

    /// Lets events happen one after the other.
    ///
    /// # Errors
    /// When the state does not admit one of them.
    pub(crate) fn record(self, events: Vec<Event>, now: DateTime<Utc>) -> Result<Change, Illegal> {
        let before = Some(self.state);
        let mut task = self;
        // A clock that steps back must not make a history run backwards.
        let at = now.max(task.updated_at);
        let mut recorded = Vec::with_capacity(events.len());
        for event in events {
            task.apply(task.sequence + 1, at, &event)?;
            recorded.push(Recorded {
                sequence: task.sequence,
                at,
                attempt: task.attempt,
                state: task.state,
                event,
            });
        }
        Ok(Change {
            before,
            task,
            events: recorded,
        })
    }

    /// Rebuilds a task from its whole history; `None` without any.
    ///
    /// # Errors
    /// When the history is not one that the commands can write.
    #[cfg(test)]
    pub(crate) fn fold(id: TaskId, history: &[Recorded]) -> Result<Option<Self>, Illegal> {
        let Some((first, rest)) = history.split_first() else {
            return Ok(None);
        };
        let Event::Created { spec, .. } = &first.event else {
            return Err(Illegal::of(id, first.sequence, &first.event));
        };
        let mut task = Self::begin(id, (**spec).clone(), first.at);
        for recorded in rest {
            task.apply(recorded.sequence, recorded.at, &recorded.event)?;
        }
        Ok(Some(task))
    }

    fn begin(id: TaskId, spec: Spec, now: DateTime<Utc>) -> Self {
        Self {
            id,
            spec: Arc::new(spec),
            state: State::Queued,
            attempt: 0,
            released: false,
            cancel_requested: false,
            worker: None,
            error: None,
            not_before: None,
            created_at: now,
            updated_at: now,
            finished_at: None,
            sequence: 1,
        }
    }

    fn apply(&mut self, sequence: u64, at: DateTime<Utc>, event: &Event) -> Result<(), Illegal> {
        if sequence != self.sequence + 1 || !self.admits(event) {
            return Err(Illegal::of(self.id, sequence, event));
        }
        self.sequence = sequence;
        self.updated_at = at;
        match event {
            Event::Created { .. } => {}
            Event::Released => self.released = true,
            Event::Started { attempt, worker } => {
                self.state = State::Running;
                self.attempt = *attempt;
                self.worker = Some(worker.clone());
                self.not_before = None;
            }
            Event::AttemptFailed {
                attempt,
                error,
                retry_at,
            } => {
                self.state = State::Queued;
                self.attempt = *attempt;
                self.released = false;
                self.worker = None;
                self.error = Some(error.clone());
                self.not_before = Some(*retry_at);
            }
            Event::CancelRequested => self.cancel_requested = true,
            Event::Succeeded { .. } => {
                self.error = None;
                self.end(State::Succeeded, at);
            }
            Event::Failed { attempt, error, .. } => {
                self.attempt = *attempt;
                self.error = Some(error.clone());
                self.end(State::Failed, at);
            }
            Event::Cancelled => {
                self.cancel_requested = true;
                self.end(State::Cancelled, at);
            }
            Event::Interrupted { error } => {
                self.error = Some(error.clone());
                self.end(State::Interrupted, at);
            }
            Event::Expired { error } => {
                self.error = Some(error.clone());
                self.end(State::Expired, at);
            }
        }
        Ok(())
    }

    fn end(&mut self, state: State, at: DateTime<Utc>) {
        self.state = state;
        self.released = false;
        self.worker = None;
        self.not_before = None;
        self.finished_at = Some(at);
    }

    fn admits(&self, event: &Event) -> bool {
        let running = self.state == State::Running;
        let queued = self.state == State::Queued;
        let more = self.attempt < self.spec.max_attempts;
        // A release that came back dead-lettered is an attempt that never started.
        let ends = |attempt: u32| {
            (running && attempt == self.attempt)
                || (queued && self.released && more && attempt == self.attempt + 1)
        };
        match event {
            Event::Created { .. } => false,
            Event::Released => queued,
            Event::Started { attempt, .. } => {
                queued && self.released && more && *attempt == self.attempt + 1
            }
            Event::AttemptFailed { attempt, .. } => {
                let once = self.spec.effect_mode == EffectMode::AtMostOnce;
                ends(*attempt)
                    && *attempt < self.spec.max_attempts
                    && !self.cancel_requested
                    && !(running && once)
            }
            Event::CancelRequested => running && !self.cancel_requested,
            Event::Succeeded { .. } => running,
            Event::Failed { attempt, .. } => ends(*attempt),
            Event::Cancelled => queued || (running && self.cancel_requested),
            Event::Interrupted { .. } => running && self.spec.effect_mode == EffectMode::AtMostOnce,
            Event::Expired { .. } => (queued || running) && self.spec.expires_at.is_some(),
        }
    }
}

impl Illegal {
    fn of(task: TaskId, sequence: u64, event: &Event) -> Self {
        // The kind tells enough; an event may carry what belongs to a tenant.
        let event = match serde_json::to_value(event) {
            Ok(value) => value["kind"].as_str().unwrap_or_default().to_owned(),
            Err(error) => error.to_string(),
        };
        Self {
            task,
            sequence,
            event,
        }
    }
}
