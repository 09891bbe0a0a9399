//! The fleet as callers see it: merged lists.

use std::{pin::pin, sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tokio::time::timeout;

use super::{FRESH, Fleet, node::Facts};
use crate::{
    error::Error,
    ollama::{Entry, Listed},
};

/// How long a list waits for news (BEH-08, TGT-05): nodes that are well answer in a few milliseconds,
/// and one that keeps silent must not hold up what is known of the others.
const NEWS_LIMIT: Duration = Duration::from_millis(200);

/// One model of the fleet.
#[derive(Clone, Debug)]
pub(crate) struct ModelView {
    /// As the first node that has it wrote it.
    pub(crate) raw: Box<RawValue>,
    pub(crate) entry: Entry,
    /// Names of the nodes that have it on disk.
    pub(crate) nodes: Vec<String>,
    /// Names of the nodes that have it in memory.
    pub(crate) loaded_on: Vec<String>,
}

/// One node with its load.
#[derive(Clone, Debug)]
pub(crate) struct NodeView {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) live: bool,
    pub(crate) version: String,
    pub(crate) in_flight: usize,
    pub(crate) slots: usize,
    pub(crate) last_error: Option<String>,
    pub(crate) demo: bool,
}

impl Fleet {
    /// Lists the models of all live nodes, merged by name, in the order of the nodes.
    pub(crate) async fn models(self: &Arc<Self>) -> Vec<ModelView> {
        self.hear().await;
        let mut models: Vec<ModelView> = Vec::new();
        for (name, facts) in self.live() {
            let loaded = facts.shelf();
            for Listed { raw, entry } in &facts.models {
                let known = models
                    .iter()
                    .position(|model| model.entry.name == entry.name);
                let at = known.unwrap_or_else(|| {
                    models.push(ModelView {
                        raw: raw.clone(),
                        entry: entry.clone(),
                        nodes: Vec::new(),
                        loaded_on: Vec::new(),
                    });
                    models.len() - 1
                });
                models[at].nodes.push(name.clone());
                if loaded.get(&*entry.name) == Some(&true) {
                    models[at].loaded_on.push(name.clone());
                }
            }
        }
        models
    }

    /// Returns the digest of a model; none when live nodes hold different ones under its name, so that
    /// nobody can say which will answer.
    pub(crate) fn digest(&self, model: &str) -> Option<String> {
        let mut digests = self.live().into_iter().filter_map(|(_, facts)| {
            let listed = facts.models.iter().find(|one| *one.entry.name == *model)?;
            Some(listed.entry.digest.clone())
        });
        let first = digests.next().filter(|digest| !digest.is_empty())?;
        digests.all(|digest| digest == first).then_some(first)
    }

    /// Lists the models in memory, merged by name, as the first node that has each wrote it.
    pub(crate) async fn running(self: &Arc<Self>) -> Vec<Box<RawValue>> {
        self.hear().await;
        let mut running: Vec<Listed> = Vec::new();
        for (_, facts) in self.live() {
            for listed in &facts.loaded {
                if running.iter().all(|known| known.name() != listed.name()) {
                    running.push(listed.clone());
                }
            }
        }
        running.into_iter().map(|listed| listed.raw).collect()
    }

    /// Returns the version of the first live node: clients choose features by it.
    ///
    /// # Errors
    ///
    /// [`Error::NoNode`] when none is live.
    pub(crate) fn version(&self) -> Result<String, Error> {
        let first = self.live().first().map(|(_, facts)| facts.version.clone());
        first.ok_or_else(|| self.no_node(""))
    }

    /// Lists all nodes.
    pub(crate) fn nodes(&self) -> Vec<NodeView> {
        let nodes = self.roster.nodes();
        nodes
            .iter()
            .map(|node| {
                let facts = node.facts();
                NodeView {
                    name: node.name.to_string(),
                    url: node.url.to_string(),
                    live: facts.live,
                    version: facts.version.clone(),
                    in_flight: self.admission.in_flight(node.id),
                    slots: self.slots,
                    last_error: node.last_error(),
                    demo: facts.demo,
                }
            })
            .collect()
    }

    /// Returns how many requests wait for a slot.
    pub(crate) fn queued(&self) -> usize {
        self.admission.queued()
    }

    /// Returns how many may wait.
    pub(crate) fn queue_limit(&self) -> usize {
        self.queue_limit
    }

    /// Waits for news of the nodes, but not for those that keep silent: the round goes on without the
    /// list, so that they are found out and the next list need not ask again.
    async fn hear(self: &Arc<Self>) {
        let mut news = pin!(async {
            if let Some(checked) = self.turn(FRESH).await {
                let fleet = Arc::clone(self);
                let round = tokio::spawn(async move { fleet.round(checked).await });
                // It fails only by a panic, and what is known is still known then.
                let _ = round.await;
            }
        });
        while timeout(NEWS_LIMIT, news.as_mut()).await.is_err() && self.knows_nothing() {}
    }

    /// Tells whether an empty list would be a guess: no node is live, and one has said nothing yet.
    fn knows_nothing(&self) -> bool {
        let nodes = self.roster.nodes();
        let mut silent = false;
        for node in nodes.iter() {
            let facts = node.facts();
            if facts.live {
                return false;
            }
            silent |= facts.is_unknown();
        }
        silent
    }

    fn live(&self) -> Vec<(String, Arc<Facts>)> {
        let nodes = self.roster.nodes();
        let all = nodes
            .iter()
            .map(|node| (node.name.to_string(), node.facts()));
        all.filter(|(_, facts)| facts.live).collect()
    }
}
