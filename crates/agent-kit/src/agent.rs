//! What an agent has to say and do; everything else is the [`Worker`](crate::Worker)'s.

use std::time::Duration;

use async_trait::async_trait;
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::tasks::v1::{EffectMode, TaskType};

use crate::{Failure, Payload, TaskContext};

/// Largest input or result of a task, in bytes.
pub const PAYLOAD_LIMIT: usize = 64 * 1024;

/// Runs tasks of the types that it names.
#[async_trait]
pub trait Agent: Send + Sync + 'static {
    /// Says who this is.
    fn about(&self) -> About;

    /// Lists the task types that this agent serves, each once.
    fn capabilities(&self) -> Vec<Capability>;

    /// Returns how many tasks one instance runs at once, over all types.
    fn slots(&self) -> u16;

    /// Runs one attempt of a task.
    ///
    /// The future is dropped when the attempt's time is over, when its lease is lost, and a moment
    /// after [`TaskContext::cancelled`] fires. A panic is a failed attempt.
    async fn run(&self, task: TaskContext) -> Result<Payload, Failure>;
}

/// Who an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// The process it runs in.
    pub name: ServiceName,
    /// Its version (SemVer).
    pub version: &'static str,
    /// One sentence for people.
    pub description: &'static str,
}

/// A task type that an agent serves, and how its tasks are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Dotted lower-case name, for example `llm.generate`.
    pub task_type: &'static str,
    /// One sentence for people.
    pub description: &'static str,
    /// What a crash between start and end means.
    pub effect_mode: EffectMode,
    /// Attempts before a task is parked, 1 to 20.
    pub max_attempts: u32,
    /// Longest time one attempt may run.
    pub attempt_timeout: Duration,
}

impl Capability {
    /// Returns what the coordinator is told about the type.
    pub fn task_type(&self) -> TaskType {
        TaskType {
            name: self.task_type.to_owned(),
            effect_mode: self.effect_mode.into(),
            max_attempts: self.max_attempts,
            attempt_timeout: self.attempt_timeout.try_into().ok(),
        }
    }
}
