//! The leases that a worker holds: a pure table, driven by claims, results and verdicts.

use std::collections::HashMap;

use sutazai_proto::tasks::v1::{
    LeaseRef, LeaseStatus, LeaseVerdict, TaskFinished, task_finished::Outcome,
};

/// Heartbeats that may renew a finished attempt before its result is sent again.
const PATIENCE: u32 = 2;

/// Attempts under lease, each with a handle `H` by which it can be stopped.
#[derive(Debug)]
pub(crate) struct Leases<H> {
    held: HashMap<String, Held<H>>,
}

#[derive(Debug)]
struct Held<H> {
    attempt: u32,
    phase: Phase,
    handle: H,
}

#[derive(Debug)]
enum Phase {
    Running,
    /// Kept until the coordinator says that the task has ended.
    Finished {
        result: TaskFinished,
        sending: Sending,
    },
}

/// How far a result has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Waiting,
    /// The broker did not take it over.
    Refused,
    /// The broker took it over; so many heartbeats renewed it since.
    Taken(u32),
}

/// What a verdict asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reaction<'a, H> {
    /// Go on.
    Keep,
    /// Stop the attempt and report that it was cancelled.
    Cancel(&'a H),
    /// It is out of the table: stop what still runs, send nothing more.
    Forget(H),
}

impl<H> Leases<H> {
    pub(crate) fn new() -> Self {
        Self {
            held: HashMap::new(),
        }
    }

    /// Returns the number of leases.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Tells whether any attempt of the task is held.
    pub(crate) fn holds(&self, task_id: &str) -> bool {
        self.held.contains_key(task_id)
    }

    /// Enters a granted attempt; returns the handle of an earlier attempt, whose lease is over.
    pub(crate) fn grant(&mut self, task_id: &str, attempt: u32, handle: H) -> Option<H> {
        let held = Held {
            attempt,
            phase: Phase::Running,
            handle,
        };
        let earlier = self.held.insert(task_id.to_owned(), held);
        earlier.map(|held| held.handle)
    }

    /// Notes the end of an attempt; false when it is no longer held, so that nothing may be sent.
    pub(crate) fn finish(&mut self, result: TaskFinished) -> bool {
        match self.current(&result.task_id, result.attempt) {
            Some(held) if matches!(held.phase, Phase::Running) => {
                held.phase = Phase::Finished {
                    result,
                    sending: Sending::Waiting,
                };
                true
            }
            _ => false,
        }
    }

    /// Notes whether the broker took a result over.
    pub(crate) fn sent(&mut self, task_id: &str, attempt: u32, taken: bool) {
        if let Some(held) = self.current(task_id, attempt)
            && let Phase::Finished { sending, .. } = &mut held.phase
        {
            *sending = if taken {
                Sending::Taken(0)
            } else {
                Sending::Refused
            };
        }
    }

    /// Counts the attempts that stopped as they were asked to and whose results have no broker to go to: the
    /// next heartbeat ends them.
    pub(crate) fn stranded(&self) -> usize {
        let held = self.held.values();
        held.filter(|held| held.is_stranded()).count()
    }

    /// Lists what the next heartbeat renews.
    pub(crate) fn renewals(&self) -> Vec<LeaseRef> {
        let lease = |(task_id, held): (&String, &Held<H>)| LeaseRef {
            task_id: task_id.clone(),
            attempt: held.attempt,
            cancelled: held.is_stranded(),
        };
        self.held.iter().map(lease).collect()
    }

    /// Lists the results that were not taken over, or that the coordinator should know by now.
    pub(crate) fn due_results(&self) -> Vec<TaskFinished> {
        let due = |held: &Held<H>| match &held.phase {
            Phase::Finished {
                sending: Sending::Taken(beats),
                ..
            } if *beats < PATIENCE => None,
            Phase::Finished { result, .. } => Some(result.clone()),
            Phase::Running => None,
        };
        self.held.values().filter_map(due).collect()
    }

    /// Applies the coordinator's answer about one lease.
    ///
    /// An answer about another attempt than the one held is old, and an unknown verdict of a newer
    /// coordinator is no reason to give work up: both change nothing.
    pub(crate) fn apply(&mut self, status: &LeaseStatus) -> Reaction<'_, H> {
        let Some(held) = self.current(&status.task_id, status.attempt) else {
            return Reaction::Keep;
        };
        match status.verdict() {
            LeaseVerdict::Unspecified => return Reaction::Keep,
            LeaseVerdict::Lost | LeaseVerdict::Terminal => {}
            renewed @ (LeaseVerdict::Renewed | LeaseVerdict::Cancel) => {
                match &mut held.phase {
                    Phase::Running if renewed == LeaseVerdict::Cancel => {}
                    Phase::Running => return Reaction::Keep,
                    Phase::Finished { sending, .. } => {
                        if let Sending::Taken(beats) = sending {
                            *beats = beats.saturating_add(1);
                        }
                        return Reaction::Keep;
                    }
                }
                let held = self.held.get(&status.task_id);
                return held.map_or(Reaction::Keep, |held| Reaction::Cancel(&held.handle));
            }
        }
        let gone = self.held.remove(&status.task_id);
        gone.map_or(Reaction::Keep, |held| Reaction::Forget(held.handle))
    }

    fn current(&mut self, task_id: &str, attempt: u32) -> Option<&mut Held<H>> {
        let held = self.held.get_mut(task_id);
        held.filter(|held| held.attempt == attempt)
    }
}

