//! Short calls to the task coordinator, in the name of the worker.

use std::time::Duration;

use sutazai_auth::identity::Identity;
use sutazai_mesh::{
    catalog::ServiceName,
    channel::{Edge, Mesh},
};
use sutazai_proto::tasks::v1::{
    ClaimRequest, ClaimResponse, HeartbeatRequest, HeartbeatResponse, LeaseRef, WorkerCredit,
    leases_client::LeasesClient,
};
use sutazai_resilience::Deadline;
use tonic::Request;

use crate::Failure;

const TO: ServiceName = ServiceName::TaskCoordinator;
/// Longest time of one call.
const CALL: Duration = Duration::from_secs(5);

/// Claims tasks and renews leases.
#[derive(Clone)]
pub(crate) struct Coordinator {
    mesh: Mesh,
    identity: Identity,
    worker: String,
}

impl Coordinator {
    pub(crate) fn new(mesh: Mesh, identity: Identity, worker: String) -> Self {
        Self {
            mesh,
            identity,
            worker,
        }
    }

    pub(crate) async fn claim(&self, task_ids: Vec<String>) -> Result<ClaimResponse, Failure> {
        let (mut client, request) = self.prepare(ClaimRequest {
            worker: self.worker.clone(),
            task_ids,
        })?;
        Ok(client.claim(request).await?.into_inner())
    }

    pub(crate) async fn heartbeat(
        &self,
        credits: Vec<WorkerCredit>,
        leases: Vec<LeaseRef>,
    ) -> Result<HeartbeatResponse, Failure> {
        let (mut client, request) = self.prepare(HeartbeatRequest {
            worker: self.worker.clone(),
            credits,
            leases,
        })?;
        Ok(client.heartbeat(request).await?.into_inner())
    }

    fn prepare<T>(&self, message: T) -> Result<(LeasesClient<Edge>, Request<T>), Failure> {
        let deadline = Deadline::after(CALL);
        let request = self.identity.request(TO, None, deadline, message)?;
        Ok((LeasesClient::new(self.mesh.channel(TO)), request))
    }
}
