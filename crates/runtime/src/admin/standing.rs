//! How this process stands, shared by everything that shows it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::StatusCode;
use parking_lot::Mutex;
use serde::Serialize;
use sutazai_mesh::{catalog::ServiceName, registry::InstanceId};
use sutazai_resilience::Breakers;
use tokio::sync::watch;
use tracing::{info, warn};

use super::state::{Phase, State, Status};
use crate::{
    config::Profile,
    probe::{self, Outcome, Probe},
    service::{Addresses, VERSION},
};

/// Pause between two looks at the parts.
const PAUSE: Duration = Duration::from_secs(5);
/// The same while a required part does not work, so that recovery shows soon.
const PAUSE_UNUSABLE: Duration = Duration::from_millis(500);

/// Who this process is and how it stands.
pub(crate) struct Standing {
    pub(super) service: ServiceName,
    pub(super) instance_id: InstanceId,
    pub(super) profile: Profile,
    pub(super) addresses: Addresses,
    pub(super) breakers: Breakers,
    pub(super) started_at: DateTime<Utc>,
    started: Instant,
    probes: Vec<Arc<dyn Probe>>,
    state: watch::Sender<State>,
    told: Mutex<Option<Told>>,
}

/// The newest answer of `/health`, and what it tells of. Balancers and people ask all the time, and
/// writing it is a fifth of what such a request costs.
struct Told {
    state: State,
    uptime_seconds: u64,
    answer: (StatusCode, Bytes),
}

/// The answer of `/health`.
#[derive(Serialize)]
struct Health {
    status: Status,
    services: BTreeMap<&'static str, Status>,
    version: &'static str,
    uptime_seconds: u64,
}

impl Standing {
    pub(crate) fn new(
        service: ServiceName,
        instance_id: InstanceId,
        profile: Profile,
        addresses: Addresses,
        probes: Vec<Arc<dyn Probe>>,
        breakers: Breakers,
    ) -> Self {
        Self {
            service,
            instance_id,
            profile,
            addresses,
            breakers,
            started_at: Utc::now(),
            started: Instant::now(),
            probes,
            state: watch::Sender::new(State {
                phase: Phase::Starting,
                outcomes: None,
            }),
            told: Mutex::default(),
        }
    }

    pub(crate) fn service(&self) -> ServiceName {
        self.service
    }

    pub(crate) fn profile(&self) -> Profile {
        self.profile
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Moves to a later phase; there is no way back.
    pub(crate) fn enter(&self, phase: Phase) {
        self.state
            .send_modify(|state| state.phase = state.phase.max(phase));
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state.borrow().ready()
    }

    /// Waits until every required part works.
    pub(crate) async fn until_usable(&self) {
        // The sender lives in `self`, so waiting can not fail.
        let _ = self.state.subscribe().wait_for(State::usable).await;
    }

    /// Says in one line why the process is not ready.
    pub(crate) fn complaint(&self) -> String {
        self.state.borrow().complaint()
    }

    /// Looks at every part and remembers what it saw; a change is logged.
    pub(crate) async fn check(&self) {
        let outcomes: Arc<[Outcome]> = probe::check(&self.probes).await.into();
        let before = self.state.borrow().outcomes.clone();
        for (at, outcome) in outcomes.iter().enumerate() {
            let worked = before.as_ref().map(|before| before[at].result.is_ok());
            let part = outcome.part;
            match (&outcome.result, worked) {
                (Err(failure), None | Some(true)) => warn!(part, %failure, "part does not work"),
                (Ok(_), Some(false)) => info!(part, "part works again"),
                _ => {}
            }
        }
        self.state
            .send_modify(|state| state.outcomes = Some(outcomes));
    }

    /// Returns the time until the next look.
    pub(crate) fn pause(&self) -> Duration {
        if self.state.borrow().usable() {
            PAUSE
        } else {
            PAUSE_UNUSABLE
        }
    }

    /// Runs the probe of one part, or all of them when the name is empty.
    pub(super) async fn probe(&self, part: &str) -> Vec<Outcome> {
        let wanted = |probe: &&Arc<dyn Probe>| part.is_empty() || probe.part() == part;
        let probes: Vec<_> = self.probes.iter().filter(wanted).cloned().collect();
        probe::run(&probes).await
    }

    /// Returns status and JSON of the answer to `/health`.
    pub(super) fn health(&self) -> (StatusCode, Bytes) {
        let state = self.state.borrow();
        let uptime_seconds = self.started.elapsed().as_secs();
        let mut told = self.told.lock();
        if let Some(told) = &*told
            && told.uptime_seconds == uptime_seconds
            && told.state.is(&state)
        {
            return told.answer.clone();
        }
        let health = Health {
            status: state.status(),
            services: state.parts(),
            version: VERSION,
            uptime_seconds,
        };
        // Words and numbers have a JSON.
        let body = serde_json::to_vec(&health).unwrap_or_default();
        let answer = (health.status.http(), Bytes::from(body));
        *told = Some(Told {
            state: state.clone(),
            uptime_seconds,
            answer: answer.clone(),
        });
        answer
    }
}