impl<H> Held<H> {
    fn is_stranded(&self) -> bool {
        match &self.phase {
            Phase::Finished { result, sending } => {
                *sending == Sending::Refused
                    && matches!(result.outcome, Some(Outcome::Cancelled(_)))
            }
            Phase::Running => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use sutazai_proto::tasks::v1::AttemptCancelled;
    use sutazai_proto::tasks::v1::LeaseVerdict::{Cancel, Lost, Renewed, Terminal, Unspecified};

    use super::*;

    fn status(attempt: u32, verdict: LeaseVerdict) -> LeaseStatus {
        LeaseStatus {
            task_id: "t".to_owned(),
            attempt,
            verdict: verdict.into(),
        }
    }

    fn result(attempt: u32) -> TaskFinished {
        TaskFinished {
            task_id: "t".to_owned(),
            attempt,
            ..TaskFinished::default()
        }
    }

    fn running() -> Leases<&'static str> {
        let mut leases = Leases::new();
        assert_eq!(leases.grant("t", 1, "first"), None);
        leases
    }

    #[test]
    fn tsk_01_a_result_is_kept_and_repeated_until_the_task_has_ended() {
        let mut leases = running();
        assert!(leases.due_results().is_empty());
        assert!(leases.finish(result(1)));
        assert_eq!(leases.due_results(), [result(1)], "not taken over yet");
        leases.sent("t", 1, false);
        assert_eq!(leases.due_results(), [result(1)], "refused");
        leases.sent("t", 1, true);
        for _ in 0..PATIENCE {
            assert!(
                leases.due_results().is_empty(),
                "it may still be on its way"
            );
            assert_eq!(leases.apply(&status(1, Renewed)), Reaction::Keep);
        }
        assert_eq!(leases.due_results(), [result(1)]);
        assert_eq!(leases.renewals().len(), 1, "the lease is kept until then");
        assert_eq!(
            leases.apply(&status(1, Terminal)),
            Reaction::Forget("first")
        );
        assert!(leases.due_results().is_empty());
        assert_eq!(leases.len(), 0);
    }

    #[test]
    fn tsk_06_a_lost_attempt_sends_nothing() {
        let mut leases = running();
        assert_eq!(leases.apply(&status(1, Lost)), Reaction::Forget("first"));
        assert!(!leases.finish(result(1)));
        assert!(leases.due_results().is_empty());
    }

    #[test]
    fn a_cancelled_attempt_keeps_its_lease_until_it_has_reported() {
        let mut leases = running();
        assert_eq!(leases.apply(&status(1, Cancel)), Reaction::Cancel(&"first"));
        assert!(leases.finish(result(1)));
        assert_eq!(
            leases.apply(&status(1, Cancel)),
            Reaction::Keep,
            "there is nothing to stop"
        );
        assert_eq!(leases.renewals().len(), 1);
    }

    #[test]
    fn r5_a_cancelled_attempt_without_a_broker_ends_by_the_heartbeat() {
        let mut leases = running();
        let result = TaskFinished {
            outcome: Some(Outcome::Cancelled(AttemptCancelled {})),
            ..result(1)
        };
        assert!(leases.finish(result));
        let told = |leases: &Leases<_>| (leases.stranded(), leases.renewals()[0].cancelled);
        assert_eq!(told(&leases), (0, false), "its message is on the way");
        leases.sent("t", 1, false);
        assert_eq!(told(&leases), (1, true));
        leases.sent("t", 1, true);
        assert_eq!(told(&leases), (0, false), "its message ends it");
    }

    #[test]
    fn only_what_was_asked_to_stop_ends_by_the_heartbeat() {
        let mut leases = running();
        assert!(leases.finish(result(1)));
        leases.sent("t", 1, false);
        assert_eq!(leases.stranded(), 0, "a result has to be stored");
    }

    #[test]
    fn a_later_attempt_takes_the_place_of_an_earlier_one() {
        let mut leases = running();
        assert_eq!(leases.grant("t", 2, "second"), Some("first"));
        assert!(!leases.finish(result(1)), "fenced off");
        assert_eq!(
            leases.apply(&status(1, Lost)),
            Reaction::Keep,
            "an old answer"
        );
        assert!(leases.holds("t"));
        assert!(leases.finish(result(2)));
    }

    #[test]
    fn an_attempt_ends_once() {
        let mut leases = running();
        assert!(leases.finish(result(1)));
        assert!(!leases.finish(result(1)));
    }

    #[test]
    fn an_unknown_verdict_changes_nothing() {
        let mut leases = running();
        assert_eq!(leases.apply(&status(1, Unspecified)), Reaction::Keep);
        let mut odd = status(1, Renewed);
        odd.verdict = 99;
        assert_eq!(leases.apply(&odd), Reaction::Keep);
        assert_eq!(leases.len(), 1);
    }
}
