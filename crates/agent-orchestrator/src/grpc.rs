//! `agents.v1.Agents`: translate, call, translate back.

use std::{sync::Arc, time::SystemTime};

use sutazai_auth::{Permission, grpc};
use sutazai_mesh::registry::Instance;
use sutazai_proto::{
    agents::v1::{
        self as wire, AnnounceRequest, AnnounceResponse, GetAgentRequest, ListAgentsRequest,
        ListAgentsResponse, agents_server,
    },
    to_status,
};
use tonic::{Request, Response, Status, service::Routes};

use crate::{
    Error,
    agents::{Agent, Agents, Announcement},
};

/// The service over gRPC.
pub(crate) fn routes(agents: Agents) -> Routes {
    Routes::new(agents_server::AgentsServer::new(Door(agents)))
}

struct Door(Agents);

#[tonic::async_trait]
impl agents_server::Agents for Door {
    async fn announce(
        &self,
        request: Request<AnnounceRequest>,
    ) -> Result<Response<AnnounceResponse>, Status> {
        let caller = grpc::caller(&request)?.service;
        let request = request.into_inner();
        if request.name != caller.as_str() {
            return Err(to_status(&Error::NotYourself { caller }));
        }
        let announcement = Announcement::parse(request).map_err(|error| to_status(&error))?;
        self.0
            .announce(&announcement)
            .await
            .map_err(|error| to_status(&error))?;
        Ok(Response::new(AnnounceResponse {}))
    }

    async fn list_agents(
        &self,
        request: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        allowed(&request)?;
        let agents = self.0.live().await.map_err(|error| to_status(&error))?;
        let agents = agents
            .into_iter()
            .map(|(agent, instances)| translate(agent, &instances));
        Ok(Response::new(ListAgentsResponse {
            agents: agents.collect(),
        }))
    }

    async fn get_agent(
        &self,
        request: Request<GetAgentRequest>,
    ) -> Result<Response<wire::Agent>, Status> {
        allowed(&request)?;
        let found = self.0.get(&request.get_ref().name).await;
        let (agent, instances) = found.map_err(|error| to_status(&error))?;
        Ok(Response::new(translate(agent, &instances)))
    }
}

fn allowed<T>(request: &Request<T>) -> Result<(), Status> {
    let principal = grpc::principal(request)?;
    principal
        .require(Permission::AgentsRead)
        .map_err(|error| to_status(&error))
}

fn translate(agent: Agent, instances: &Arc<[Instance]>) -> wire::Agent {
    let Agent {
        announcement,
        announced_at,
    } = agent;
    let capabilities = announcement
        .capabilities
        .into_iter()
        .map(|capability| wire::Capability {
            task_type: capability.task_type,
            description: capability.description,
        });
    let instances = instances.iter().map(|instance| wire::AgentInstance {
        id: instance.id.to_string(),
        address: instance.grpc.to_string(),
    });
    wire::Agent {
        name: announcement.name,
        version: announcement.version,
        description: announcement.description,
        capabilities: capabilities.collect(),
        slots: announcement.slots.unsigned_abs(),
        instances: instances.collect(),
        announced_at: Some(SystemTime::from(announced_at).into()),
    }
}
