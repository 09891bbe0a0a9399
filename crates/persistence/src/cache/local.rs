//! The level within the process: bounded by bytes, for a short life.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::RwLock;
use rapidhash::fast::RandomState;
use rustix::time::{ClockId, clock_gettime};

use super::{
    namespace::{ALL, Key},
    stats::Tally,
};

/// Memory of an entry beside its key and value.
const OVERHEAD: usize = 160;
/// Most invalidations that are remembered one by one; more are remembered as one of everything.
const MARKS: usize = 50_000;

/// Entries of this process.
pub(super) struct Local {
    /// Hashed faster than the standard library does it, which guards against keys that strangers choose: these
    /// are names of the platform's own and digests. With this and [`Tick`] a hit takes 1.46 of moka's own
    /// look-up, and took 1.80 (bench E1, 2026-11-30).
    entries: moka::sync::Cache<Arc<str>, Arc<Entry>, RandomState>,
    /// Longest life of an entry.
    life: Duration,
    marks: RwLock<Marks>,
    /// The moment of the last invalidation: before it nobody has to look at the marks, whose lock
    /// every hit would take.
    now: AtomicU64,
}

/// A value, shared by all who found it: one count of references for a hit, not one for each part.
pub(super) struct Entry {
    pub(super) value: Bytes,
    /// The counts of its namespace: to find them for each hit costs as much as to find the entry.
    pub(super) tally: Arc<Tally>,
    marks: Box<[Arc<str>]>,
    /// The moment before the value was read or made.
    born: Moment,
    kept_at: Instant,
    /// Nothing where the level's own bound comes first, which moka watches.
    ends_at: Option<Tick>,
}

/// A moment of the kernel's clock of ticks, some hundred a second: exact enough for lives of seconds, and
/// read in 5 ns in place of the 19 that [`Instant`] takes. A hit reads it where its entry has a life of its
/// own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Tick(Duration);

/// A moment in the order of invalidations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// When what was invalidated last.
#[derive(Default)]
struct Marks {
    everything: Moment,
    by_name: HashMap<Arc<str>, Moment>,
}

impl Tick {
    fn now() -> Self {
        let now = clock_gettime(ClockId::MonotonicCoarse);
        Self(Duration::try_from(now).unwrap_or_default())
    }

    fn after(self, life: Duration) -> Self {
        Self(self.0.saturating_add(life))
    }
}

impl Marks {
    fn allow(&self, born: Moment, marks: &[Arc<str>]) -> bool {
        let newer = |mark| self.by_name.get(mark).is_some_and(|at| *at > born);
        self.everything <= born && !marks.iter().any(newer)
    }
}

impl Local {
    pub(super) fn new(bytes: u64, life: Duration) -> Self {
        let weigh = |key: &Arc<str>, entry: &Arc<Entry>| {
            u32::try_from(key.len() + entry.value.len() + OVERHEAD).unwrap_or(u32::MAX)
        };
        Self {
            entries: moka::sync::Cache::builder()
                .max_capacity(bytes)
                .weigher(weigh)
                .time_to_live(life)
                .build_with_hasher(RandomState::default()),
            life,
            marks: RwLock::default(),
            now: AtomicU64::new(0),
        }
    }

    /// Returns the present moment; what is read after it is not older.
    pub(super) fn now(&self) -> Moment {
        Moment(self.now.load(Ordering::Acquire))
    }

    /// Returns whether nothing of the key was invalidated since `born`.
    pub(super) fn is_current(&self, key: &Key, born: Moment) -> bool {
        self.allows(born, key.marks())
    }

    fn allows(&self, born: Moment, marks: &[Arc<str>]) -> bool {
        self.now() <= born || self.marks.read().allow(born, marks)
    }

    /// Returns an entry that was kept for at most `life`.
    pub(super) fn get(&self, id: &str, life: Duration) -> Option<Arc<Entry>> {
        let entry = self.entries.get(id)?;
        let fresh = (life >= self.life || entry.kept_at.elapsed() < life)
            && entry.ends_at.is_none_or(|at| Tick::now() < at);
        if fresh && self.allows(entry.born, &entry.marks) {
            return Some(entry);
        }
        self.entries.invalidate(id);
        None
    }

