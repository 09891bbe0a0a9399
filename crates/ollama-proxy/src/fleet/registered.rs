//! Nodes that registered: what they say about themselves, and how the fleet follows them.

use std::{sync::Arc, time::Duration};

use sutazai_mesh::registry::{Foreign, Watch};
use tokio_util::sync::CancellationToken;

use super::{Fleet, schedule::Weight};
use crate::ollama::NodeUrl;

/// Fact of a registered node: its share of the work.
const WEIGHT: &str = "weight";
/// Share of a node that names none.
pub(super) const EQUAL: Weight = 1;

impl Fleet {
    /// Follows the nodes that register, until the registry is gone.
    pub(crate) async fn follow(
        self: Arc<Self>,
        mut registered: Watch<Foreign>,
        stop: CancellationToken,
    ) {
        loop {
            self.roster.take(&registered.current());
            self.refresh(Duration::ZERO).await;
            tokio::select! {
                () = stop.cancelled() => return,
                changed = registered.changed() => if !changed {
                    return;
                },
            }
        }
    }
}

/// Returns where a registered node answers, if it says so.
pub(super) fn url(node: &Foreign) -> Option<NodeUrl> {
    let host = &node.host;
    let address = if host.contains(':') {
        format!("http://[{host}]:{}", node.port)
    } else {
        format!("http://{host}:{}", node.port)
    };
    address.parse().ok().filter(|_| node.port != 0)
}

/// Returns the share of a registered node.
pub(super) fn weight(node: &Foreign) -> Weight {
    let Some(text) = node.meta.get(WEIGHT) else {
        return EQUAL;
    };
    text.parse().unwrap_or_else(|_| {
        tracing::warn!(node = %node.id, weight = text, "the weight of a node is no number from 0 to 65535");
        EQUAL
    })
}
