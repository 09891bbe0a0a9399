//! All breakers of a process by name.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

use crate::breaker::{Breaker, Settings, Snapshot};

/// All breakers of a process by name; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Breakers(Arc<RwLock<BTreeMap<String, Breaker>>>);

impl Breakers {
    /// Makes an empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the breaker of that name, made with default settings at first use.
    pub fn get(&self, name: &str) -> Breaker {
        self.get_with(name, Settings::default())
    }

    /// Returns the breaker of that name, made with these settings at first use.
    pub fn get_with(&self, name: &str, settings: Settings) -> Breaker {
        if let Some(breaker) = self.find(name) {
            return breaker;
        }
        let mut breakers = self.0.write();
        let make = || Breaker::new(name, settings);
        breakers.entry(name.to_owned()).or_insert_with(make).clone()
    }

    /// Returns all breakers as they are now, in the order of their names.
    pub fn list(&self) -> Vec<Snapshot> {
        self.0.read().values().map(Breaker::snapshot).collect()
    }

    /// Returns the breaker of that name, if there is one.
    pub fn find(&self, name: &str) -> Option<Breaker> {
        self.0.read().get(name).cloned()
    }

    /// Forgets one whose target is gone for good; calls that hold it go on.
    pub fn remove(&self, name: &str) -> bool {
        let removed = self.0.write().remove(name);
        removed.inspect(Breaker::retire).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_one_breaker() {
        let breakers = Breakers::new();
        breakers.get("a").force_open("alice");
        assert!(breakers.get("a").permit().is_err());
        assert!(breakers.get("b").permit().is_ok());
        let names: Vec<_> = breakers.list().into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn cb_05_a_breaker_is_found_by_name_and_made_only_by_its_user() {
        let breakers = Breakers::new();
        assert!(breakers.find("a").is_none());
        breakers.get("a");
        assert!(breakers.find("a").is_some());
        assert!(breakers.remove("a"));
        assert!(breakers.list().is_empty() && !breakers.remove("a"));
    }
}
