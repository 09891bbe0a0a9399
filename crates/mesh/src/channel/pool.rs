//! Whom an edge may choose from.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::HeaderValue;
use metrics::counter;
use parking_lot::Mutex;
use sutazai_resilience::RetryBudget;
use sutazai_telemetry::names;

use super::EdgeError;
use super::balance::Strategy;
use super::choice::{Candidate, Choice};
use super::member::{Member, Members};
use super::outlier;
use crate::catalog::ServiceName;
use crate::registry::{Instance, Watch};

/// Calls that the call graph does not restrict.
const DIAGNOSTICS: &str = "/platform.v1.Diagnostics/";

/// The members behind an edge.
pub(super) struct Pool {
    pub(super) from: ServiceName,
    pub(super) to: ServiceName,
    /// What may be tried again on this edge.
    pub(super) budget: RetryBudget,
    strategy: Strategy,
    calls: AtomicUsize,
    source: Source,
}

enum Source {
    Fixed(Arc<Member>),
    Watched(Mutex<Watched>),
}

struct Watched {
    watch: Watch,
    /// What `members` were made of.
    seen: Arc<[Instance]>,
    candidates: Vec<Candidate>,
    /// The caller's part of the network.
    zone: Option<String>,
    cache: Arc<Members>,
}

impl Pool {
    pub(super) fn fixed(from: ServiceName, to: ServiceName, member: Arc<Member>) -> Self {
        Self::new(from, to, Source::Fixed(member))
    }

    pub(super) fn watching(
        from: ServiceName,
        to: ServiceName,
        watch: Watch,
        zone: Option<String>,
        cache: Arc<Members>,
    ) -> Self {
        let watched = Watched {
            watch,
            seen: Arc::default(),
            candidates: Vec::new(),
            zone,
            cache,
        };
        Self::new(from, to, Source::Watched(Mutex::new(watched)))
    }

    fn new(from: ServiceName, to: ServiceName, source: Source) -> Self {
        Self {
            from,
            to,
            budget: RetryBudget::new(),
            strategy: Strategy::default(),
            calls: AtomicUsize::new(0),
            source,
        }
    }

    /// Chooses by this strategy.
    pub(super) fn balanced(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Refuses a call that the call graph does not know.
    pub(super) fn permits(&self, path: &str) -> Result<(), EdgeError> {
        if self.from.may_call(self.to) || path.starts_with(DIAGNOSTICS) {
            return Ok(());
        }
        Err(EdgeError::OutsideCallGraph {
            from: self.from,
            to: self.to,
        })
    }

    /// Returns whom a call may ask now.
    pub(super) fn choice(&self, key: Option<HeaderValue>) -> Choice {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        match &self.source {
            Source::Fixed(member) => {
                let only = Candidate {
                    member: Arc::clone(member),
                    weight: 1,
                    near: true,
                };
                Choice::new(self.strategy, number, key, std::iter::once(only), |_| false)
            }
            Source::Watched(watched) => {
                let mut watched = watched.lock();
                watched.refresh();
                let (all, out) = watched.count();
                let panic = outlier::is_panic(all, out);
                let candidates = watched.candidates.iter().cloned();
                Choice::new(self.strategy, number, key, candidates, |member| {
                    !panic && member.outlier().is_out()
                })
            }
        }
    }

    /// Notes a fault of the callee, and leaves it out when it has too many in a row.
    pub(super) fn fault(&self, member: &Member) {
        if member.outlier().fault() {
            self.leave_out(member);
        }
    }

    fn leave_out(&self, member: &Member) {
        let Source::Watched(watched) = &self.source else {
            return;
        };
        // Under the lock, so that two at once do not leave out more than may be.
        let watched = watched.lock();
        let (all, out) = watched.count();
        if member.outlier().is_out() || !outlier::may_eject(all, out) {
            return;
        }
        let time = member.outlier().eject();
        let (from, to) = (self.from.as_str(), self.to.as_str());
        counter!(names::MESH_EJECTIONS_TOTAL, "from" => from, "to" => to).increment(1);
        tracing::warn!(instance = %member.id(), to, ?time, "instance left out for its faults");
    }
}

impl Watched {
    /// Looks only when asked: a list that nobody uses need not be fresh, and no task has to end.
    fn refresh(&mut self) {
        let current = self.watch.current();
        if !Arc::ptr_eq(&current, &self.seen) {
            let zone = self.zone.as_deref();
            // The members before stay until the new ones are there: who stays keeps its connection.
            self.candidates = current
                .iter()
                .map(|instance| Candidate {
                    member: self.cache.member(instance),
                    weight: instance.weight(),
                    near: zone.is_none_or(|zone| instance.zone() == Some(zone)),
                })
                .collect();
            self.seen = current;
        }
    }

    /// Returns how many can be connected to, and how many of them are left out.
    fn count(&self) -> (usize, usize) {
        let all = self.candidates.iter().map(|one| one.member.outlier());
        let all = all.filter(|outlier| !outlier.is_away());
        all.fold((0, 0), |(all, out), outlier| {
            (all + 1, out + usize::from(outlier.is_out()))
        })
    }
}
