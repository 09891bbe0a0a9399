//! What is said about breakers, as JSON.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sutazai_mesh::registry::Instance;
use sutazai_proto::{
    Coded, Problem,
    platform::v1::{Breaker, BreakerState, BreakerTransition},
};
use utoipa::ToSchema;

use crate::{
    circuit_breakers::{Found, Said},
    error::Error,
    http::time::instant,
};

/// How the breakers of all processes stand.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CircuitBreakerStatus {
    /// `ok` when every instance answered and every breaker lets calls pass, else `degraded`.
    status: &'static str,
    counts: StateCounts,
    /// Every breaker of every instance that answered.
    breakers: Vec<BreakerItem>,
    /// Instances that did not answer in time.
    silent: Vec<SilentItem>,
}

/// How many breakers there are in each state.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct StateCounts {
    closed: usize,
    half_open: usize,
    open: usize,
    /// Those of them that an operator holds.
    forced: usize,
}

/// The breakers by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BreakerList {
    items: Vec<BreakerGroup>,
    /// Instances that did not answer in time.
    silent: Vec<SilentItem>,
}

/// One breaker as every instance sees it that has it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BreakerGroup {
    name: String,
    /// The state that is furthest from `closed`: `closed`, `half_open` or `open`.
    state: State,
    instances: Vec<BreakerItem>,
}

/// One breaker as every instance sees it that has it, and who did not answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BreakerView {
    #[serde(flatten)]
    breaker: BreakerGroup,
    /// Instances that did not answer in time and may have it too.
    silent: Vec<SilentItem>,
}

/// One breaker of one instance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BreakerItem {
    /// What it guards, for example `postgres:tasks`.
    name: String,
    service: &'static str,
    /// Id of the instance.
    instance: String,
    /// `closed`, `half_open` or `open`.
    state: State,
    /// Whether an operator holds it in that state until it is reset.
    forced: bool,
    /// Calls that were answered since the process started.
    successes: u64,
    /// Calls that failed by the callee's fault.
    failures: u64,
    /// Calls that were not made because it was open.
    rejections: u64,
    /// What the newest failure said.
    last_error: Option<String>,
    /// When the next call may try; null unless it is open by itself.
    next_try_at: Option<DateTime<Utc>>,
}

/// An instance that did not answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SilentItem {
    service: &'static str,
    /// Id of the instance.
    instance: String,
    /// Why, as in problem documents.
    code: String,
    detail: String,
}

/// What happened to one breaker.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BreakerHistory {
    name: String,
    instances: Vec<InstanceHistory>,
    /// Instances that did not answer in time and may have it too.
    silent: Vec<SilentItem>,
}

/// What happened to it on one instance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstanceHistory {
    service: &'static str,
    /// Id of the instance.
    instance: String,
    /// The newest changes, oldest first.
    transitions: Vec<TransitionItem>,
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TransitionItem {
    at: Option<DateTime<Utc>>,
    from: State,
    to: State,
    /// `failed`, `waited`, `recovered`, `reset`, `forced_open` or `forced_closed`.
    cause: String,
    /// What the failure said.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Who did it, as `tenant/subject`.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
}

/// Whether calls pass, the best state first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Calls pass.
    Closed,
    /// One call may try.
    HalfOpen,
    /// Calls are refused.
    Open,
}

impl From<Vec<Said<Vec<Breaker>>>> for CircuitBreakerStatus {
    fn from(said: Vec<Said<Vec<Breaker>>>) -> Self {
        let (breakers, silent) = heard(said);
        let mut counts = StateCounts::default();
        for breaker in &breakers {
            match breaker.state {
                State::Closed => counts.closed += 1,
                State::HalfOpen => counts.half_open += 1,
                State::Open => counts.open += 1,
            }
            counts.forced += usize::from(breaker.forced);
        }
        let whole = silent.is_empty() && counts.closed == breakers.len();
        Self {
            status: if whole { "ok" } else { "degraded" },
            counts,
            breakers,
            silent,
        }
    }
}

impl From<Vec<Said<Vec<Breaker>>>> for BreakerList {
    fn from(said: Vec<Said<Vec<Breaker>>>) -> Self {
        let (breakers, silent) = heard(said);
        let mut by_name: BTreeMap<String, Vec<BreakerItem>> = BTreeMap::new();
        for breaker in breakers {
            let named = by_name.entry(breaker.name.clone()).or_default();
            named.push(breaker);
        }
        let items = by_name.into_iter();
        let items = items.map(|(name, instances)| BreakerGroup::of(name, instances));
        Self {
            items: items.collect(),
            silent,
        }
    }
}

/// Parts what was said from who said nothing.
fn heard(said: Vec<Said<Vec<Breaker>>>) -> (Vec<BreakerItem>, Vec<SilentItem>) {
    let (mut breakers, mut silent) = (Vec::new(), Vec::new());
    for Said { instance, answer } in said {
        match answer {
            Ok(found) => breakers.extend(found.into_iter().map(|one| item(&instance, one))),
            Err(error) => silent.push(silence((instance, error))),
        }
    }
    (breakers, silent)
}

