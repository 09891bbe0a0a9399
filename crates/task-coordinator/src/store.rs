//! The SQL of this service; every change of a task goes through [`transition`].
//!
//! A connection plans a statement once, by statistics of a table that may be empty then. Rows are named so that
//! no plan can do without an index: by an array of keys, also where a join says so, or one by one by a lateral
//! look-up.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::migrate::Migrator;
use sutazai_persistence::postgres::{Database, Share};
use sutazai_proto::ids::TaskId;

use crate::retry::RetryPolicy;
use crate::task::{Payload, State, Task};

mod answers;
mod dead_letters;
mod listen;
mod make;
mod outbox;
mod read;
mod report;
mod retention;
mod rows;
mod submit;
mod transition;
mod work;

pub(crate) use answers::DueAnswer;
pub(crate) use dead_letters::{Redrive, Spot};
#[cfg(test)]
pub(crate) use outbox::RELEASE_LOCK;
pub(crate) use outbox::{Picked, ReleaseRef};
pub(crate) use read::{Page, Place};
pub(crate) use report::{Finished, Report};
pub(crate) use retention::Ages;
pub(crate) use submit::Submitted;
pub(crate) use work::Standing;

/// Schema of this service.
pub const SCHEMA: &str = "tasks";
/// Brings the schema to the version that this program knows.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// Lengths of time that the store works with, all by the clock of the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How long a lease lasts without renewal.
    pub(crate) lease: Duration,
    /// How long a release may wait for its claim before it is released again.
    pub(crate) schedule_to_start: Duration,
    /// How long the broker may take for its confirm before a release counts as lost.
    pub(crate) publish: Duration,
    /// How long a worker's report of its free slots is believed.
    pub(crate) credit: Duration,
    pub(crate) retry: RetryPolicy,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            schedule_to_start: Duration::from_secs(60),
            publish: Duration::from_secs(10),
            credit: Duration::from_secs(15),
            retry: RetryPolicy::default(),
        }
    }
}

/// Keeps tasks.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    db: Database,
    /// For submissions: however many come, claims, results and heartbeats get through.
    submissions: Share,
    rules: Rules,
}

/// A task with its payloads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) task: Task,
    pub(crate) input: Payload,
    pub(crate) result: Option<Payload>,
}

impl Store {
    pub(crate) fn new(db: Database, rules: Rules) -> Self {
        Self {
            submissions: db.half(),
            db,
            rules,
        }
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Chooses when the attempt after the present one of `task` may start.
    fn retry_at(&self, task: &Task, now: DateTime<Utc>) -> DateTime<Utc> {
        // A queued task whose release failed loses the attempt that would have come next.
        let ended = if task.state == State::Running {
            task.attempt
        } else {
            task.attempt + 1
        };
        self.rules.retry.at(ended, now, &mut rand::rng())
    }
}

/// Seconds for `make_interval`.
fn seconds(length: Duration) -> f64 {
    length.as_secs_f64()
}

fn uuids(ids: &[TaskId]) -> Vec<uuid::Uuid> {
    ids.iter().map(|id| id.as_uuid()).collect()
}
