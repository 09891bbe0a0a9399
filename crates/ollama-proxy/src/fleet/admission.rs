//! The bounded queue in front of the nodes, and the slots as permits that come back when dropped.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use metrics::gauge;
use parking_lot::Mutex;
use sutazai_resilience::{Breaker, Deadline, breaker::Permit};
use sutazai_telemetry::names;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::schedule::{Decision, NodeId, Offer, Schedule, Shelf, Ticket, Want, Weight};

/// Bounds of what [`Admission`] tells callers to wait before they come again.
const RETRY_AFTER: (f64, f64) = (1.0, 60.0);

/// Weight of the newest slot in the mean time that slots are held.
const MEAN_WEIGHT: f64 = 0.2;

/// Slots of all nodes and the queue in front of them; clones share them.
#[derive(Clone)]
pub(super) struct Admission(Arc<Shared>);

struct Shared {
    state: Mutex<Inner>,
    /// Longest wait in the queue.
    wait: Duration,
}

struct Inner {
    schedule: Schedule,
    breakers: BTreeMap<NodeId, Breaker>,
    waiting: HashMap<Ticket, oneshot::Sender<Option<Slot>>>,
    /// Mean time that a slot is held, in seconds.
    mean_hold: f64,
    /// How long the queue is by the metric.
    told: Option<usize>,
}

/// Why there is no slot.
#[derive(Debug)]
pub(super) enum NoSlot {
    /// No usable node is left for this request.
    Nowhere,
    /// Too many wait already.
    Full {
        waiting: usize,
        retry_after: Duration,
    },
    /// None became free in time.
    Late {
        waited: Duration,
        retry_after: Duration,
    },
    /// The caller's time is over.
    Over,
}

/// The right to run one request on a node; given back when dropped.
pub(crate) struct Slot {
    admission: Admission,
    node: NodeId,
    since: Instant,
    /// What the node's breaker gave with it. Asked for later, it would go to whoever is quicker, and
    /// the others would be at the end of the queue again.
    permit: Option<Permit>,
}

/// Leave of a node's breaker, to be given back with the outcome. Whoever waits for the end of a
/// probe goes on with it, whatever the outcome.
pub(super) struct Pass<'a> {
    admission: &'a Admission,
    breaker: &'a Breaker,
    permit: Option<Permit>,
}

impl Admission {
    pub(super) fn new(slots: usize, limit: usize, wait: Duration) -> Self {
        let state = Mutex::new(Inner {
            schedule: Schedule::new(slots, limit),
            breakers: BTreeMap::new(),
            waiting: HashMap::new(),
            mean_hold: RETRY_AFTER.0,
            told: None,
        });
        Self(Arc::new(Shared { state, wait }))
    }

    /// Takes a node in.
    pub(super) fn enter(&self, node: NodeId, weight: Weight, breaker: Breaker) {
        self.change(|inner| {
            inner.breakers.insert(node, breaker);
            inner.schedule.enter(node, weight);
        });
    }

    /// Changes the share of a node.
    pub(super) fn weigh(&self, node: NodeId, weight: Weight) {
        self.change(|inner| inner.schedule.weigh(node, weight));
    }

    /// Takes a node out: it finishes what it has, and whoever waits for it alone is told.
    pub(super) fn leave(&self, node: NodeId) {
        self.change(|inner| {
            inner.breakers.remove(&node);
            inner.schedule.leave(node);
        });
    }

    /// Waits for a slot on a node that can serve `want`, in the order of arrival and not beyond `end`. Who
    /// gets one at once needs no timer.
    pub(super) async fn admit(&self, want: Want, end: Deadline) -> Result<Slot, NoSlot> {
        if end.is_over() {
            return Err(NoSlot::Over);
        }
        let (ticket, slot) = match self.change(|inner| inner.offer(want))? {
            Place::Slot(node, permit) => return Ok(self.slot(node, permit)),
            Place::Queue(ticket, slot) => (ticket, slot),
        };
        let _leaving = Leaving {
            admission: self,
            ticket,
        };
        let late = end.earlier(Deadline::after(self.0.wait));
        match timeout_at(late.instant(), slot).await {
            Ok(Ok(Some(slot))) => Ok(slot),
            Ok(_) => Err(NoSlot::Nowhere),
            Err(_) if late == end => Err(NoSlot::Over),
            Err(_) => {
                let retry_after = self.0.state.lock().retry_after();
                Err(NoSlot::Late {
                    waited: self.0.wait,
                    retry_after,
                })
            }
        }
    }

    /// Records what a health check found; whoever waits is served accordingly.
    pub(super) fn observe(&self, node: NodeId, live: bool, models: Shelf) {
        self.change(|inner| inner.schedule.observe(node, live, models));
    }

    /// Records that a node has a model in memory.
    pub(super) fn warmed(&self, node: NodeId, model: &str) {
        self.0.state.lock().schedule.warmed(node, model);
    }

    pub(super) fn queued(&self) -> usize {
        self.0.state.lock().schedule.queued()
    }

    pub(super) fn in_flight(&self, node: NodeId) -> usize {
        self.0.state.lock().schedule.in_flight(node)
    }

    /// Takes the leave of the node's breaker out of a slot; there is none when the breaker changed
    /// its mind in the same moment.
    pub(super) fn pass<'a>(&'a self, slot: &mut Slot, breaker: &'a Breaker) -> Option<Pass<'a>> {
        let permit = slot.permit.take()?;
        Some(Pass {
            admission: self,
            breaker,
            permit: Some(permit),
        })
    }

