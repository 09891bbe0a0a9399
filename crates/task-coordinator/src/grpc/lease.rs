//! `tasks.v1.Leases`.

use std::{collections::HashSet, time::Duration};

use sutazai_auth::grpc::caller;
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::Violation;
use sutazai_proto::tasks::v1::{
    self, ClaimRequest, ClaimResponse, ClaimResult, Grant, HeartbeatRequest, HeartbeatResponse,
    LeaseRef, LeaseStatus, LeaseVerdict, claim_result::Outcome, leases_server,
};
use tonic::{Request, Response, Status};

use super::{convert, refuse};
use crate::credit::{AttemptRef, Credit, LONGEST_ATTEMPT, MOST_ATTEMPTS, TaskType, Worker};
use crate::error::Error;
use crate::lease::{Claimed, Leases, Verdict};
use crate::task::{EffectMode, Refusal};

/// Most items of one call.
const MOST_ITEMS: usize = 1000;

pub(super) struct LeasesApi(pub(super) Leases);

#[tonic::async_trait]
impl leases_server::Leases for LeasesApi {
    async fn claim(
        &self,
        request: Request<ClaimRequest>,
    ) -> Result<Response<ClaimResponse>, Status> {
        is_worker(&request)?;
        let ClaimRequest { worker, task_ids } = request.into_inner();
        let worker = read_worker(&worker).map_err(refuse)?;
        few("/task_ids", task_ids.len()).map_err(refuse)?;
        let ids = task_ids
            .iter()
            .map(|id| id.parse().map_err(|_| Error::InvalidId))
            .collect::<Result<Vec<_>, _>>()
            .map_err(refuse)?;
        let claimed = self.0.claim(&worker, &ids).await.map_err(refuse)?;
        let results = task_ids
            .into_iter()
            .zip(claimed)
            .map(|(task_id, claimed)| ClaimResult {
                task_id,
                outcome: Some(outcome(claimed)),
            })
            .collect();
        Ok(Response::new(ClaimResponse { results }))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        is_worker(&request)?;
        let HeartbeatRequest {
            worker,
            credits,
            leases,
        } = request.into_inner();
        let worker = read_worker(&worker).map_err(refuse)?;
        let credits = read_credits(credits).map_err(refuse)?;
        let (leases, stopped) = read_leases(&leases).map_err(refuse)?;
        let verdicts = self
            .0
            .heartbeat(&worker, &credits, &leases, &stopped)
            .await
            .map_err(refuse)?;
        let leases = verdicts
            .into_iter()
            .map(|(lease, verdict)| status(lease, verdict))
            .collect();
        Ok(Response::new(HeartbeatResponse { leases }))
    }
}

/// Leases are for those that run tasks.
fn is_worker<T>(request: &Request<T>) -> Result<(), Status> {
    let service = caller(request)?.service;
    if service.is_agent() || service == ServiceName::AgentOrchestrator {
        return Ok(());
    }
    Err(refuse(Error::NotAWorker(service)))
}

fn read_worker(text: &str) -> Result<Worker, Error> {
    Worker::parse(text).ok_or_else(|| invalid("/worker", "is not an instance id"))
}

/// Reads leases: all of them, and those whose attempt was cancelled.
fn read_leases(leases: &[LeaseRef]) -> Result<(Vec<AttemptRef>, Vec<AttemptRef>), Error> {
    few("/leases", leases.len())?;
    let (mut all, mut cancelled) = (Vec::with_capacity(leases.len()), Vec::new());
    for lease in leases {
        let attempt = AttemptRef {
            task: lease.task_id.parse().map_err(|_| Error::InvalidId)?,
            attempt: lease.attempt,
        };
        all.push(attempt);
        if lease.cancelled {
            cancelled.push(attempt);
        }
    }
    Ok((all, cancelled))
}

fn read_credits(credits: Vec<v1::WorkerCredit>) -> Result<Vec<Credit>, Error> {
    few("/credits", credits.len())?;
    let mut names = HashSet::new();
    let mut violations = Vec::new();
    let mut read = Vec::with_capacity(credits.len());
    for (place, credit) in credits.into_iter().enumerate() {
        match task_type(&credit.task_type.unwrap_or_default()) {
            Ok(task_type) if names.insert(task_type.name.clone()) => {
                read.push(Credit {
                    task_type,
                    free_slots: credit.free_slots,
                });
            }
            Ok(_) => violations.push((place, "name", "is there twice")),
            Err((field, rule)) => violations.push((place, field, rule)),
        }
    }
    if violations.is_empty() {
        return Ok(read);
    }
    let violation = |(place, field, rule): (usize, &str, &str)| Violation {
        field: format!("/credits/{place}/task_type/{field}"),
        description: rule.to_owned(),
    };
    Err(Error::Invalid(
        violations.into_iter().map(violation).collect(),
    ))
}

fn task_type(wire: &v1::TaskType) -> Result<TaskType, (&'static str, &'static str)> {
    let effect_mode = match wire.effect_mode() {
        v1::EffectMode::Idempotent => EffectMode::Idempotent,
        v1::EffectMode::AtMostOnce => EffectMode::AtMostOnce,
        v1::EffectMode::Unspecified => return Err(("effect_mode", "is required")),
    };
    let name = wire
        .name
        .parse()
        .map_err(|_| ("name", "is not a dotted lower-case name"))?;
    let max_attempts = Some(wire.max_attempts)
        .filter(|most| (1..=MOST_ATTEMPTS).contains(most))
        .ok_or(("max_attempts", "must be from 1 to 20"))?;
    let attempt_timeout = wire
        .attempt_timeout
        .and_then(|length| Duration::try_from(length).ok())
        .filter(|length| *length >= Duration::from_millis(1) && *length <= LONGEST_ATTEMPT)
        .ok_or(("attempt_timeout", "must be from 1 ms to 7 days"))?;
    Ok(TaskType {
        name,
        effect_mode,
        max_attempts,
        attempt_timeout,
    })
}

fn few(field: &str, items: usize) -> Result<(), Error> {
    if items <= MOST_ITEMS {
        return Ok(());
    }
    Err(invalid(field, "has at most 1000 items"))
}

fn invalid(field: &str, rule: &str) -> Error {
    Error::Invalid(vec![Violation {
        field: field.to_owned(),
        description: rule.to_owned(),
    }])
}

fn outcome(claimed: Claimed) -> Outcome {
    let refused = |refusal: v1::Refusal| Outcome::Refused(refusal.into());
    match claimed {
        Claimed::Granted { attempt, lease } => Outcome::Granted(Grant {
            attempt,
            lease: Some(convert::duration(lease)),
        }),
        Claimed::Refused(Refusal::Held) => refused(v1::Refusal::Held),
        Claimed::Refused(Refusal::Ended) => refused(v1::Refusal::Ended),
        Claimed::Refused(Refusal::Early) => refused(v1::Refusal::Early),
        Claimed::Unknown => refused(v1::Refusal::Unknown),
    }
}

fn status(lease: AttemptRef, verdict: Verdict) -> LeaseStatus {
    let verdict = match verdict {
        Verdict::Renewed => LeaseVerdict::Renewed,
        Verdict::Cancel => LeaseVerdict::Cancel,
        Verdict::Lost => LeaseVerdict::Lost,
        Verdict::Terminal => LeaseVerdict::Terminal,
    };
    LeaseStatus {
        task_id: lease.task.to_string(),
        attempt: lease.attempt,
        verdict: verdict.into(),
    }
}
