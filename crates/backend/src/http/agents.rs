//! `/api/v1/agents`: who works here and what they can do.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sutazai_auth::http::Authenticated;
use sutazai_mesh::catalog::ServiceName;
use sutazai_persistence::{Cache, cache::Namespace};
use sutazai_proto::agents::v1::{
    Agent, GetAgentRequest, ListAgentsRequest, agents_client::AgentsClient,
};
use utoipa::ToSchema;

use super::{
    input::path::{AgentName, Id},
    page::Page,
    problem::Failure,
    time::instant,
};
use crate::{error::Error, peers::Peers};

/// Lists of agents. They say who is alive, so they live for two seconds; who announces itself ends
/// them at once.
const AGENTS: Namespace = Namespace::new("agents", Duration::from_secs(2));

/// What the handlers need.
#[derive(Clone)]
pub(crate) struct Access {
    pub(super) peers: Peers,
    pub(super) cache: Cache,
}

/// An agent.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AgentItem {
    /// Bare name, for example `automation-agent`; also its id.
    id: String,
    version: String,
    description: String,
    /// Whether the registry lists an instance as alive.
    live: bool,
    /// Task types that it serves.
    capabilities: Vec<AgentCapability>,
    /// Tasks that one instance runs at once.
    slots: u32,
    /// Instances that are alive.
    instances: Vec<AgentInstanceItem>,
    /// When it last announced itself.
    announced_at: Option<DateTime<Utc>>,
}

/// A task type that an agent serves.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AgentCapability {
    task_type: String,
    description: String,
}

/// A live instance of an agent.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AgentInstanceItem {
    id: String,
    /// gRPC address, `host:port`.
    address: String,
}

/// Lists the live agents.
#[utoipa::path(
    get,
    path = "/api/v1/agents",
    operation_id = "list_agents",
    tag = "agents",
    responses((status = 200, description = "The live agents", body = Page<AgentItem>)),
)]
pub(super) async fn list(
    State(Access { peers, cache }): State<Access>,
    Authenticated(principal): Authenticated,
) -> Result<axum::Json<Page<AgentItem>>, Failure> {
    let load = || async move {
        let found = peers.call(
            ServiceName::AgentOrchestrator,
            &principal,
            ListAgentsRequest {},
            async |channel, request| AgentsClient::new(channel).list_agents(request).await,
        );
        let agents = found.await.map_err(Arc::new)?.agents;
        Ok(agents.into_iter().map(AgentItem::from).collect::<Vec<_>>())
    };
    let key = AGENTS.key("live").tag("agents");
    let found = cache.get_or_load(&key, load).await.map_err(Error::from)?;
    Ok(axum::Json(Page {
        items: found.value,
        next_cursor: None,
    }))
}

/// Returns an agent, live or not.
#[utoipa::path(
    get,
    path = "/api/v1/agents/{id}",
    operation_id = "get_agent",
    tag = "agents",
    params(("id" = String, Path, description = "Name of the agent")),
    responses(
        (status = 200, description = "The agent", body = AgentItem),
        (status = 404, description = "No agent ever announced itself by that name"),
    ),
)]
pub(super) async fn get(
    State(Access { peers, .. }): State<Access>,
    Authenticated(principal): Authenticated,
    Id(name): Id<AgentName>,
) -> Result<axum::Json<AgentItem>, Failure> {
    let request = GetAgentRequest {
        name: name.into_inner(),
    };
    let agent = peers
        .call(
            ServiceName::AgentOrchestrator,
            &principal,
            request,
            async |channel, request| AgentsClient::new(channel).get_agent(request).await,
        )
        .await?;
    Ok(axum::Json(agent.into()))
}

impl From<Agent> for AgentItem {
    fn from(agent: Agent) -> Self {
        let capabilities = agent
            .capabilities
            .into_iter()
            .map(|capability| AgentCapability {
                task_type: capability.task_type,
                description: capability.description,
            });
        let instances = agent
            .instances
            .into_iter()
            .map(|instance| AgentInstanceItem {
                id: instance.id,
                address: instance.address,
            });
        let instances: Vec<_> = instances.collect();
        Self {
            live: !instances.is_empty(),
            id: agent.name,
            version: agent.version,
            description: agent.description,
            capabilities: capabilities.collect(),
            slots: agent.slots,
            instances,
            announced_at: instant(agent.announced_at),
        }
    }
}
