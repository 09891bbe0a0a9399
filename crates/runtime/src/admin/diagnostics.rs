//! Live facts about this process over gRPC (`platform.v1.Diagnostics`).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use prost_types::Timestamp;
use sutazai_proto::{
    ErrorCode, RemoteError,
    platform::v1::{
        Breaker, BreakerState, BreakersRequest, BreakersResponse, CountersRequest,
        CountersResponse, DescribeRequest, DescribeResponse, ProbeRequest, ProbeResponse,
        ProbeResult, diagnostics_server,
    },
    to_status,
};
use sutazai_resilience::breaker::{Snapshot, State};
use tonic::{Request, Response, Status};

use super::Standing;
use crate::{probe::Outcome, service::VERSION};

/// Answers from the standing of the process.
pub(crate) struct Diagnostics(Arc<Standing>);

impl Diagnostics {
    pub(crate) fn new(standing: Arc<Standing>) -> Self {
        Self(standing)
    }
}

#[tonic::async_trait]
impl diagnostics_server::Diagnostics for Diagnostics {
    async fn describe(
        &self,
        _: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        let standing = &self.0;
        Ok(Response::new(DescribeResponse {
            service: standing.service.to_string(),
            instance_id: standing.instance_id.to_string(),
            version: VERSION.to_owned(),
            started_at: Some(SystemTime::from(standing.started_at).into()),
            ready: standing.is_ready(),
            profile: standing.profile.to_string(),
            http_address: standing.addresses.http.to_string(),
            grpc_address: standing.addresses.grpc.to_string(),
        }))
    }

    async fn probe(
        &self,
        request: Request<ProbeRequest>,
    ) -> Result<Response<ProbeResponse>, Status> {
        let part = request.into_inner().part;
        let outcomes = self.0.probe(&part).await;
        if outcomes.is_empty() && !part.is_empty() {
            let message = format!("this service has no part `{part}`");
            let error = RemoteError::new(ErrorCode::NotFound, "part_not_found", message);
            return Err(to_status(&error));
        }
        let results = outcomes.into_iter().map(result).collect();
        Ok(Response::new(ProbeResponse { results }))
    }

    async fn counters(
        &self,
        _: Request<CountersRequest>,
    ) -> Result<Response<CountersResponse>, Status> {
        let totals = sutazai_telemetry::metrics::totals();
        Ok(Response::new(CountersResponse {
            totals: totals.into_iter().collect(),
        }))
    }

    async fn breakers(
        &self,
        _: Request<BreakersRequest>,
    ) -> Result<Response<BreakersResponse>, Status> {
        let breakers = self.0.breakers.list().into_iter().map(breaker).collect();
        Ok(Response::new(BreakersResponse { breakers }))
    }
}

fn result(outcome: Outcome) -> ProbeResult {
    let mut result = ProbeResult {
        part: outcome.part.to_owned(),
        duration_ms: outcome.took.as_secs_f64() * 1000.0,
        ..ProbeResult::default()
    };
    match outcome.result {
        Ok(evidence) => {
            result.ok = true;
            result.evidence = evidence.text;
            result.counters = evidence.counters.into_iter().collect();
        }
        Err(failure) => result.cause = failure.cause,
    }
    result
}

fn breaker(snapshot: Snapshot) -> Breaker {
    let state = match snapshot.state {
        State::Closed => BreakerState::Closed,
        State::Open => BreakerState::Open,
        State::HalfOpen => BreakerState::HalfOpen,
    };
    Breaker {
        name: snapshot.name,
        state: state.into(),
        successes: snapshot.successes,
        failures: snapshot.failures,
        rejections: snapshot.rejections,
        last_error: snapshot.last_error.unwrap_or_default(),
        next_try_at: snapshot.next_try_in.map(from_now),
    }
}

fn from_now(wait: Duration) -> Timestamp {
    (SystemTime::now() + wait).into()
}
