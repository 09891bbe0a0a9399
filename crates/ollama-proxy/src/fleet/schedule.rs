//! Who gets which slot: a pure state machine without time or tasks.
//!
//! Invariants: no node runs more than its slots, and one that is probed gets nothing more; nobody
//! waits for a slot that is free; requests that want the same thing get it in the order in which they
//! came; at most `limit` wait.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// Names a node; no other ever gets the same.
pub(crate) type NodeId = usize;

/// Share of the work that a node gets, beside those of the others; with 0 it gets no more.
pub(crate) type Weight = u16;

/// Models by full name; true for one in memory. A node has few, and each request looks them up five times:
/// a comparison or two where a hash costs 150 instructions.
pub(super) type Shelf = BTreeMap<String, bool>;

/// What one request on a node of weight 1 counts, so that weights divide it well.
const UNIT: usize = 1 << 20;

/// Names a waiting request.
pub(super) type Ticket = u64;

/// What a request needs.
#[derive(Clone, Debug)]
pub(super) struct Want {
    /// Full name of the model.
    pub(super) model: Arc<str>,
    /// Nodes that already failed this request.
    pub(super) tried: BTreeSet<NodeId>,
}

/// Answer to a request for a slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// The slot on this node is taken.
    Granted(NodeId),
    /// The request waits.
    Queued(Ticket),
    /// Too many wait already.
    Full,
    /// No usable node has the model, or all that have it failed this request.
    Nowhere,
}

/// What became of a waiting request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It holds a slot on this node now.
    Granted(Ticket, NodeId),
    /// The last node that could have served it is gone.
    Nowhere(Ticket),
}

/// Slots and the queue in front of them.
#[derive(Debug)]
pub(super) struct Schedule {
    nodes: BTreeMap<NodeId, Load>,
    /// Requests that may run on one node at once.
    slots: usize,
    waiting: VecDeque<(Ticket, Want)>,
    limit: usize,
    next_ticket: Ticket,
    /// The first node in a tie: ties rotate, so that equal nodes share the work.
    turn: NodeId,
}

#[derive(Debug)]
struct Load {
    in_flight: usize,
    weight: Weight,
    /// Taken out of the fleet: it only finishes what it has.
    leaving: bool,
    /// Answers health checks.
    live: bool,
    /// Kept out by its breaker.
    barred: bool,
    /// Its breaker waits for the end of one request before it lets another through.
    probing: bool,
    models: Shelf,
}

impl Load {
    fn could_serve(&self, model: &str) -> bool {
        self.is_usable() && self.models.contains_key(model)
    }

    fn is_usable(&self) -> bool {
        self.live && !self.barred && !self.leaving && self.weight > 0
    }

    /// Whether it takes one more request now. A probe is no reason to go elsewhere for good: it ends.
    fn has_room(&self, slots: usize) -> bool {
        self.in_flight < slots && !self.probing
    }

    /// How busy it would be with one more request, for its weight.
    fn busyness(&self) -> usize {
        (self.in_flight + 1) * UNIT / usize::from(self.weight.max(1))
    }
}

impl Schedule {
    pub(super) fn new(slots: usize, limit: usize) -> Self {
        Self {
            nodes: BTreeMap::new(),
            slots,
            waiting: VecDeque::new(),
            limit,
            next_ticket: 0,
            turn: 0,
        }
    }

    /// Takes a node in; it gets nothing before its first health check.
    pub(super) fn enter(&mut self, node: NodeId, weight: Weight) {
        let load = Load {
            in_flight: 0,
            weight,
            leaving: false,
            live: false,
            barred: false,
            probing: false,
            models: Shelf::new(),
        };
        self.nodes.insert(node, load);
    }

    /// Changes the share of a node. Call [`Self::settle`] afterwards.
    pub(super) fn weigh(&mut self, node: NodeId, weight: Weight) {
        if let Some(load) = self.nodes.get_mut(&node) {
            load.weight = weight;
        }
    }

    /// Takes a node out: it finishes what it has. Call [`Self::settle`] afterwards.
    pub(super) fn leave(&mut self, node: NodeId) {
        if let Some(load) = self.nodes.get_mut(&node) {
            load.leaving = true;
            self.forget_if_done(node);
        }
    }

