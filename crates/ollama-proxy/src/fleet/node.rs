//! One node and what is known about it.

use std::{sync::Arc, time::Duration};

use parking_lot::RwLock;
use sutazai_resilience::{Breaker, Breakers, breaker::State};

use super::{
    instruments::Instruments,
    schedule::{NodeId, Shelf},
};
use crate::{
    models,
    ollama::{CheckError, Health, Listed, NodeUrl},
};

/// Health checks in a row that a slow node may miss; one that fails them is gone at once.
const MISSES_ALLOWED: u32 = 1;

/// One node of the fleet.
pub(super) struct Node {
    pub(super) id: NodeId,
    /// `host:port`.
    pub(super) name: Arc<str>,
    pub(super) url: NodeUrl,
    pub(super) breaker: Breaker,
    pub(super) instruments: Instruments,
    facts: RwLock<Arc<Facts>>,
    last_error: RwLock<Option<String>>,
}

/// What the newest health check left.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Whether it answers.
    pub(super) live: bool,
    misses: u32,
    pub(super) version: String,
    pub(super) demo: bool,
    pub(super) models: Vec<Listed>,
    pub(super) loaded: Vec<Listed>,
}

impl Node {
    pub(super) fn new(id: NodeId, url: NodeUrl, breakers: &Breakers) -> Self {
        let name: Arc<str> = url.name().into();
        Self {
            id,
            breaker: breakers.get(&format!("ollama:{name}")),
            instruments: Instruments::new(name.clone()),
            name,
            url,
            facts: RwLock::default(),
            last_error: RwLock::default(),
        }
    }

    pub(super) fn facts(&self) -> Arc<Facts> {
        self.facts.read().clone()
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.read().clone()
    }

    pub(super) fn failed(&self, error: String) {
        *self.last_error.write() = Some(error);
    }

    /// Returns when the breaker lets a request through again; nothing when it does so now.
    pub(super) fn back_in(&self) -> Option<Duration> {
        let now = self.breaker.snapshot();
        now.next_try_in.filter(|_| now.state == State::Open)
    }

    /// Takes in what a health check found, and logs when the node came or went.
    pub(super) fn learn(&self, found: Result<Health, CheckError>) -> Arc<Facts> {
        let before = self.facts();
        let after = match found {
            Ok(health) => Facts::of(health),
            Err(error) => {
                let after = before.missed(&error);
                if before.live && !after.live {
                    tracing::warn!(node = %self.name, error = %error, "node is gone");
                }
                self.failed(error.to_string());
                after
            }
        };
        if after.live && !before.live {
            tracing::info!(
                node = %self.name,
                version = after.version,
                models = after.models.len(),
                demo = after.demo,
                "node is there"
            );
        }
        let after = Arc::new(after);
        *self.facts.write() = after.clone();
        after
    }
}

impl Facts {
    fn of(health: Health) -> Self {
        let Health {
            version,
            demo,
            models,
            loaded,
        } = health;
        Self {
            live: true,
            misses: 0,
            version,
            demo,
            models,
            loaded,
        }
    }

    /// What is known after a health check failed: the lists stay, to tell a lost model from an
    /// unknown one.
    fn missed(&self, error: &CheckError) -> Self {
        let misses = self.misses.saturating_add(1);
        let live = self.live && misses <= MISSES_ALLOWED && error.is_slowness();
        Self {
            live,
            misses,
            ..self.clone()
        }
    }

    /// Tells whether no health check has ended yet.
    pub(super) fn is_unknown(&self) -> bool {
        !self.live && self.misses == 0
    }

    pub(super) fn has(&self, model: &str) -> bool {
        models::resolve(model, self.models.iter().map(Listed::name)).is_some()
    }

    /// Returns the full name of the model that is meant in one way.
    pub(super) fn named(&self, asked: &str, way: models::Way) -> Option<&Arc<str>> {
        let listed = self.models.iter();
        listed
            .map(|listed| &listed.entry.name)
            .find(|name| way(asked, name))
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.models
            .iter()
            .map(|listed| listed.entry.name.clone())
            .collect()
    }

    pub(super) fn loaded_names(&self) -> Vec<Arc<str>> {
        let on_disk = |listed: &&Listed| {
            self.models
                .iter()
                .any(|model| model.name() == listed.name())
        };
        self.loaded
            .iter()
            .filter(on_disk)
            .map(|listed| listed.entry.name.clone())
            .collect()
    }

    /// Returns which models there are, and which of them are in memory.
    pub(super) fn shelf(&self) -> Shelf {
        let loaded = |name: &str| self.loaded.iter().any(|listed| listed.name() == name);
        self.models
            .iter()
            .map(|listed| (listed.name().to_owned(), loaded(listed.name())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Facts {
        Facts {
            live: true,
            version: "0.14.2".into(),
            ..Facts::default()
        }
    }

    #[test]
    fn olp_04_one_slow_health_check_does_not_eject_a_busy_node() {
        let late = CheckError::Late(Duration::from_secs(2));
        let once = live().missed(&late);
        assert!(once.live);
        assert!(!once.missed(&late).live);
        assert_eq!(once.missed(&late).version, "0.14.2");
    }

    #[test]
    fn a_node_that_never_answered_does_not_become_live_by_missing() {
        let late = CheckError::Late(Duration::from_secs(2));
        assert!(!Facts::default().missed(&late).live);
    }
}