    fn slot(&self, node: NodeId, permit: Option<Permit>) -> Slot {
        Slot {
            admission: self.clone(),
            node,
            since: Instant::now(),
            permit,
        }
    }

    /// Changes the schedule and serves the queue before and after: breakers open and recover by
    /// themselves, so something may have become free since the last change, and whoever waits for
    /// it was here first.
    fn change<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        let (value, served) = {
            let mut inner = self.0.state.lock();
            inner.bar_nodes();
            let mut served = self.settle(&mut inner);
            let value = work(&mut inner);
            served.extend(self.settle(&mut inner));
            inner.tell_queue();
            (value, served)
        };
        // Outside the lock: a slot whose receiver has left is dropped here, and dropping it locks.
        for (waiting, slot) in served {
            let _ = waiting.send(slot);
        }
        value
    }

    fn settle(&self, inner: &mut Inner) -> Vec<(oneshot::Sender<Option<Slot>>, Option<Slot>)> {
        let Inner {
            schedule, breakers, ..
        } = inner;
        let mut permits = VecDeque::new();
        let decisions = schedule.settle(|node| {
            let (permit, probing) = begin(breakers, node);
            permits.push_back(permit);
            probing
        });
        let mut served = Vec::with_capacity(decisions.len());
        for decision in decisions {
            let (ticket, slot) = match decision {
                Decision::Granted(ticket, node) => {
                    let permit = permits.pop_front().flatten();
                    (ticket, Some(self.slot(node, permit)))
                }
                Decision::Nowhere(ticket) => (ticket, None),
            };
            if let Some(waiting) = inner.waiting.remove(&ticket) {
                served.push((waiting, slot));
            }
        }
        served
    }
}

impl Slot {
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // First, so that a probe that was never made keeps nobody waiting.
        drop(self.permit.take());
        let held = self.since.elapsed().as_secs_f64();
        self.admission.change(|inner| {
            inner.mean_hold += MEAN_WEIGHT * (held - inner.mean_hold);
            inner.schedule.release(self.node);
        });
    }
}

impl Pass<'_> {
    /// Reports that the node answered.
    pub(super) fn success(mut self) {
        self.end(Permit::success);
    }

    /// Reports a fault of the node.
    pub(super) fn failure(mut self, why: &str) {
        self.end(|permit| permit.failure(why));
    }

    /// Only the end of a probe makes room: the slot itself may come back earlier or much later.
    fn end(&mut self, tell: impl FnOnce(Permit)) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let probing = self.breaker.is_probing();
        tell(permit);
        if probing {
            self.admission.change(|_| ());
        }
    }
}

/// Dropped without an outcome, for example because the caller went away, it counts neither way.
impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.end(drop);
    }
}

/// A place taken in the schedule.
enum Place {
    Slot(NodeId, Option<Permit>),
    Queue(Ticket, oneshot::Receiver<Option<Slot>>),
}

/// Asks the breaker of a node for leave, and tells whether the node is full by that.
fn begin(breakers: &BTreeMap<NodeId, Breaker>, node: NodeId) -> (Option<Permit>, bool) {
    let Some(breaker) = breakers.get(&node) else {
        return (None, false);
    };
    (breaker.permit().ok(), breaker.is_probing())
}

/// Takes a request out of the queue when its caller is gone or its time is over.
struct Leaving<'a> {
    admission: &'a Admission,
    ticket: Ticket,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.admission.change(|inner| {
            inner.waiting.remove(&self.ticket);
            inner.schedule.withdraw(self.ticket);
        });
    }
}

impl Inner {
    fn bar_nodes(&mut self) {
        for (node, breaker) in &self.breakers {
            // In this order: a probe that fails between the two bars the node.
            self.schedule.probe(*node, breaker.is_probing());
            self.schedule.bar(*node, breaker.keeps_out());
        }
    }

    /// Reports the length of the queue where it changed: mostly it is empty and stays so.
    #[expect(clippy::cast_precision_loss, reason = "the queue is short")]
    fn tell_queue(&mut self) {
        let queued = self.schedule.queued();
        if self.told.replace(queued) != Some(queued) {
            gauge!(names::INFERENCE_QUEUED).set(queued as f64);
        }
    }

    fn offer(&mut self, want: Want) -> Result<Place, NoSlot> {
        match self.schedule.offer(want) {
            Offer::Granted(node) => {
                let (permit, probing) = begin(&self.breakers, node);
                self.schedule.probe(node, probing);
                Ok(Place::Slot(node, permit))
            }
            Offer::Queued(ticket) => {
                let (sender, slot) = oneshot::channel();
                self.waiting.insert(ticket, sender);
                Ok(Place::Queue(ticket, slot))
            }
            Offer::Full => Err(NoSlot::Full {
                waiting: self.schedule.queued(),
                retry_after: self.retry_after(),
            }),
            Offer::Nowhere => Err(NoSlot::Nowhere),
        }
    }

    /// Estimates when everybody who waits now will have had a slot.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the counts are small and it is an estimate"
    )]
    fn retry_after(&self) -> Duration {
        let rounds =
            (self.schedule.queued() + 1) as f64 / self.schedule.usable_slots().max(1) as f64;
        Duration::from_secs_f64((self.mean_hold * rounds).clamp(RETRY_AFTER.0, RETRY_AFTER.1))
    }
}

#[cfg(test)]
mod tests;
