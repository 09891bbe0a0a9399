//! Which nodes the fleet has: the configured ones, and those that registered.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use sutazai_mesh::registry::Foreign;
use sutazai_resilience::Breakers;

use super::{
    admission::Admission,
    node::Node,
    registered::{EQUAL, url, weight},
    schedule::{NodeId, Weight},
};
use crate::ollama::NodeUrl;

/// The nodes of now, in the order in which they came.
pub(super) struct Roster {
    configured: Vec<NodeUrl>,
    admission: Admission,
    breakers: Breakers,
    inner: Mutex<Inner>,
}

struct Inner {
    nodes: Arc<[Arc<Node>]>,
    weights: BTreeMap<NodeId, Weight>,
    next_id: NodeId,
}

impl Roster {
    /// Makes the roster of the configured nodes.
    pub(super) fn new(configured: Vec<NodeUrl>, admission: Admission, breakers: Breakers) -> Self {
        let roster = Self {
            configured,
            admission,
            breakers,
            inner: Mutex::new(Inner {
                nodes: Arc::default(),
                weights: BTreeMap::new(),
                next_id: 0,
            }),
        };
        roster.take(&[]);
        roster
    }

    pub(super) fn nodes(&self) -> Arc<[Arc<Node>]> {
        Arc::clone(&self.inner.lock().nodes)
    }

    pub(super) fn node(&self, id: NodeId) -> Option<Arc<Node>> {
        self.nodes().iter().find(|node| node.id == id).cloned()
    }

    /// Takes in what is registered now: who is new gets in, who is gone finishes what it has, and
    /// who stays gets its weight.
    pub(super) fn take(&self, registered: &[Foreign]) {
        let mut wanted = self.wanted(registered);
        let mut inner = self.inner.lock();
        let mut nodes = Vec::new();
        for node in inner.nodes.clone().iter() {
            let kept = wanted.iter().position(|(url, _)| *url == node.url);
            match kept.map(|at| wanted.remove(at)) {
                Some((_, weight)) => {
                    self.weigh(&mut inner, node, weight);
                    nodes.push(Arc::clone(node));
                }
                None => self.dismiss(&mut inner, node),
            }
        }
        for (url, weight) in wanted {
            nodes.push(self.welcome(&mut inner, url, weight));
        }
        inner.nodes = nodes.into();
    }

    /// The configured nodes first; one that registered too has the weight that it says there.
    fn wanted(&self, registered: &[Foreign]) -> Vec<(NodeUrl, Weight)> {
        let configured = self.configured.iter();
        let mut wanted: Vec<_> = configured.map(|url| (url.clone(), EQUAL)).collect();
        for node in registered {
            let Some(url) = url(node) else {
                tracing::warn!(node = %node.id, host = node.host, port = node.port, "a registered node has no usable address");
                continue;
            };
            let weight = weight(node);
            match wanted.iter_mut().find(|(known, _)| *known == url) {
                Some(known) => known.1 = weight,
                None => wanted.push((url, weight)),
            }
        }
        wanted
    }

    fn welcome(&self, inner: &mut Inner, url: NodeUrl, weight: Weight) -> Arc<Node> {
        let id = inner.next_id;
        inner.next_id += 1;
        let node = Node::new(id, url, &self.breakers);
        tracing::info!(node = %node.name, weight, "node joins the fleet");
        self.admission.enter(id, weight, node.breaker.clone());
        inner.weights.insert(id, weight);
        Arc::new(node)
    }

    fn weigh(&self, inner: &mut Inner, node: &Node, weight: Weight) {
        if inner.weights.insert(node.id, weight) != Some(weight) {
            tracing::info!(node = %node.name, weight, "node has another weight");
            self.admission.weigh(node.id, weight);
        }
    }

    fn dismiss(&self, inner: &mut Inner, node: &Node) {
        tracing::info!(node = %node.name, "node leaves the fleet; it finishes what it has");
        inner.weights.remove(&node.id);
        self.admission.leave(node.id);
        self.breakers.remove(node.breaker.name());
    }
}
