//! Whom one call may ask, each once, the best first.

use std::sync::Arc;

use http::HeaderValue;

use super::balance::{Facts, Strategy, Turn};
use super::member::Member;

/// A live instance as an edge sees it.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) member: Arc<Member>,
    pub(super) weight: u32,
    /// Whether it is in the caller's part of the network.
    pub(super) near: bool,
}

/// Whom one call may ask.
pub(super) struct Choice {
    strategy: Strategy,
    number: usize,
    key: Option<HeaderValue>,
    /// Near ones, far ones, and those left out for their faults: a later tier is asked when the
    /// earlier are used up.
    tiers: [Vec<Candidate>; 3],
}

impl Choice {
    pub(super) fn new(
        strategy: Strategy,
        number: usize,
        key: Option<HeaderValue>,
        candidates: impl Iterator<Item = Candidate>,
        is_out: impl Fn(&Member) -> bool,
    ) -> Self {
        let mut tiers: [Vec<Candidate>; 3] = Default::default();
        for candidate in candidates {
            let tier = match (is_out(&candidate.member), candidate.near) {
                (true, _) => 2,
                (false, true) => 0,
                (false, false) => 1,
            };
            tiers[tier].push(candidate);
        }
        Self {
            strategy,
            number,
            key,
            tiers,
        }
    }

    /// Tells whether everybody was asked.
    pub(super) fn is_empty(&self) -> bool {
        self.tiers.iter().all(Vec::is_empty)
    }

    /// Takes the next one to ask.
    pub(super) fn next(&mut self) -> Option<Arc<Member>> {
        let tier = self.tiers.iter_mut().find(|tier| !tier.is_empty())?;
        let facts: Vec<Facts<'_>> = tier
            .iter()
            .map(|candidate| Facts {
                id: candidate.member.id().as_str(),
                load: candidate.member.in_flight(),
                weight: candidate.weight,
            })
            .collect();
        let turn = Turn {
            number: self.number,
            key: self.key.as_ref().map(HeaderValue::as_bytes),
        };
        let chosen = self.strategy.choose(&facts, turn, &mut rand::rng())?;
        Some(tier.swap_remove(chosen).member)
    }
}
