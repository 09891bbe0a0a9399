//! The nodes, what they have, and the one way in which a request reaches one of them.

mod admission;
mod instruments;
mod listing;
mod node;
mod open;
mod registered;
mod reply;
mod roster;
mod schedule;
#[cfg(test)]
pub(crate) mod tests;

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use sutazai_resilience::Breakers;
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{FleetConfig, Limits},
    error::Error,
    models,
    ollama::Client,
};

pub(crate) use listing::{ModelView, NodeView};
pub(crate) use open::{Call, Opens};
pub(crate) use reply::Reply;

use admission::Admission;
use node::Node;
use roster::Roster;

/// How old the lists may be when a caller asks for a model that is not on them.
const FRESH: Duration = Duration::from_secs(1);

/// Model of the pull command when nothing else names one.
const SUGGESTED_MODEL: &str = "tinyllama";

/// All nodes and the queue in front of them.
pub(crate) struct Fleet {
    roster: Roster,
    admission: Admission,
    client: Client,
    limits: Limits,
    check_every: Duration,
    check_limit: Duration,
    slots: usize,
    queue_limit: usize,
    default_model: Option<String>,
    /// End of the newest round of health checks; held during one, so that there is one at a time.
    checked: Arc<Mutex<Option<Instant>>>,
}

impl Fleet {
    /// Makes the fleet of the configured nodes; they are unknown until the first
    /// [`Fleet::refresh`].
    pub(crate) fn new(config: FleetConfig, client: Client, breakers: &Breakers) -> Self {
        let admission = Admission::new(config.slots, config.queue_limit, config.queue_wait);
        Self {
            roster: Roster::new(config.nodes, admission.clone(), breakers.clone()),
            admission,
            client,
            limits: config.limits,
            check_every: config.check_every,
            check_limit: config.check_limit,
            slots: config.slots,
            queue_limit: config.queue_limit,
            default_model: config.default_model,
            checked: Arc::default(),
        }
    }

    /// Checks the health of the nodes again and again.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut rounds = tokio::time::interval(self.check_every);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = rounds.tick() => self.refresh(Duration::ZERO).await,
            }
        }
    }

    /// Checks every node, unless that was done within `age`. Loads no model.
    pub(crate) async fn refresh(&self, age: Duration) {
        if let Some(checked) = self.turn(age).await {
            self.round(checked).await;
        }
    }

    /// Waits for the end of a round that runs; nothing when the newest one is younger than `age`.
    async fn turn(&self, age: Duration) -> Option<OwnedMutexGuard<Option<Instant>>> {
        let checked = self.checked.clone().lock_owned().await;
        let is_young = checked.is_some_and(|at| at.elapsed() < age);
        (!is_young).then_some(checked)
    }

    /// Checks every node. What one of them says is known as soon as it says it.
    async fn round(&self, mut checked: OwnedMutexGuard<Option<Instant>>) {
        let nodes = self.roster.nodes();
        join_all(nodes.iter().map(|node| self.check(node))).await;
        *checked = Some(Instant::now());
    }

    async fn check(&self, node: &Node) {
        let facts = node.learn(self.client.check(&node.url, self.check_limit).await);
        self.admission.observe(node.id, facts.live, facts.shelf());
    }

    /// Returns the full name of the model that is meant; an empty name means the default one.
    ///
    /// # Errors
    ///
    /// [`Error::ModelNotFound`], [`Error::NoModel`], or [`Error::NoNode`] when the nodes that may
    /// have it do not answer.
    pub(crate) async fn resolve(&self, asked: &str) -> Result<Arc<str>, Error> {
        if let Some(name) = self.find(asked) {
            return Ok(name);
        }
        // It may have been pulled a moment ago.
        self.refresh(FRESH).await;
        if let Some(name) = self.find(asked) {
            return Ok(name);
        }
        let on_lost_nodes =
            || models::resolve(asked, self.names(false).iter().map(AsRef::as_ref)).is_some();
        let nodes = self.roster.nodes();
        if !nodes.iter().any(|node| node.facts().live) || on_lost_nodes() {
            return Err(self.no_node(asked));
        }
        if asked.is_empty() {
            let suggestion = self
                .default_model
                .clone()
                .unwrap_or_else(|| SUGGESTED_MODEL.to_owned());
            return Err(Error::NoModel { suggestion });
        }
        let near = models::near(asked, self.names(true).iter().map(AsRef::as_ref));
        Err(Error::ModelNotFound {
            model: asked.to_owned(),
            near,
        })
    }

    /// Returns the model that answers requests that name none: the configured one, else one that
    /// is in memory, else the first listed.
    pub(crate) fn default_model(&self) -> Option<Arc<str>> {
        let configured = self
            .default_model
            .as_deref()
            .and_then(|name| self.named(name));
        configured
            .or_else(|| self.loaded().into_iter().next())
            .or_else(|| self.names(true).into_iter().next())
    }

    fn find(&self, asked: &str) -> Option<Arc<str>> {
        if asked.is_empty() {
            self.default_model()
        } else {
            self.named(asked)
        }
    }

    fn named(&self, asked: &str) -> Option<Arc<str>> {
        let nodes = self.roster.nodes();
        let find = |way| {
            nodes.iter().find_map(|node| {
                let facts = node.facts();
                facts.named(asked, way).filter(|_| facts.live).cloned()
            })
        };
        models::WAYS.into_iter().find_map(find)
    }

    /// Names of all models, of live nodes or of the others.
    fn names(&self, live: bool) -> Vec<Arc<str>> {
        let nodes = self.roster.nodes();
        let facts = nodes.iter().map(|node| node.facts());
        facts
            .filter(|facts| facts.live == live)
            .flat_map(|facts| facts.names())
            .collect()
    }

    /// Names of all models in the memory of live nodes that are on disk too.
    fn loaded(&self) -> Vec<Arc<str>> {
        let nodes = self.roster.nodes();
        let facts = nodes.iter().map(|node| node.facts());
        facts
            .filter(|facts| facts.live)
            .flat_map(|facts| facts.loaded_names())
            .collect()
    }

    /// Explains that nobody can serve this model now.
    fn no_node(&self, model: &str) -> Error {
        let nodes = self.roster.nodes();
        let could = |node: &&Arc<Node>| {
            let facts = node.facts();
            model.is_empty() || !facts.live || facts.has(model)
        };
        let waits = nodes
            .iter()
            .filter(could)
            .map(|node| node.back_in().unwrap_or(self.check_every));
        Error::NoNode {
            retry_after: waits.min().unwrap_or(self.check_every),
            last: nodes
                .iter()
                .filter(could)
                .find_map(|node| node.last_error()),
        }
    }
}
