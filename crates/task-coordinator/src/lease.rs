//! How workers take attempts and keep them.

use std::{collections::HashMap, time::Duration};

use sutazai_messaging::topology;
use sutazai_proto::{ids::TaskId, tasks::v1::TaskFinished};

use crate::credit::{AttemptRef, Credit, Worker};
use crate::error::Error;
use crate::outbox::Bell;
use crate::store::{Report, Standing, Store};
use crate::task::{Outcome, Refusal, State};
use crate::watch::Watchers;

/// The leases of all workers; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Leases {
    store: Store,
    watchers: Watchers,
    bell: Bell,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    Granted {
        attempt: u32,
        lease: Duration,
    },
    Refused(Refusal),
    /// No such task.
    Unknown,
}

/// What a worker is to do with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    Renewed,
    /// Stop and report `cancelled`.
    Cancel,
    /// Stop; another attempt is, or will be, the current one.
    Lost,
    /// The task has ended.
    Terminal,
}

impl Leases {
    pub(crate) fn new(store: Store, watchers: Watchers, bell: Bell) -> Self {
        Self {
            store,
            watchers,
            bell,
        }
    }

    /// Begins attempts; answers in the order of `ids`.
    pub(crate) async fn claim(
        &self,
        worker: &Worker,
        ids: &[TaskId],
    ) -> Result<Vec<Claimed>, Error> {
        let (refused, changes) = self.store.claim(worker, ids).await?;
        self.watchers.changed(&changes);
        let mut outcomes: HashMap<TaskId, Claimed> = refused
            .into_iter()
            .map(|(id, refusal)| (id, Claimed::Refused(refusal)))
            .collect();
        for change in &changes {
            let task = change.task();
            let lease = self.store.rules().lease.min(task.spec.attempt_timeout);
            outcomes.insert(
                task.id,
                Claimed::Granted {
                    attempt: task.attempt,
                    lease,
                },
            );
        }
        Ok(ids
            .iter()
            .map(
                |id| match outcomes.get(id).copied().unwrap_or(Claimed::Unknown) {
                    granted @ Claimed::Granted { .. } => {
                        // A task named twice is granted once.
                        outcomes.insert(*id, Claimed::Refused(Refusal::Held));
                        granted
                    }
                    other => other,
                },
            )
            .collect())
    }

    /// Notes what a worker could begin and what `stopped` as it was to, renews its leases, and says what to stop.
    pub(crate) async fn heartbeat(
        &self,
        worker: &Worker,
        credits: &[Credit],
        leases: &[AttemptRef],
        stopped: &[AttemptRef],
    ) -> Result<Vec<(AttemptRef, Verdict)>, Error> {
        if !stopped.is_empty() {
            self.end(worker, stopped).await?;
        }
        // Leases before credits: they have a time to keep.
        let standings = match leases {
            [] => Vec::new(),
            leases => self.store.renew(worker, leases).await?,
        };
        if !credits.is_empty() {
            self.store.report_credit(worker, credits).await?;
            self.bell.ring();
        }
        Ok(standings
            .iter()
            .map(|standing| (standing.lease, verdict(standing)))
            .collect())
    }
}

impl Leases {
    /// Ends attempts that were cancelled, without the message that says so: the broker does not take it. Should it
    /// come later, it is known by its id.
    async fn end(&self, worker: &Worker, stopped: &[AttemptRef]) -> Result<(), Error> {
        let report = |ended: &AttemptRef| Report {
            consumer: topology::COORDINATOR_EVENTS,
            message_id: TaskFinished::message_id(&ended.task.to_string(), ended.attempt),
            ended: *ended,
            worker: worker.clone(),
            outcome: Outcome::Cancelled,
        };
        let reports: Vec<Report> = stopped.iter().map(report).collect();
        let (_, changes) = self.store.finish(&reports).await?;
        if !changes.is_empty() {
            self.watchers.changed(&changes);
            self.bell.ring();
        }
        Ok(())
    }
}

fn verdict(standing: &Standing) -> Verdict {
    match standing.state {
        Some(state) if state.is_terminal() => Verdict::Terminal,
        Some(State::Running) if standing.renewed && standing.cancel_requested => Verdict::Cancel,
        Some(State::Running) if standing.renewed => Verdict::Renewed,
        _ => Verdict::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tsk_06_a_verdict_follows_from_how_the_task_stands() {
        let lease = AttemptRef {
            task: TaskId::new(),
            attempt: 1,
        };
        let ask = |renewed, cancel_requested, state| {
            verdict(&Standing {
                lease,
                renewed,
                cancel_requested,
                state,
            })
        };
        assert_eq!(ask(true, false, Some(State::Running)), Verdict::Renewed);
        assert_eq!(ask(true, true, Some(State::Running)), Verdict::Cancel);
        assert_eq!(
            ask(false, true, Some(State::Running)),
            Verdict::Lost,
            "another attempt runs"
        );
        assert_eq!(ask(false, false, Some(State::Queued)), Verdict::Lost);
        assert_eq!(ask(false, false, None), Verdict::Lost);
        for state in State::ALL.iter().filter(|state| state.is_terminal()) {
            assert_eq!(ask(false, true, Some(*state)), Verdict::Terminal);
        }
    }
}
