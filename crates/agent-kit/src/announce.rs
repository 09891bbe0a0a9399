//! Tells the orchestrator what an agent can do.

use std::time::Duration;

use sutazai_auth::identity::Identity;
use sutazai_mesh::{catalog::ServiceName, channel::Mesh};
use sutazai_proto::agents::v1::{self as wire, AnnounceRequest, agents_client::AgentsClient};
use sutazai_resilience::Deadline;

use crate::{Agent, Failure};

const TO: ServiceName = ServiceName::AgentOrchestrator;
/// Longest time of one call.
const CALL: Duration = Duration::from_secs(5);

/// Returns what an agent says about itself.
pub fn announcement(agent: &dyn Agent) -> AnnounceRequest {
    let about = agent.about();
    let capabilities = agent.capabilities();
    AnnounceRequest {
        name: about.name.to_string(),
        version: about.version.to_owned(),
        description: about.description.to_owned(),
        capabilities: capabilities
            .iter()
            .map(|capability| wire::Capability {
                task_type: capability.task_type.to_owned(),
                description: capability.description.to_owned(),
            })
            .collect(),
        slots: agent.slots().into(),
    }
}

/// Announces an agent once; whoever starts the agent repeats it until it works.
///
/// # Errors
/// Fails when the orchestrator does not answer yet or refuses.
pub async fn announce(
    request: AnnounceRequest,
    mesh: Mesh,
    identity: Identity,
) -> Result<(), Failure> {
    let name = request.name.clone();
    let request = identity.request(TO, None, Deadline::after(CALL), request)?;
    AgentsClient::new(mesh.channel(TO))
        .announce(request)
        .await?;
    tracing::info!(agent = name, "announced");
    Ok(())
}
