//! The operator's way to the processes: the platform's own mesh, with an identity of its own.

use std::{sync::Arc, time::Duration};

use sutazai_auth::identity::Identity;
use sutazai_mesh::{
    catalog::ServiceName,
    channel::{Edge, Mesh},
    registry::{Instance, memory::MemoryRegistry},
};
use sutazai_proto::platform::v1::{
    Breaker, BreakerHistoryRequest, BreakerTransition, BreakersRequest, Counter, CountersRequest,
    DescribeRequest, DescribeResponse, ProbeRequest, ProbeResult, TraceRequest, TraceStep,
    diagnostics_client::DiagnosticsClient,
};
use sutazai_resilience::{Breakers, Deadline};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::Error;
use crate::site::Description;

/// Longest time for what a process says about itself; its probes take 4 s at most.
const PATIENCE: Duration = Duration::from_secs(6);

/// Asks single instances.
pub(super) struct Operator {
    mesh: Mesh,
    identity: Identity,
}

impl Operator {
    pub(super) fn new(description: &Description) -> Result<Self, Error> {
        let service = ServiceName::Cli;
        let key = description.keys.join(format!("{service}.pem"));
        let identity = Identity::from_files(service, &key, &description.jwks_file)?;
        // Nothing is looked up: every call names its instance.
        let registry = Arc::new(MemoryRegistry::new());
        Ok(Self {
            mesh: Mesh::new(service, registry, Breakers::new()),
            identity,
        })
    }

    /// Asks for the health that the registry's checks see.
    pub(super) async fn serves(&self, to: &Instance) -> Result<bool, String> {
        let question = HealthCheckRequest {
            service: to.service.as_str().to_owned(),
        };
        let request = self.request(to, PATIENCE, question)?;
        let mut client = HealthClient::new(self.mesh.instance(to));
        let answer = client.check(request).await.map_err(status_text)?;
        Ok(answer.into_inner().status() == ServingStatus::Serving)
    }

    pub(super) async fn describe(&self, to: &Instance) -> Result<DescribeResponse, String> {
        self.ask(to, PATIENCE, DescribeRequest {}, async |mut to, request| {
            to.describe(request).await
        })
        .await
    }

    pub(super) async fn counters(&self, to: &Instance) -> Result<Vec<Counter>, String> {
        let answer = self.ask(to, PATIENCE, CountersRequest {}, async |mut to, request| {
            to.counters(request).await
        });
        Ok(answer.await?.counters)
    }

    pub(super) async fn breakers(&self, to: &Instance) -> Result<Vec<Breaker>, String> {
        let answer = self.ask(to, PATIENCE, BreakersRequest {}, async |mut to, request| {
            to.breakers(request).await
        });
        Ok(answer.await?.breakers)
    }

    /// Asks what happened to a breaker, oldest first.
    pub(super) async fn history(
        &self,
        to: &Instance,
        breaker: &str,
    ) -> Result<Vec<BreakerTransition>, String> {
        let question = BreakerHistoryRequest {
            name: breaker.to_owned(),
        };
        let answer = self.ask(to, PATIENCE, question, async |mut to, request| {
            to.breaker_history(request).await
        });
        Ok(answer.await?.transitions)
    }

    /// Asks which borders of the process a followed trace came by.
    pub(super) async fn trace(
        &self,
        to: &Instance,
        trace_id: &str,
    ) -> Result<Vec<TraceStep>, String> {
        let question = TraceRequest {
            trace_id: trace_id.to_owned(),
        };
        let answer = self.ask(to, PATIENCE, question, async |mut to, request| {
            to.trace(request).await
        });
        Ok(answer.await?.steps)
    }

    /// Has an instance use all its parts.
    pub(super) async fn probe_all(&self, to: &Instance) -> Result<Vec<ProbeResult>, String> {
        self.probe(to, "", PATIENCE).await
    }

    /// Has an instance use one part.
    pub(super) async fn probe(
        &self,
        to: &Instance,
        part: &str,
        limit: Duration,
    ) -> Result<Vec<ProbeResult>, String> {
        let question = ProbeRequest {
            part: part.to_owned(),
        };
        let answer = self.ask(to, limit, question, async |mut to, request| {
            to.probe(request).await
        });
        Ok(answer.await?.results)
    }

    async fn ask<T, R>(
        &self,
        to: &Instance,
        limit: Duration,
        question: T,
        send: impl AsyncFnOnce(DiagnosticsClient<Edge>, Request<T>) -> Result<Response<R>, Status>,
    ) -> Result<R, String> {
        let request = self.request(to, limit, question)?;
        let client = DiagnosticsClient::new(self.mesh.instance(to));
        let answer = send(client, request).await.map_err(status_text)?;
        Ok(answer.into_inner())
    }

    fn request<T>(
        &self,
        to: &Instance,
        limit: Duration,
        question: T,
    ) -> Result<Request<T>, String> {
        let deadline = Deadline::after(limit);
        let request = self.identity.request(to.service, None, deadline, question);
        request.map_err(|error| sutazai_proto::status::chain(&error))
    }
}

fn status_text(status: Status) -> String {
    let error = sutazai_proto::RemoteError::from(status);
    format!("{} ({})", error, sutazai_proto::Coded::reason(&error))
}