    /// Keeps a value until its life ends or something of the key is invalidated, also when that
    /// happened since `born`.
    pub(super) fn keep(
        &self,
        key: &Key,
        value: Bytes,
        life: Duration,
        born: Moment,
        tally: Arc<Tally>,
    ) {
        let entry = Entry {
            value,
            tally,
            marks: key.marks().into(),
            born,
            kept_at: Instant::now(),
            ends_at: (life < self.life).then(|| Tick::now().after(life)),
        };
        self.entries.insert(key.id().clone(), Arc::new(entry));
    }

    /// Ends every entry that carries the mark: in constant time, whatever their number.
    pub(super) fn invalidate(&self, mark: &str) {
        let mut marks = self.marks.write();
        let now = Moment(self.now.fetch_add(1, Ordering::AcqRel) + 1);
        if mark == ALL || marks.by_name.len() >= MARKS {
            marks.everything = now;
            marks.by_name.clear();
        }
        if mark == ALL {
            self.entries.invalidate_all();
        } else {
            marks.by_name.insert(mark.into(), now);
        }
    }

    /// Returns bytes and number of the entries of each namespace.
    pub(super) fn weigh(&self) -> HashMap<String, (u64, u64)> {
        let mut weights: HashMap<String, (u64, u64)> = HashMap::new();
        for (id, entry) in &self.entries {
            let (namespace, _) = id.split_once(':').unwrap_or_default();
            let weight = weights.entry(namespace.to_owned()).or_default();
            weight.0 += entry.value.len() as u64;
            weight.1 += 1;
        }
        weights
    }

    pub(super) fn bytes(&self) -> u64 {
        self.entries.weighted_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Namespace, stats::Counters};

    const LIFE: Duration = Duration::from_secs(60);
    const THINGS: Namespace = Namespace::new("things", LIFE);

    fn local(bytes: u64) -> Local {
        Local::new(bytes, LIFE)
    }

    fn keep(local: &Local, key: &Key, value: impl Into<Bytes>, born: Moment) {
        let tally = Counters::default().of(THINGS.name());
        local.keep(key, value.into(), LIFE, born, tally);
    }

    #[test]
    fn an_invalidation_between_reading_and_keeping_counts() {
        let local = local(1 << 20);
        let key = THINGS.key("1").tag("a");
        let born = local.now();
        local.invalidate("t:a");
        keep(&local, &key, "old", born);
        assert!(local.get(key.id(), LIFE).is_none());
        keep(&local, &key, "new", local.now());
        assert!(local.get(key.id(), LIFE).is_some());
    }

    #[test]
    fn cch_10_the_level_is_bounded_by_bytes() {
        let local = local(100_000);
        for number in 0..1_000 {
            let key = THINGS.key(&number.to_string());
            keep(&local, &key, vec![0; 1_000], local.now());
        }
        local.entries.run_pending_tasks();
        assert!(local.bytes() <= 100_000, "{} bytes", local.bytes());
        assert!(local.entries.entry_count() > 50);
    }

    #[test]
    fn forgetting_invalidations_forgets_no_invalidation() {
        let local = local(1 << 20);
        let key = THINGS.key("1").tag("first");
        keep(&local, &key, "old", local.now());
        local.invalidate("t:first");
        for number in 0..=MARKS {
            local.invalidate(&format!("t:{number}"));
        }
        assert!(local.marks.read().by_name.len() <= MARKS);
        assert!(local.get(key.id(), LIFE).is_none());
    }

    #[test]
    fn who_can_not_hear_keeps_entries_for_a_shorter_life() {
        let local = local(1 << 20);
        let key = THINGS.key("1");
        keep(&local, &key, "1", local.now());
        assert!(local.get(key.id(), LIFE).is_some());
        assert!(local.get(key.id(), Duration::ZERO).is_none());
    }
}
