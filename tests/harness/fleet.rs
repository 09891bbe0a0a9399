//! The model fleet of a stage, as the proxy sees it.

use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::inference::v1::{
    ListNodesRequest, ListNodesResponse, inference_client::InferenceClient,
};
use sutazai_testkit::ollama::FakeNode;

use crate::{Stage, eventually};

impl Stage {
    /// Returns what the proxy says about its nodes.
    pub async fn fleet(&self) -> ListNodesResponse {
        let proxy = ServiceName::OllamaProxy;
        let mut client = InferenceClient::new(self.channel(proxy));
        client
            .list_nodes(self.signed(proxy, ListNodesRequest {}))
            .await
            .expect("a list")
            .into_inner()
    }

    /// Waits until nothing is under way, neither for the proxy nor for its nodes.
    pub async fn idle(&self) {
        eventually("an idle fleet", async || {
            let found = self.fleet().await;
            let busy = found.queued + found.nodes.iter().map(|node| node.in_flight).sum::<u32>();
            let running: usize = self.nodes.iter().map(FakeNode::in_flight).sum();
            (busy == 0 && running == 0).then_some(())
        })
        .await;
    }
}