impl BreakerGroup {
    fn of(name: String, instances: Vec<BreakerItem>) -> Self {
        let states = instances.iter().map(|item| item.state);
        Self {
            name,
            state: states.max().unwrap_or(State::Closed),
            instances,
        }
    }
}

impl BreakerView {
    pub(super) fn of(name: String, found: Found<Breaker>) -> Self {
        let answers = found.answers.into_iter();
        let items = answers.map(|(instance, breaker)| item(&instance, breaker));
        Self {
            breaker: BreakerGroup::of(name, items.collect()),
            silent: found.silent.into_iter().map(silence).collect(),
        }
    }
}

impl BreakerHistory {
    pub(super) fn of(name: String, found: Found<Vec<BreakerTransition>>) -> Self {
        let answers = found.answers.into_iter();
        let instances = answers.map(|(instance, transitions)| InstanceHistory {
            service: instance.service.as_str(),
            instance: instance.id.to_string(),
            transitions: transitions.into_iter().map(TransitionItem::from).collect(),
        });
        Self {
            name,
            instances: instances.collect(),
            silent: found.silent.into_iter().map(silence).collect(),
        }
    }
}

fn item(instance: &Instance, breaker: Breaker) -> BreakerItem {
    BreakerItem {
        service: instance.service.as_str(),
        instance: instance.id.to_string(),
        state: breaker.state().into(),
        forced: breaker.forced,
        successes: breaker.successes,
        failures: breaker.failures,
        rejections: breaker.rejections,
        last_error: given(breaker.last_error),
        next_try_at: instant(breaker.next_try_at),
        name: breaker.name,
    }
}

fn silence((instance, error): (Instance, Error)) -> SilentItem {
    SilentItem {
        service: instance.service.as_str(),
        instance: instance.id.to_string(),
        code: error.reason().to_owned(),
        detail: Problem::of(&error).detail,
    }
}

/// Returns a text unless the wire left it empty.
fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl From<BreakerTransition> for TransitionItem {
    fn from(change: BreakerTransition) -> Self {
        Self {
            from: change.from().into(),
            to: change.to().into(),
            at: instant(change.at),
            cause: change.cause,
            error: given(change.error),
            operator: given(change.operator),
        }
    }
}

impl From<BreakerState> for State {
    fn from(state: BreakerState) -> Self {
        match state {
            BreakerState::Closed => Self::Closed,
            BreakerState::HalfOpen => Self::HalfOpen,
            // An unknown state is not known to let calls pass.
            BreakerState::Open | BreakerState::Unspecified => Self::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use sutazai_mesh::{catalog::ServiceName, registry::InstanceId};

    use super::*;

    fn said(id: &str, answer: Result<Vec<Breaker>, Error>) -> Said<Vec<Breaker>> {
        let instance = Instance {
            id: InstanceId::new(id),
            service: ServiceName::TaskCoordinator,
            grpc: ([127, 0, 0, 1], 1).into(),
            http: None,
            version: "1".to_owned(),
            meta: BTreeMap::new(),
        };
        Said { instance, answer }
    }

    fn breaker(state: BreakerState) -> Breaker {
        Breaker {
            name: "postgres:tasks".to_owned(),
            state: state.into(),
            ..Breaker::default()
        }
    }

    #[test]
    fn cb_01_one_open_breaker_or_one_silent_instance_degrades_the_status() {
        let closed = || Ok(vec![breaker(BreakerState::Closed)]);
        let status = |said| CircuitBreakerStatus::from(said).status;
        assert_eq!(status(vec![said("a", closed()), said("b", closed())]), "ok");
        let open = Ok(vec![breaker(BreakerState::Open)]);
        assert_eq!(
            status(vec![said("a", closed()), said("b", open)]),
            "degraded"
        );
        let silent = Err(Error::DeadlineExceeded);
        let seen = CircuitBreakerStatus::from(vec![said("a", closed()), said("b", silent)]);
        assert_eq!((seen.status, seen.counts.closed), ("degraded", 1));
        assert_eq!(seen.silent[0].instance, "b");
        assert_eq!(seen.silent[0].code, "deadline_exceeded");
    }

    #[test]
    fn cb_01_replicas_stand_under_one_name_with_the_worst_state() {
        let list = BreakerList::from(vec![
            said("a", Ok(vec![breaker(BreakerState::Closed)])),
            said("b", Ok(vec![breaker(BreakerState::HalfOpen)])),
        ]);
        assert_eq!(list.items.len(), 1);
        assert_eq!(list.items[0].state, State::HalfOpen);
        assert_eq!(list.items[0].instances.len(), 2);
    }
}
