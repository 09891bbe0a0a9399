//! The breakers of this process on the wire, and what an operator may do to them.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use sutazai_proto::{
    ErrorCode, RemoteError,
    platform::v1::{Breaker, BreakerAction, BreakerState, BreakerTransition},
};
use sutazai_resilience::{
    Breakers, breaker,
    breaker::{Snapshot, State, Transition},
};

/// Lists them in the order of their names.
pub(super) fn list(breakers: &Breakers) -> Vec<Breaker> {
    breakers.list().into_iter().map(shown).collect()
}

/// Returns what happened to one, oldest first.
pub(super) fn history(
    breakers: &Breakers,
    name: &str,
) -> Result<Vec<BreakerTransition>, RemoteError> {
    let history = find(breakers, name)?.history();
    Ok(history.iter().map(transition).collect())
}

/// Does to one what the operator wants, and returns how it is then.
pub(super) fn set(
    breakers: &Breakers,
    name: &str,
    action: BreakerAction,
    by: &str,
) -> Result<Breaker, RemoteError> {
    let breaker = find(breakers, name)?;
    match action {
        BreakerAction::Reset => breaker.reset(by),
        BreakerAction::ForceOpen => breaker.force_open(by),
        BreakerAction::ForceClosed => breaker.force_closed(by),
        BreakerAction::Unspecified => {
            let message = "name what to do with the breaker";
            let code = ErrorCode::InvalidArgument;
            return Err(RemoteError::new(code, "validation_failed", message));
        }
    }
    Ok(shown(breaker.snapshot()))
}

fn find(breakers: &Breakers, name: &str) -> Result<breaker::Breaker, RemoteError> {
    breakers.find(name).ok_or_else(|| {
        let message = format!("this process has no breaker `{name}`");
        RemoteError::new(ErrorCode::NotFound, "breaker_not_found", message)
    })
}

fn shown(snapshot: Snapshot) -> Breaker {
    Breaker {
        name: snapshot.name,
        state: state(snapshot.state).into(),
        successes: snapshot.successes,
        failures: snapshot.failures,
        rejections: snapshot.rejections,
        last_error: snapshot.last_error.unwrap_or_default(),
        next_try_at: snapshot.next_try_in.map(from_now),
        forced: snapshot.forced,
    }
}

fn transition(change: &Transition) -> BreakerTransition {
    BreakerTransition {
        at: Some(change.at.into()),
        from: state(change.from).into(),
        to: state(change.to).into(),
        cause: change.cause.to_string(),
        error: change.cause.error().unwrap_or_default().to_owned(),
        operator: change.cause.operator().unwrap_or_default().to_owned(),
    }
}

fn state(state: State) -> BreakerState {
    match state {
        State::Closed => BreakerState::Closed,
        State::Open => BreakerState::Open,
        State::HalfOpen => BreakerState::HalfOpen,
    }
}

fn from_now(wait: Duration) -> Timestamp {
    (SystemTime::now() + wait).into()
}
