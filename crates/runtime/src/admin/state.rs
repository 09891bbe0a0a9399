//! How a process stands, as pure values.

use std::{collections::BTreeMap, sync::Arc};

use http::StatusCode;
use serde::Serialize;

use crate::probe::Outcome;

/// Where in its life a process is; it only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It serves, but takes no work yet.
    Starting,
    /// It takes work.
    Ready,
    /// It takes no further work.
    Draining,
}

/// Phase and parts of a process at one moment.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// Newest outcome of every probe; absent before the first round.
    pub(super) outcomes: Option<Arc<[Outcome]>>,
}

/// The one word that sums a process up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// It works, with all its parts.
    Ok,
    /// It works without a part that it can do without.
    Degraded,
    /// It takes no work.
    Unavailable,
}

impl State {
    /// Tells whether both are the same moment: each round of probes has outcomes of its own.
    pub(super) fn is(&self, other: &Self) -> bool {
        let outcomes = match (&self.outcomes, &other.outcomes) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        outcomes && self.phase == other.phase
    }

    /// Tells whether every required part worked when it was looked at.
    pub(super) fn usable(&self) -> bool {
        let works = |outcome: &Outcome| !outcome.required || outcome.result.is_ok();
        self.outcomes
            .as_ref()
            .is_some_and(|outcomes| outcomes.iter().all(works))
    }

    pub(super) fn ready(&self) -> bool {
        self.phase == Phase::Ready && self.usable()
    }

    pub(super) fn status(&self) -> Status {
        let failed = |outcome: &Outcome| outcome.result.is_err();
        let outcomes = self.outcomes.as_deref().unwrap_or_default();
        match (self.ready(), outcomes.iter().any(failed)) {
            (false, _) => Status::Unavailable,
            (true, true) => Status::Degraded,
            (true, false) => Status::Ok,
        }
    }

    /// Tells of each part whether it works, by its key.
    pub(super) fn parts(&self) -> BTreeMap<&'static str, Status> {
        let outcomes = self.outcomes.as_deref().unwrap_or_default();
        let part = |outcome: &Outcome| match outcome.result {
            Ok(_) => (outcome.health_key, Status::Ok),
            Err(_) => (outcome.health_key, Status::Unavailable),
        };
        outcomes.iter().map(part).collect()
    }

    /// Says in one line why the process is not ready.
    pub(super) fn complaint(&self) -> String {
        let failed: Vec<String> = self
            .outcomes
            .as_deref()
            .unwrap_or_default()
            .iter()
            .filter(|outcome| outcome.required)
            .filter_map(|outcome| {
                let failure = outcome.result.as_ref().err()?;
                Some(format!("{}: {failure}", outcome.part))
            })
            .collect();
        match (failed.is_empty(), self.phase) {
            (false, _) => failed.join("; "),
            (true, Phase::Draining) => "the service is stopping".to_owned(),
            (true, _) => "the service is starting".to_owned(),
        }
    }
}

impl Status {
    /// Returns the status of the answer that says so: degraded still works.
    pub(super) fn http(self) -> StatusCode {
        match self {
            Self::Ok | Self::Degraded => StatusCode::OK,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::probe::{Evidence, Failure};

    fn outcome(part: &'static str, required: bool, works: bool) -> Outcome {
        Outcome {
            part,
            health_key: part,
            required,
            result: works
                .then(Evidence::default)
                .ok_or_else(|| Failure::new("no answer")),
            took: Duration::ZERO,
        }
    }

    fn state(phase: Phase, outcomes: impl Into<Arc<[Outcome]>>) -> State {
        State {
            phase,
            outcomes: Some(outcomes.into()),
        }
    }

    #[test]
    fn cfg_14_a_required_part_decides_and_an_optional_one_degrades() {
        let all_works = [
            outcome("database", true, true),
            outcome("redis", false, true),
        ];
        let cache_failed = [
            outcome("database", true, true),
            outcome("redis", false, false),
        ];
        let base_failed = [
            outcome("database", true, false),
            outcome("redis", false, true),
        ];
        assert_eq!(state(Phase::Ready, all_works.clone()).status(), Status::Ok);
        assert_eq!(state(Phase::Ready, cache_failed).status(), Status::Degraded);
        let without_base = state(Phase::Ready, base_failed);
        assert_eq!(without_base.status(), Status::Unavailable);
        assert_eq!(without_base.complaint(), "database: no answer");
        for phase in [Phase::Starting, Phase::Draining] {
            assert!(!state(phase, all_works.clone()).ready());
        }
    }

    #[test]
    fn nothing_is_usable_before_the_first_look() {
        let unseen = State {
            phase: Phase::Ready,
            outcomes: None,
        };
        assert!(!unseen.usable() && !unseen.ready());
        assert!(state(Phase::Ready, []).ready());
    }
}
