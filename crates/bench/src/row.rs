//! What a row is: programs beside each other, and the figures that are judged.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::{failure::Failure, stage::Stage};

/// What one side of one round gave, by the key of a [`Figure`].
pub type Values = BTreeMap<&'static str, f64>;

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Nobody: the client asks the upstream itself.
    Direct,
    /// The least code that does the same work.
    Limit,
    /// The platform.
    Ours,
    /// Somebody else's program; only with `--peers`.
    Peer(&'static str),
}

/// What ours is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nothing: the figure stands alone.
    Nothing,
    /// The limit.
    Limit,
    /// A peer.
    Peer(&'static str),
}

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Nothing: it informs.
    None,
    /// The ratio, at least.
    RatioAtLeast(f64),
    /// The ratio, at most.
    RatioAtMost(f64),
    /// This many times the other's, and so much more, at most.
    RatioAtMostPlus(f64, f64),
    /// Ours, at most.
    AtMost(f64),
    /// Ours, in every round.
    Exactly(f64),
}

/// One figure of a row.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The key in [`Values`].
    pub key: &'static str,
    /// What was measured.
    pub what: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What ours is divided by.
    pub beside: Beside,
    /// Whether only what is added to the direct way of the same round counts.
    pub added: bool,
    /// What it has to reach.
    pub goal: Goal,
}

impl Figure {
    /// Makes a figure that stands alone and informs.
    pub const fn new(key: &'static str, what: &'static str, unit: &'static str) -> Self {
        Self {
            key,
            what,
            unit,
            beside: Beside::Nothing,
            added: false,
            goal: Goal::None,
        }
    }

    /// Sets ours beside the limit.
    #[must_use]
    pub const fn limit(mut self, goal: Goal) -> Self {
        self.beside = Beside::Limit;
        self.goal = goal;
        self
    }

    /// Sets ours beside a peer.
    #[must_use]
    pub const fn peer(mut self, name: &'static str, goal: Goal) -> Self {
        self.beside = Beside::Peer(name);
        self.goal = goal;
        self
    }

    /// Sets a goal for ours alone.
    #[must_use]
    pub const fn alone(mut self, goal: Goal) -> Self {
        self.beside = Beside::Nothing;
        self.goal = goal;
        self
    }

    /// Counts only what is added to the direct way.
    #[must_use]
    pub const fn added(mut self) -> Self {
        self.added = true;
        self
    }
}

/// A row of the table: prepared once, then measured round by round, one side after the other.
///
/// An error of any step fails the row. So do wrong, cut or lost answers: `measure` has to look.
#[async_trait]
pub trait Row: Send {
    /// Its name, like `A1`.
    fn id(&self) -> &'static str;

    /// What it measures, for the heading.
    fn what(&self) -> &'static str;

    /// The figures; each side returns those keys that it can.
    fn figures(&self) -> Vec<Figure>;

    /// Who takes part, in the order of the first round; peers only run when they were asked for.
    fn sides(&self) -> Vec<Side> {
        vec![Side::Limit, Side::Ours]
    }

    /// How many rounds are of use, of those asked for: a count that never changes needs few.
    fn rounds(&self, asked: usize) -> usize {
        asked
    }

    /// Starts what the rounds need.
    ///
    /// # Errors
    /// Why it can not be measured.
    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure>;

    /// Measures one side of one round.
    ///
    /// # Errors
    /// Why the row failed.
    async fn measure(&mut self, stage: &Stage, side: Side) -> Result<Values, Failure>;

    /// Stops what was started.
    async fn finish(&mut self) {}
}
