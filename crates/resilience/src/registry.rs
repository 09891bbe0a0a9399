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
        let mut breakers = self.0.write();
        // Before the next one of this name is made: after it, this would report for that one.
        let removed = breakers.remove(name).inspect(Breaker::retire);
        removed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit,
        with_local_recorder,
    };
    use parking_lot::Mutex;

    use super::*;
    use crate::breaker::State;

    /// What the breakers of a thread report.
    #[derive(Default)]
    struct Reports {
        /// By the name of the breaker.
        gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
        /// The changes of all of them.
        changes: Arc<AtomicU64>,
    }

    impl Reports {
        fn gauge(&self, name: &str) -> String {
            let bits = self.gauges.lock()[name].load(Ordering::Relaxed);
            f64::from_bits(bits).to_string()
        }

        fn changes(&self) -> u64 {
            self.changes.load(Ordering::Relaxed)
        }
    }

    impl Recorder for Reports {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::clone(&self.changes))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            let name = key.labels().map(Label::value).collect();
            let mut gauges = self.gauges.lock();
            Gauge::from_arc(Arc::clone(gauges.entry(name).or_default()))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

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

    #[test]
    fn what_was_removed_reports_nothing_any_more() {
        let reports = Reports::default();
        with_local_recorder(&reports, || {
            let breakers = Breakers::new();
            let old = breakers.get("a");
            let calls: Vec<_> = (0..5).map(|_| old.permit().unwrap()).collect();
            assert!(breakers.remove("a"));
            for call in calls {
                call.failure("it was killed");
            }
            assert_eq!(old.snapshot().state, State::Open);
            assert_eq!((reports.gauge("a").as_str(), reports.changes()), ("0", 0));
        });
    }

    #[test]
    fn what_was_removed_leaves_the_next_one_of_its_name_alone() {
        let reports = Reports::default();
        with_local_recorder(&reports, || {
            let breakers = Breakers::new();
            let old = breakers.get("a");
            old.force_open("alice");
            assert_eq!(reports.gauge("a"), "2");
            assert!(breakers.remove("a"));
            assert_eq!(reports.gauge("a"), "0");
            let new = breakers.get("a");
            old.reset("alice");
            old.force_open("alice");
            assert_eq!(reports.gauge("a"), "0");
            new.force_open("bob");
            old.reset("alice");
            assert_eq!((reports.gauge("a").as_str(), reports.changes()), ("2", 2));
        });
    }
}
