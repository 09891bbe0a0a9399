//! Live facts about this process over gRPC (`platform.v1.Diagnostics`).

mod breakers;

use std::{sync::Arc, time::SystemTime};

use http::Extensions;
use sutazai_proto::{
    ErrorCode, RemoteError,
    platform::v1::{
        Breaker, BreakerHistoryRequest, BreakerHistoryResponse, BreakersRequest, BreakersResponse,
        Counter, CountersRequest, CountersResponse, DescribeRequest, DescribeResponse,
        ProbeRequest, ProbeResponse, ProbeResult, SetBreakerRequest, TraceRequest, TraceResponse,
        TraceStep, diagnostics_server,
    },
    to_status,
};
use sutazai_telemetry::{follow, metrics};
use tonic::{Request, Response, Status};

use super::Standing;
use crate::{probe::Outcome, service::VERSION};

/// Tells from what the guard left in a call who may change the process, or refuses.
pub(crate) type Operator = Arc<dyn Fn(&Extensions) -> Result<String, Status> + Send + Sync>;

/// Answers from the standing of the process.
pub(crate) struct Diagnostics {
    standing: Arc<Standing>,
    operator: Operator,
}

impl Diagnostics {
    pub(crate) fn new(standing: Arc<Standing>, operator: Operator) -> Self {
        Self { standing, operator }
    }
}

/// Nobody may change a process whose service does not say who may.
pub(crate) fn nobody(_: &Extensions) -> Result<String, Status> {
    let message = "this process takes no changes";
    let error = RemoteError::new(ErrorCode::PermissionDenied, "missing_permission", message);
    Err(to_status(&error))
}

#[tonic::async_trait]
impl diagnostics_server::Diagnostics for Diagnostics {
    async fn describe(
        &self,
        _: Request<DescribeRequest>,
    ) -> Result<Response<DescribeResponse>, Status> {
        let standing = &self.standing;
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
        let outcomes = self.standing.probe(&part).await;
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
        let counters = metrics::counters().into_iter().map(|counter| Counter {
            name: counter.name,
            labels: counter.labels.into_iter().collect(),
            value: counter.value,
        });
        Ok(Response::new(CountersResponse {
            totals: metrics::totals().into_iter().collect(),
            counters: counters.collect(),
        }))
    }

    async fn trace(
        &self,
        request: Request<TraceRequest>,
    ) -> Result<Response<TraceResponse>, Status> {
        let steps = follow::steps(&request.into_inner().trace_id);
        let steps = steps.into_iter().map(|step| TraceStep {
            service: step.service,
            span: step.span.to_owned(),
            parent_span_id: step.parent,
        });
        Ok(Response::new(TraceResponse {
            steps: steps.collect(),
        }))
    }

    async fn breakers(
        &self,
        _: Request<BreakersRequest>,
    ) -> Result<Response<BreakersResponse>, Status> {
        Ok(Response::new(BreakersResponse {
            breakers: breakers::list(&self.standing.breakers),
        }))
    }

    async fn breaker_history(
        &self,
        request: Request<BreakerHistoryRequest>,
    ) -> Result<Response<BreakerHistoryResponse>, Status> {
        let name = request.into_inner().name;
        let transitions =
            breakers::history(&self.standing.breakers, &name).map_err(|error| to_status(&error))?;
        Ok(Response::new(BreakerHistoryResponse { transitions }))
    }

    async fn set_breaker(
        &self,
        request: Request<SetBreakerRequest>,
    ) -> Result<Response<Breaker>, Status> {
        let by = (self.operator)(request.extensions())?;
        let request = request.into_inner();
        let breakers = &self.standing.breakers;
        let breaker = breakers::set(breakers, &request.name, request.action(), &by)
            .map_err(|error| to_status(&error))?;
        Ok(Response::new(breaker))
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
