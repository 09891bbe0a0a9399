//! Whether a platform kept its promises about tasks, judged from outside after a run with faults.
//!
//! The load keeps its own record of what it sent and what it was told. Afterwards that record is held
//! against what the platform stored. Each promise is counted by its violations, so that a run ends
//! with ten figures that all have to be 0.

#[cfg(test)]
mod planted;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What became of one submission, as its sender knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The platform took it over under this id.
    Accepted(String),
    /// The platform said no, or was never reached.
    Refused,
    /// No answer: it may be stored or not.
    Unknown,
}

/// One submission, by its idempotency key; a key that was sent again keeps the last answer.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The idempotency key.
    pub key: String,
    /// The answer.
    pub told: Told,
    /// Whether nobody can ever handle it.
    pub poison: bool,
}

/// A task as the platform stored it.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Its id.
    pub id: String,
    /// The idempotency key that it was made under.
    pub key: String,
    /// Its state.
    pub state: String,
    /// Whether it may be started once only.
    pub at_most_once: bool,
    /// Its events in the order of their numbers.
    pub events: Vec<StoredEvent>,
    /// How often its work was begun, as seen where the work is done.
    pub launches: usize,
    /// How often its effect is there.
    pub effects: usize,
}

/// An event of a task.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Its number.
    pub sequence: u64,
    /// What happened.
    pub kind: String,
}

/// Everything that is looked at after a run.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What was sent.
    pub sent: Vec<Sent>,
    /// What is stored.
    pub tasks: Vec<Stored>,
    /// Messages that still wait in the broker's queues of work and results.
    pub waiting_messages: u64,
    /// Rows that still wait in the outbox.
    pub outbox_rows: u64,
    /// Ids of the tasks in the dead-letter store.
    pub dead_letters: BTreeSet<String>,
}

/// The ten promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// What was accepted is stored.
    Kept,
    /// A key has one task at the most.
    OncePerKey,
    /// What was refused is not stored.
    RefusedIsAbsent,
    /// A task has ended.
    Ended,
    /// A task ends once.
    EndedOnce,
    /// Events are numbered from 1 without a gap.
    Contiguous,
    /// The state is what the events lead to.
    Folded,
    /// Nothing follows the end.
    NothingAfterEnd,
    /// A success has its effect once; what may start once did not start twice, and is interrupted
    /// when it was cut.
    EffectOnce,
    /// No message and no outbox row is left, and the dead letters are the poison.
    Settled,
}

impl Promise {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Kept,
        Self::OncePerKey,
        Self::RefusedIsAbsent,
        Self::Ended,
        Self::EndedOnce,
        Self::Contiguous,
        Self::Folded,
        Self::NothingAfterEnd,
        Self::EffectOnce,
        Self::Settled,
    ];
}

/// Violations by promise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict(BTreeMap<Promise, Vec<String>>);

impl Verdict {
    /// Says whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how often a promise was broken.
    pub fn count(&self, promise: Promise) -> usize {
        self.0.get(&promise).map_or(0, Vec::len)
    }

    fn add(&mut self, promise: Promise, violation: impl Into<String>) {
        self.0.entry(promise).or_default().push(violation.into());
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for promise in Promise::ALL {
            let name = format!("{promise:?}");
            writeln!(f, "{name:<16} {:>5} violations", self.count(promise))?;
            for violation in self.0.get(&promise).into_iter().flatten().take(5) {
                writeln!(f, "    {violation}")?;
            }
        }
        Ok(())
    }
}

impl Evidence {
    /// Holds the record of the load against what is stored.
    pub fn judge(&self) -> Verdict {
        let mut verdict = Verdict::default();
        self.judge_answers(&mut verdict);
        for task in &self.tasks {
            judge_history(task, &mut verdict);
            judge_effect(task, &mut verdict);
        }
        self.judge_rest(&mut verdict);
        verdict
    }

    fn judge_answers(&self, verdict: &mut Verdict) {
        let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for task in &self.tasks {
            by_key.entry(&task.key).or_default().push(&task.id);
        }
        for (key, ids) in by_key.iter().filter(|(_, ids)| ids.len() > 1) {
            verdict.add(Promise::OncePerKey, format!("key {key} has {ids:?}"));
        }
        for Sent { key, told, .. } in &self.sent {
            let stored = by_key.get(key.as_str()).map_or(&[][..], Vec::as_slice);
            match told {
                Told::Accepted(id) if !stored.contains(&id.as_str()) => verdict.add(
                    Promise::Kept,
                    format!("key {key} was accepted as {id}, stored is {stored:?}"),
                ),
                Told::Refused if !stored.is_empty() => verdict.add(
                    Promise::RefusedIsAbsent,
                    format!("key {key} was refused, stored is {stored:?}"),
                ),
                Told::Accepted(_) | Told::Refused | Told::Unknown => {}
            }
        }
        let sent: BTreeSet<&str> = self.sent.iter().map(|sent| sent.key.as_str()).collect();
        for (key, ids) in by_key.iter().filter(|(key, _)| !sent.contains(*key)) {
            verdict.add(
                Promise::OncePerKey,
                format!("nobody sent key {key} of {ids:?}"),
            );
        }
    }

