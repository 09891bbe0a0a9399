//! A task as its submitter asks for it.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use sutazai_proto::ids::TaskId;
use sutazai_proto::producers::Origin;

use crate::answer::Address;
use crate::credit::TaskType;
use crate::task::{Payload, Spec};

/// Priority of a task that names none.
pub(crate) const DEFAULT_PRIORITY: u8 = 5;
/// Longest time until a task expires.
pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(366 * 86_400);

/// A task as its submitter asks for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Submission {
    pub(crate) id: TaskId,
    /// As asked for; there may be no such type.
    pub(crate) task_type: String,
    pub(crate) input: Payload,
    pub(crate) priority: u8,
    /// Without it the type's own limit counts.
    pub(crate) max_attempts: Option<u32>,
    pub(crate) expires_in: Option<TimeDelta>,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) submitter: Submitter,
    /// W3C trace headers of the request.
    pub(crate) trace: BTreeMap<String, String>,
    /// Where the end is told; those who ask and follow need none.
    pub(crate) reply_to: Option<ReplyTo>,
}

/// Where a producer on the broker is told the end of its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplyTo {
    pub(crate) address: Address,
    /// The submission that it knows.
    pub(crate) origin: Origin,
}

/// On whose behalf a task runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Submitter {
    pub(crate) tenant: String,
    pub(crate) subject: String,
    pub(crate) roles: Vec<String>,
    pub(crate) scopes: Vec<String>,
}

/// What makes a repeated request the same one, within tenant, subject and operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdempotencyKey {
    pub(crate) operation: Operation,
    pub(crate) text: String,
    /// SHA-256 of the request without the key.
    pub(crate) fingerprint: Vec<u8>,
}

/// The ways in which a task is asked for; keys of one are not those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The call `CreateTask`.
    CreateTask,
    /// A message of a producer outside the platform.
    Intake,
}

impl Operation {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::CreateTask => "create_task",
            Self::Intake => "intake",
        }
    }
}

impl Submission {
    /// Tells whether its rows are all there is to store: no key to take, no answer to keep.
    pub(crate) fn is_plain(&self) -> bool {
        self.key.is_none() && self.reply_to.is_none()
    }

    /// Completes the request with what its type prescribes.
    pub(crate) fn spec(&self, task_type: &TaskType, now: DateTime<Utc>) -> Spec {
        let Submitter {
            tenant,
            subject,
            roles,
            scopes,
        } = self.submitter.clone();
        Spec {
            tenant,
            subject,
            roles,
            scopes,
            trace: self.trace.clone(),
            task_type: task_type.name.clone(),
            priority: self.priority,
            max_attempts: self.max_attempts.unwrap_or(task_type.max_attempts),
            effect_mode: task_type.effect_mode,
            attempt_timeout: task_type.attempt_timeout,
            // The database keeps microseconds.
            expires_at: self
                .expires_in
                .and_then(|wait| now.checked_add_signed(wait))
                .map(|at| at.trunc_subsecs(6)),
        }
    }
}

/// Returns up to three known names that share most of their letters with `asked`, best first.
pub(crate) fn near_names(asked: &str, known: &[String]) -> Vec<String> {
    let mut near: Vec<(usize, &String)> = known
        .iter()
        .map(|name| (shared(asked, name), name))
        .filter(|(shared, name)| shared * 2 >= asked.len().max(name.len()))
        .collect();
    near.sort_by(|a, b| b.cmp(a));
    near.into_iter()
        .take(3)
        .map(|(_, name)| name.clone())
        .collect()
}

/// Counts the bytes that two names have in common at the front and at the back.
fn shared(left: &str, right: &str) -> usize {
    let front = left
        .bytes()
        .zip(right.bytes())
        .take_while(|(l, r)| l == r)
        .count();
    let (left, right) = (&left.as_bytes()[front..], &right.as_bytes()[front..]);
    let back = left
        .iter()
        .rev()
        .zip(right.iter().rev())
        .take_while(|(l, r)| l == r)
        .count();
    front + back
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_slip_of_the_finger_are_near() {
        let known = ["llm.generate", "automation.plan", "llm.embed"].map(str::to_owned);
        assert_eq!(near_names("llm.genrate", &known), ["llm.generate"]);
        assert_eq!(near_names("automatoin.plan", &known), ["automation.plan"]);
        assert_eq!(near_names("LLM.GENERATE", &known), Vec::<String>::new());
        assert_eq!(near_names("shell.run", &known), Vec::<String>::new());
    }
}
