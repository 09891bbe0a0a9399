//! What workers bring: task types, and slots in which tasks could begin.

use std::time::Duration;

use sutazai_proto::ids::TaskId;

use crate::task::{EffectMode, TypeName};

/// Most attempts that a task may have.
pub(crate) const MOST_ATTEMPTS: u32 = 20;
/// The longest time that one attempt may run.
pub(crate) const LONGEST_ATTEMPT: Duration = Duration::from_secs(7 * 86_400);

/// How tasks of one type are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskType {
    pub(crate) name: TypeName,
    pub(crate) effect_mode: EffectMode,
    pub(crate) max_attempts: u32,
    pub(crate) attempt_timeout: Duration,
}

/// The slots that a worker has free for one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credit {
    pub(crate) task_type: TaskType,
    pub(crate) free_slots: u32,
}

/// Names a process that runs attempts; the registry's instance id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Worker(String);

impl Worker {
    /// Longest id, in bytes.
    const LENGTH: usize = 128;

    /// Reads an id; `None` when it can be none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits =
            (1..=Self::LENGTH).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// One attempt of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttemptRef {
    pub(crate) task: TaskId,
    pub(crate) attempt: u32,
}
