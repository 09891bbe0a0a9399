//! The rules around failsafe's state machine. Everything here runs under the breaker's one lock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use failsafe::{
    Instrument, StateMachine,
    failure_policy::{ConsecutiveFailures, consecutive_failures},
};

use super::{
    Open, Settings,
    history::{Cause, History, Transition},
    snapshot::{Snapshot, State},
};
use crate::backoff::Backoff;

/// Gauge with label `name`: 0 closed, 1 half open, 2 open.
pub const STATE_METRIC: &str = "breaker_state";
/// Counter with labels `name` and `to`.
pub const TRANSITIONS_METRIC: &str = "breaker_transitions_total";

/// Longest text that is kept of an error, in characters: foreign texts may be of any size.
const MAX_ERROR: usize = 256;

/// A call's place in the history of its breaker.
#[derive(Debug)]
pub(super) struct Ticket {
    epoch: u64,
    probe: bool,
}

/// State of one breaker.
pub(super) struct Core {
    name: Arc<str>,
    settings: Settings,
    machine: StateMachine<ConsecutiveFailures<Schedule>, Watcher>,
    watcher: Watcher,
    schedule: Schedule,
    /// Rises with each trip and each intervention; results of tickets of an earlier one are stale.
    epoch: u64,
    /// Whether the one call that half-open allows is on its way.
    probing: bool,
    /// The state in which an operator holds it: open or closed, whatever calls bring.
    held: Option<State>,
    /// Whether it was removed: calls that hold it go on, and another one may have its name.
    retired: bool,
    opened_at: Option<Instant>,
    successes: u64,
    failures: u64,
    rejections: u64,
    last_error: Option<String>,
    history: History,
}

/// Carries the state out of the machine, which keeps it private.
#[derive(Clone, Debug, Default)]
struct Watcher(Arc<AtomicU8>);

const CLOSED: u8 = 0;
const HALF_OPEN: u8 = 1;
const OPEN: u8 = 2;

/// The waits that the machine asks for, one after each failed try, remembering the latest.
#[derive(Clone, Debug)]
struct Schedule {
    backoff: Backoff,
    attempt: u32,
    latest_millis: Arc<AtomicU64>,
}

impl Core {
    pub(super) fn new(name: Arc<str>, settings: Settings) -> Self {
        let schedule = Schedule {
            backoff: settings.open_for,
            attempt: 0,
            latest_millis: Arc::default(),
        };
        let watcher = Watcher::default();
        let policy = consecutive_failures(settings.consecutive_failures, schedule.clone());
        let core = Self {
            name,
            settings,
            machine: StateMachine::new(policy, watcher.clone()),
            watcher,
            schedule,
            epoch: 0,
            probing: false,
            held: None,
            retired: false,
            opened_at: None,
            successes: 0,
            failures: 0,
            rejections: 0,
            last_error: None,
            history: History::default(),
        };
        core.publish();
        core
    }

    /// Lets a call pass, or says when to come back.
    pub(super) fn admit(&mut self) -> Result<Ticket, Open> {
        match self.held {
            Some(State::Closed) => return Ok(self.ticket(false)),
            Some(_) => return Err(self.refuse(self.settings.open_for.max)),
            None => {}
        }
        let before = self.state();
        if before == State::HalfOpen && self.probing {
            return Err(self.refuse(self.settings.open_for.min));
        }
        if !self.machine.is_call_permitted() {
            let left = self.open_left().unwrap_or(self.settings.open_for.min);
            return Err(self.refuse(left));
        }
        if before != self.state() {
            self.record(before, Cause::Waited);
        }
        let probe = self.state() == State::HalfOpen;
        self.probing |= probe;
        Ok(self.ticket(probe))
    }

    pub(super) fn succeed(&mut self, ticket: Ticket) {
        self.successes += 1;
        if !self.settle(ticket) {
            return;
        }
        let before = self.state();
        self.machine.on_success();
        if before != self.state() {
            self.opened_at = None;
            self.record(before, Cause::Recovered);
        }
    }

    pub(super) fn fail(&mut self, ticket: Ticket, why: &str) {
        self.failures += 1;
        let why: String = why.chars().take(MAX_ERROR).collect();
        self.last_error = Some(why.clone());
        if !self.settle(ticket) {
            return;
        }
        let before = self.state();
        self.machine.on_error();
        if before != self.state() {
            self.epoch += 1;
            self.opened_at = Some(failsafe::clock::now());
            self.record(before, Cause::Failed(why));
        }
    }

    pub(super) fn abandon(&mut self, ticket: Ticket) {
        self.settle(ticket);
    }

    pub(super) fn reset(&mut self, by: &str) {
        self.intervene(None, Cause::Reset(by.to_owned()));
    }

    pub(super) fn force_open(&mut self, by: &str) {
        self.intervene(Some(State::Open), Cause::ForcedOpen(by.to_owned()));
    }

