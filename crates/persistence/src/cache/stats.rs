//! What the cache did.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{Counter, Gauge};
use parking_lot::RwLock;
use sutazai_telemetry::names;

use crate::redis::Memory;

/// How a look-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Local,
    Shared,
    Joined,
    Missed,
}

/// What the cache did since the start, and holds now.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// Of each namespace that was used.
    pub namespaces: Vec<NamespaceStats>,
    /// The level within this process.
    pub local: LocalStats,
    /// The level in Redis; none where no Redis is configured.
    pub shared: Option<SharedStats>,
}

/// What the cache did for one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceStats {
    /// Name of the namespace.
    pub name: String,
    /// Look-ups that the local level answered.
    pub local_hits: u64,
    /// Look-ups that Redis answered.
    pub shared_hits: u64,
    /// Look-ups that waited for another one's answer.
    pub joined: u64,
    /// Look-ups that no level answered.
    pub misses: u64,
    /// Values made.
    pub loads: u64,
    /// Loads that failed.
    pub failed_loads: u64,
    /// Bytes of its values in the local level.
    pub local_bytes: u64,
    /// Its entries in the local level.
    pub local_entries: u64,
}

/// The level within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalStats {
    /// Its weight in bytes, keys included.
    pub bytes: u64,
    /// Most bytes that it holds.
    pub limit: u64,
}

/// The level in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedStats {
    /// Host and port.
    pub address: String,
    /// Whether invalidations of other replicas are heard.
    pub hears: bool,
    /// How much Redis holds; none when it does not answer.
    pub memory: Option<Memory>,
    /// Invalidations that Redis has not seen yet.
    pub owed: usize,
}

impl Stats {
    /// Says whether a configured Redis does not work.
    pub fn is_degraded(&self) -> bool {
        let broken = |shared: &SharedStats| !shared.hears || shared.memory.is_none();
        self.shared.as_ref().is_some_and(broken)
    }

    /// Returns the sum over all namespaces.
    pub fn total(&self) -> NamespaceStats {
        let mut total = NamespaceStats {
            name: "*".to_owned(),
            ..NamespaceStats::default()
        };
        for one in &self.namespaces {
            total.local_hits += one.local_hits;
            total.shared_hits += one.shared_hits;
            total.joined += one.joined;
            total.misses += one.misses;
            total.loads += one.loads;
            total.failed_loads += one.failed_loads;
            total.local_bytes += one.local_bytes;
            total.local_entries += one.local_entries;
        }
        total
    }
}

impl NamespaceStats {
    /// Returns the share of look-ups that the cache answered; none before the first.
    pub fn hit_ratio(&self) -> Option<f64> {
        ratio(self.local_hits + self.shared_hits, self.looks())
    }

    /// Returns the share of look-ups that the local level answered.
    pub fn local_hit_ratio(&self) -> Option<f64> {
        ratio(self.local_hits, self.looks())
    }

    /// Returns the share of look-ups that Redis answered, of those that reached it.
    pub fn shared_hit_ratio(&self) -> Option<f64> {
        ratio(self.shared_hits, self.shared_hits + self.misses)
    }

    fn looks(&self) -> u64 {
        self.local_hits + self.shared_hits + self.joined + self.misses
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio needs no exact count")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[derive(Default)]
pub(super) struct Counters {
    by_namespace: RwLock<BTreeMap<&'static str, Arc<Tally>>>,
    /// The share of all look-ups that the cache answered; made at the first look, when the process has its
    /// recorder.
    ratio: OnceLock<Gauge>,
}

/// The counts of one namespace, with the handles of those that are counted often.
pub(super) struct Tally {
    local: Looks,
    shared: Looks,
    joined: Looks,
    missed: Looks,
    loads: AtomicU64,
    failed: AtomicU64,
}

/// Look-ups that ended in one way.
struct Looks {
    count: AtomicU64,
    metric: Counter,
}

impl Counters {
    pub(super) fn looked(&self, namespace: &'static str, outcome: Outcome) {
        self.of(namespace).looks(outcome).one();
        self.tell_ratio();
    }

    /// Counts a look-up that the local level answered, where the entry itself knows its counts. The ratio
    /// is told where it may have moved by a hundredth of itself: with each hit it would cost 15 ns.
    pub(super) fn hit(&self, tally: &Tally) {
        let hits = tally.looks(Outcome::Local).one();
        let step = (hits >> 7).next_power_of_two();
        if hits & (step - 1) == 0 {
            self.tell_ratio();
        }
    }

    fn tell_ratio(&self) {
        let (mut hits, mut looks) = (0, 0);
        for tally in self.by_namespace.read().values() {
            let count = |outcome| tally.looks(outcome).count.load(Ordering::Relaxed);
            let found = count(Outcome::Local) + count(Outcome::Shared);
            hits += found;
            looks += found + count(Outcome::Joined) + count(Outcome::Missed);
        }
        self.ratio
            .get_or_init(|| metrics::gauge!(names::CACHE_HIT_RATIO))
            .set(ratio(hits, looks).unwrap_or_default());
    }

    pub(super) fn loaded(&self, namespace: &'static str, well: bool) {
        let tally = self.of(namespace);
        tally.loads.fetch_add(1, Ordering::Relaxed);
        tally.failed.fetch_add((!well).into(), Ordering::Relaxed);
        let outcome = if well { "ok" } else { "failed" };
        metrics::counter!(names::CACHE_LOADS_TOTAL, "namespace" => namespace, "outcome" => outcome)
            .increment(1);
    }

    pub(super) fn read(&self) -> Vec<NamespaceStats> {
        let tallies = self.by_namespace.read();
        tallies
            .iter()
            .map(|(name, tally)| tally.read(name))
            .collect()
    }

    pub(super) fn of(&self, namespace: &'static str) -> Arc<Tally> {
        if let Some(tally) = self.by_namespace.read().get(namespace) {
            return tally.clone();
        }
        self.by_namespace
            .write()
            .entry(namespace)
            .or_insert_with(|| Arc::new(Tally::new(namespace)))
            .clone()
    }
}

impl Tally {
    fn new(namespace: &'static str) -> Self {
        let looks = |outcome| Looks {
            count: AtomicU64::new(0),
            metric: metrics::counter!(
                names::CACHE_REQUESTS_TOTAL, "namespace" => namespace, "outcome" => outcome
            ),
        };
        Self {
            local: looks("local"),
            shared: looks("shared"),
            joined: looks("joined"),
            missed: looks("missed"),
            loads: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    fn looks(&self, outcome: Outcome) -> &Looks {
        match outcome {
            Outcome::Local => &self.local,
            Outcome::Shared => &self.shared,
            Outcome::Joined => &self.joined,
            Outcome::Missed => &self.missed,
        }
    }

    fn read(&self, name: &str) -> NamespaceStats {
        let looks = |looks: &Looks| looks.count.load(Ordering::Relaxed);
        NamespaceStats {
            name: name.to_owned(),
            local_hits: looks(&self.local),
            shared_hits: looks(&self.shared),
            joined: looks(&self.joined),
            misses: looks(&self.missed),
            loads: self.loads.load(Ordering::Relaxed),
            failed_loads: self.failed.load(Ordering::Relaxed),
            local_bytes: 0,
            local_entries: 0,
        }
    }
}

impl Looks {
    /// Counts one more, and returns how many there are.
    fn one(&self) -> u64 {
        self.metric.increment(1);
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }
}
