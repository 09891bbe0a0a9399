//! Whom an edge may choose from.

use std::sync::Arc;

use parking_lot::Mutex;

use super::EdgeError;
use super::member::{Member, Members};
use crate::catalog::ServiceName;
use crate::registry::{Instance, Watch};

/// Calls that the call graph does not restrict.
const DIAGNOSTICS: &str = "/platform.v1.Diagnostics/";

/// The members behind an edge.
pub(super) struct Pool {
    pub(super) from: ServiceName,
    pub(super) to: ServiceName,
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
    members: Vec<Arc<Member>>,
    cache: Arc<Members>,
}

impl Pool {
    pub(super) fn fixed(from: ServiceName, to: ServiceName, member: Arc<Member>) -> Self {
        Self {
            from,
            to,
            source: Source::Fixed(member),
        }
    }

    pub(super) fn watching(
        from: ServiceName,
        to: ServiceName,
        watch: Watch,
        cache: Arc<Members>,
    ) -> Self {
        let watched = Watched {
            watch,
            seen: Arc::default(),
            members: Vec::new(),
            cache,
        };
        Self {
            from,
            to,
            source: Source::Watched(Mutex::new(watched)),
        }
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

    /// Returns who is live now.
    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        match &self.source {
            Source::Fixed(member) => vec![Arc::clone(member)],
            Source::Watched(watched) => watched.lock().refresh().to_vec(),
        }
    }
}

impl Watched {
    /// Looks only when asked: a list that nobody uses need not be fresh, and no task has to end.
    fn refresh(&mut self) -> &[Arc<Member>] {
        let current = self.watch.current();
        if !Arc::ptr_eq(&current, &self.seen) {
            // The members before stay until the new ones are there: who stays keeps its connection.
            self.members = current
                .iter()
                .map(|instance| self.cache.member(instance))
                .collect();
            self.seen = current;
        }
        &self.members
    }
}
