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
    /// Near ones, far ones, those left out for their faults, and those that could not be connected to:
    /// a later tier is asked when the earlier are used up.
    tiers: [Vec<Candidate>; 4],
    spare: Spare,
}

/// One that is asked a second time when nobody else is left.
enum Spare {
    None,
    Is(Arc<Member>),
    Used,
}

impl Choice {
    pub(super) fn new(
        strategy: Strategy,
        number: usize,
        key: Option<HeaderValue>,
        candidates: impl Iterator<Item = Candidate>,
        is_out: impl Fn(&Member) -> bool,
    ) -> Self {
        let mut tiers: [Vec<Candidate>; 4] = Default::default();
        for candidate in candidates {
            let member = &candidate.member;
            let tier = match (member.outlier().is_away(), is_out(member), candidate.near) {
                (true, _, _) => 3,
                (false, true, _) => 2,
                (false, false, true) => 0,
                (false, false, false) => 1,
            };
            tiers[tier].push(candidate);
        }
        Self {
            strategy,
            number,
            key,
            tiers,
            spare: Spare::None,
        }
    }

    /// Keeps one that did not take the call for the end, where nothing was lost but a connection. Of
    /// several it keeps the first, so that a call ends.
    pub(super) fn spare(&mut self, member: &Arc<Member>) {
        if matches!(self.spare, Spare::None) {
            self.spare = Spare::Is(Arc::clone(member));
        }
    }

    /// Tells whether everybody was asked.
    pub(super) fn is_empty(&self) -> bool {
        self.tiers.iter().all(Vec::is_empty) && !matches!(self.spare, Spare::Is(_))
    }

    /// Takes the next one to ask.
    pub(super) fn next(&mut self) -> Option<Arc<Member>> {
        let Some(tier) = self.tiers.iter_mut().find(|tier| !tier.is_empty()) else {
            return self.spare.take();
        };
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

impl Spare {
    /// Returns it, once.
    fn take(&mut self) -> Option<Arc<Member>> {
        match std::mem::replace(self, Self::Used) {
            Self::Is(member) => Some(member),
            Self::None => {
                *self = Self::None;
                None
            }
            Self::Used => None,
        }
    }
}