    fn judge_rest(&self, verdict: &mut Verdict) {
        if self.waiting_messages > 0 {
            let left = format!("{} messages wait in the broker", self.waiting_messages);
            verdict.add(Promise::Settled, left);
        }
        if self.outbox_rows > 0 {
            let left = format!("{} rows wait in the outbox", self.outbox_rows);
            verdict.add(Promise::Settled, left);
        }
        let poison: BTreeSet<&str> = self
            .sent
            .iter()
            .filter(|sent| sent.poison)
            .map(|sent| sent.key.as_str())
            .collect();
        for task in &self.tasks {
            let parked = self.dead_letters.contains(&task.id);
            if parked != poison.contains(task.key.as_str()) {
                let what = if parked {
                    "a dead letter"
                } else {
                    "no dead letter"
                };
                verdict.add(Promise::Settled, format!("task {} is {what}", task.id));
            }
        }
    }
}

/// Kinds of events that end a task; the state has the same name.
const ENDS: [&str; 5] = ["succeeded", "failed", "cancelled", "interrupted", "expired"];

fn is_end(event: &StoredEvent) -> bool {
    ENDS.contains(&event.kind.as_str())
}

fn judge_history(task: &Stored, verdict: &mut Verdict) {
    let Stored { id, events, .. } = task;
    let ends = events.iter().filter(|event| is_end(event)).count();
    if ends == 0 {
        verdict.add(Promise::Ended, format!("task {id} is {}", task.state));
    }
    if ends > 1 {
        verdict.add(Promise::EndedOnce, format!("task {id} ended {ends} times"));
    }
    let numbers = events.iter().map(|event| event.sequence);
    if !numbers.eq(1..=events.len() as u64) || events.is_empty() {
        verdict.add(Promise::Contiguous, format!("task {id}: {events:?}"));
    }
    if fold(events) != Some(task.state.as_str()) {
        verdict.add(
            Promise::Folded,
            format!(
                "task {id} is {}, its events say {:?}",
                task.state,
                fold(events)
            ),
        );
    }
    let first_end = events.iter().position(is_end);
    let rest = first_end.map_or(0, |at| events.len() - at - 1);
    if rest > 0 {
        verdict.add(
            Promise::NothingAfterEnd,
            format!("task {id} has {rest} events after its end"),
        );
    }
}

/// The state that a history leads to, by rules of our own: the platform's fold is under test.
fn fold(events: &[StoredEvent]) -> Option<&str> {
    let mut state = None;
    for (at, event) in events.iter().enumerate() {
        state = match event.kind.as_str() {
            "created" if at == 0 => Some("queued"),
            "created" => return None,
            "released" | "attempt_failed" => state.map(|_| "queued"),
            "started" => state.map(|_| "running"),
            "cancel_requested" => state,
            end if ENDS.contains(&end) => state.map(|_| end),
            _ => return None,
        };
    }
    state
}

fn judge_effect(task: &Stored, verdict: &mut Verdict) {
    let Stored { id, launches, .. } = task;
    let wanted = usize::from(task.state == "succeeded");
    if task.effects != wanted {
        verdict.add(
            Promise::EffectOnce,
            format!("task {id} {} with {} effects", task.state, task.effects),
        );
    }
    if task.at_most_once && *launches > 1 {
        let twice = format!("task {id} may start once and was launched {launches} times");
        verdict.add(Promise::EffectOnce, twice);
    }
    if task.state == "succeeded" && *launches == 0 {
        let never = format!("task {id} succeeded and nobody saw its work");
        verdict.add(Promise::EffectOnce, never);
    }
    let is_wrong_end = match task.state.as_str() {
        "failed" | "expired" => task.at_most_once,
        "interrupted" => !task.at_most_once,
        _ => false,
    };
    if is_wrong_end {
        let wrong = format!("task {id} ended {}, as its kind never does", task.state);
        verdict.add(Promise::EffectOnce, wrong);
    }
}