    /// Records what a health check found.
    pub(super) fn observe(&mut self, node: NodeId, live: bool, models: Shelf) {
        if let Some(load) = self.nodes.get_mut(&node) {
            load.live = live;
            load.models = models;
        }
    }

    /// Records that a node has a model in memory: it just answered with it.
    pub(super) fn warmed(&mut self, node: NodeId, model: &str) {
        let loaded = self
            .nodes
            .get_mut(&node)
            .and_then(|load| load.models.get_mut(model));
        if let Some(loaded) = loaded {
            *loaded = true;
        }
    }

    /// Records whether the breaker of a node keeps requests out.
    pub(super) fn bar(&mut self, node: NodeId, barred: bool) {
        if let Some(load) = self.nodes.get_mut(&node) {
            load.barred = barred;
        }
    }

    /// Records whether the breaker of a node has its probe out: until that ends the node is full.
    pub(super) fn probe(&mut self, node: NodeId, probing: bool) {
        if let Some(load) = self.nodes.get_mut(&node) {
            load.probing = probing;
        }
    }

    /// Takes a slot or a place in the queue. Call [`Self::settle`] first when nodes changed.
    pub(super) fn offer(&mut self, want: Want) -> Offer {
        if !self.possible(&want) {
            return Offer::Nowhere;
        }
        if let Some(node) = self.pick(&want) {
            self.take(node);
            return Offer::Granted(node);
        }
        if self.waiting.len() >= self.limit {
            return Offer::Full;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back((ticket, want));
        Offer::Queued(ticket)
    }

    /// Gives a slot back. Call [`Self::settle`] afterwards.
    pub(super) fn release(&mut self, node: NodeId) {
        if let Some(load) = self.nodes.get_mut(&node) {
            load.in_flight = load.in_flight.saturating_sub(1);
            self.forget_if_done(node);
        }
    }

    fn forget_if_done(&mut self, node: NodeId) {
        let done = |load: &Load| load.leaving && load.in_flight == 0;
        if self.nodes.get(&node).is_some_and(done) {
            self.nodes.remove(&node);
        }
    }

    /// Takes a request out of the queue, if it is still there.
    pub(super) fn withdraw(&mut self, ticket: Ticket) {
        self.waiting.retain(|(waiting, _)| *waiting != ticket);
    }

    /// Serves the queue, oldest first, with whatever is free now. `begin` hears of each slot that is
    /// taken, and says whether the node is probed with it.
    pub(super) fn settle(&mut self, mut begin: impl FnMut(NodeId) -> bool) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for (ticket, want) in std::mem::take(&mut self.waiting) {
            if !self.possible(&want) {
                decisions.push(Decision::Nowhere(ticket));
            } else if let Some(node) = self.pick(&want) {
                self.take(node);
                let probing = begin(node);
                self.probe(node, probing);
                decisions.push(Decision::Granted(ticket, node));
            } else {
                self.waiting.push_back((ticket, want));
            }
        }
        decisions
    }

    pub(super) fn queued(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn in_flight(&self, node: NodeId) -> usize {
        self.nodes.get(&node).map_or(0, |load| load.in_flight)
    }

    /// Slots of all nodes that take requests.
    pub(super) fn usable_slots(&self) -> usize {
        let usable = self.nodes.values().filter(|load| load.is_usable());
        usable.count() * self.slots
    }

    fn candidates<'a>(&'a self, want: &'a Want) -> impl Iterator<Item = (NodeId, &'a Load)> {
        self.nodes
            .iter()
            .map(|(id, load)| (*id, load))
            .filter(|(id, load)| load.could_serve(&want.model) && !want.tried.contains(id))
    }

    fn possible(&self, want: &Want) -> bool {
        self.candidates(want).next().is_some()
    }

    /// Prefers a node that has the model in memory, for loading costs seconds; then the least
    /// loaded for its weight.
    fn pick(&self, want: &Want) -> Option<NodeId> {
        self.candidates(want)
            .filter(|(_, load)| load.has_room(self.slots))
            .min_by_key(|(id, load)| {
                let loaded = load.models.get(&*want.model) == Some(&true);
                (Reverse(loaded), load.busyness(), *id < self.turn, *id)
            })
            .map(|(id, _)| id)
    }

    fn take(&mut self, node: NodeId) {
        self.turn = node + 1;
        if let Some(load) = self.nodes.get_mut(&node) {
            load.in_flight += 1;
        }
    }
}

#[cfg(test)]
mod tests;