    pub(super) fn force_closed(&mut self, by: &str) {
        self.intervene(Some(State::Closed), Cause::ForcedClosed(by.to_owned()));
    }

    /// Begins anew, held or not: what is on its way belongs to the time before.
    fn intervene(&mut self, held: Option<State>, cause: Cause) {
        let before = self.state();
        self.machine.reset();
        // The machine forgets a count of failures only when it leaves another state.
        self.machine.on_success();
        self.epoch += 1;
        self.probing = false;
        self.opened_at = None;
        self.held = held;
        self.record(before, cause);
    }

    pub(super) fn history(&self) -> Vec<Transition> {
        self.history.list()
    }

    /// Reports that all is well, and then nothing any more. A gauge can not be taken back: an alert on it
    /// would never end, or be about another one of this name.
    pub(super) fn retire(&mut self) {
        self.report(CLOSED);
        self.retired = true;
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            name: self.name.to_string(),
            state: self.state(),
            successes: self.successes,
            failures: self.failures,
            rejections: self.rejections,
            last_error: self.last_error.clone(),
            forced: self.held.is_some(),
            next_try_in: self.next_try_in(),
        }
    }

    pub(super) fn keeps_out(&self) -> bool {
        self.state() == State::Open && self.next_try_in() != Some(Duration::ZERO)
    }

    pub(super) fn is_probing(&self) -> bool {
        self.probing && self.state() == State::HalfOpen
    }

    /// Time until a call may pass again; none when calls pass, or when it is held open.
    fn next_try_in(&self) -> Option<Duration> {
        (self.state() == State::Open && self.held.is_none())
            .then(|| self.open_left())
            .flatten()
    }

    fn state(&self) -> State {
        if let Some(held) = self.held {
            return held;
        }
        match self.watcher.0.load(Ordering::Relaxed) {
            CLOSED => State::Closed,
            HALF_OPEN => State::HalfOpen,
            _ => State::Open,
        }
    }

    fn ticket(&self, probe: bool) -> Ticket {
        Ticket {
            epoch: self.epoch,
            probe,
        }
    }

    /// Takes a result back; says whether it may still move the machine.
    fn settle(&mut self, Ticket { epoch, probe }: Ticket) -> bool {
        let current = epoch == self.epoch;
        if current && probe {
            self.probing = false;
        }
        current && self.held.is_none()
    }

    fn refuse(&mut self, retry_after: Duration) -> Open {
        self.rejections += 1;
        Open { retry_after }
    }

    fn open_left(&self) -> Option<Duration> {
        let since = failsafe::clock::now().saturating_duration_since(self.opened_at?);
        let latest = self.schedule.latest_millis.load(Ordering::Relaxed);
        Some(Duration::from_millis(latest).saturating_sub(since))
    }

    /// Tells of a change in the log and the history, and in the metrics as long as it has its name.
    fn record(&mut self, from: State, cause: Cause) {
        let to = self.state();
        let (name, error) = (&*self.name, cause.error().unwrap_or_default());
        match (cause.operator(), to) {
            (Some(by), _) => {
                tracing::warn!(breaker = name, %from, %to, %cause, by, "breaker set by an operator");
            }
            (None, State::Open) => tracing::warn!(breaker = name, error, "breaker is open"),
            (None, State::HalfOpen) => {
                tracing::info!(breaker = name, "breaker lets one call through");
            }
            (None, State::Closed) => tracing::info!(breaker = name, "breaker is closed"),
        }
        self.history.add(Transition {
            at: SystemTime::now(),
            from,
            to,
            cause,
        });
        if self.retired {
            return;
        }
        metrics::counter!(TRANSITIONS_METRIC, "name" => self.name.to_string(), "to" => to.as_str())
            .increment(1);
        self.publish();
    }

    fn publish(&self) {
        self.report(match self.state() {
            State::Closed => CLOSED,
            State::HalfOpen => HALF_OPEN,
            State::Open => OPEN,
        });
    }

    fn report(&self, value: u8) {
        metrics::gauge!(STATE_METRIC, "name" => self.name.to_string()).set(value);
    }
}

impl Instrument for Watcher {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        self.0.store(OPEN, Ordering::Relaxed);
    }

    fn on_half_open(&self) {
        self.0.store(HALF_OPEN, Ordering::Relaxed);
    }

    fn on_closed(&self) {
        self.0.store(CLOSED, Ordering::Relaxed);
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.attempt = self.attempt.saturating_add(1);
        let delay = self.backoff.delay(self.attempt, &mut rand::rng());
        // Whole milliseconds, rounded up: what is reported is what is waited for.
        let millis = u64::try_from(delay.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        self.latest_millis.store(millis, Ordering::Relaxed);
        Some(Duration::from_millis(millis))
    }
}
