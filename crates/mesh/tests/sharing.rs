//! Connections are shared; a test of its own process, for its counters are.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use sutazai_mesh::registry::{Registry, memory::MemoryRegistry};
use sutazai_mesh::{Mesh, ServiceName};
use sutazai_proto::agents::v1::{ListAgentsRequest, agents_client::AgentsClient};
use sutazai_resilience::Breakers;
use sutazai_telemetry::Config;

#[path = "edge/server.rs"]
#[expect(dead_code, reason = "the tests of edges use the rest")]
mod server;

use server::TestServer;

#[tokio::test]
async fn net_04_calls_share_their_connections() {
    let _telemetry = sutazai_telemetry::init(&Config::default()).unwrap();
    let registry = MemoryRegistry::new();
    let callee = ServiceName::TaskCoordinator;
    let servers = [TestServer::start(), TestServer::start()];
    let mut leases = Vec::new();
    for (server, id) in servers.iter().zip(["one", "two"]) {
        let lease = registry.register(server.instance(id, callee)).await;
        leases.push(lease.unwrap());
    }
    let mesh = Mesh::new(ServiceName::Backend, Arc::new(registry), Breakers::new());
    let mut client = AgentsClient::new(mesh.channel(callee));
    for _ in 0..200 {
        client.list_agents(ListAgentsRequest {}).await.unwrap();
    }
    let totals = sutazai_telemetry::metrics::totals();
    let (calls, opened) = (totals["mesh_calls_total"], totals["mesh_connections_total"]);
    assert_eq!((calls, opened), (200.0, 2.0));
    assert!((calls - opened) / calls >= 0.9, "NET-04 asks for 90 %");
}
