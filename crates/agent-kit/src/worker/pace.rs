//! When the next heartbeat is due: a pure rule.

use std::time::Duration;

use tokio::time::Instant;

/// Time between heartbeats while nothing is held.
const IDLE: Duration = Duration::from_secs(5);
/// Time between heartbeats while something is held, and after one that failed.
const BUSY: Duration = Duration::from_secs(1);
/// Shortest time between two heartbeats, however much changes.
const SHORTEST: Duration = Duration::from_millis(50);

/// How much a worker has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// Tasks it could begin now.
    pub(crate) free: usize,
    /// Leases it holds.
    pub(crate) held: usize,
    /// Attempts that only a heartbeat can end.
    pub(crate) stranded: usize,
}

/// Remembers the newest heartbeat and decides on the next one.
#[derive(Debug)]
pub(crate) struct Pace {
    slots: usize,
    /// Leases from which on it is worth asking which of them can be forgotten.
    many: usize,
    newest: Option<(Instant, Sent)>,
}

#[derive(Clone, Copy, Debug)]
enum Sent {
    Answered(Load),
    Failed,
}

impl Pace {
    pub(crate) fn new(slots: usize, many: usize) -> Self {
        Self {
            slots,
            many,
            newest: None,
        }
    }

    /// Returns when the next heartbeat is due under this load; `None` means at once.
    pub(crate) fn due(&self, now: Load) -> Option<Instant> {
        let (at, sent) = self.newest?;
        let wait = match sent {
            Sent::Failed => BUSY,
            Sent::Answered(reported) if self.noticeable(reported, now) => SHORTEST,
            Sent::Answered(_) if now.held > 0 => BUSY,
            Sent::Answered(_) => IDLE,
        };
        Some(at + wait)
    }

    pub(crate) fn answered(&mut self, at: Instant, reported: Load) {
        self.newest = Some((at, Sent::Answered(reported)));
    }

    pub(crate) fn failed(&mut self, at: Instant) {
        self.newest = Some((at, Sent::Failed));
    }

    /// The first free slot, no free slot any more, over half of the slots changed, many leases to ask about, or
    /// an attempt to end.
    fn noticeable(&self, reported: Load, now: Load) -> bool {
        (reported.free == 0) != (now.free == 0)
            || reported.free.abs_diff(now.free) * 2 > self.slots
            || now.held >= self.many
            || now.stranded > reported.stranded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(free: usize, held: usize) -> Load {
        Load {
            free,
            held,
            stranded: 0,
        }
    }

    fn wait(pace: &Pace, at: Instant, load: Load) -> Duration {
        pace.due(load).unwrap() - at
    }

    #[test]
    fn r5_an_attempt_that_only_a_heartbeat_ends_hurries_it_once() {
        let mut pace = Pace::new(8, 100);
        let at = Instant::now();
        pace.answered(at, load(7, 1));
        let stranded = Load {
            stranded: 1,
            ..load(7, 1)
        };
        assert_eq!(wait(&pace, at, stranded), SHORTEST);
        pace.answered(at, stranded);
        assert_eq!(wait(&pace, at, stranded), BUSY, "it was told");
    }

    #[test]
    fn tsk_06_credit_is_reported_at_start_idle_and_soon_after_it_changed() {
        let mut pace = Pace::new(8, 100);
        assert_eq!(pace.due(load(8, 0)), None, "at start");
        let at = Instant::now();
        pace.answered(at, load(8, 0));
        assert_eq!(wait(&pace, at, load(8, 0)), IDLE);
        assert_eq!(wait(&pace, at, load(7, 1)), BUSY);
        assert_eq!(
            wait(&pace, at, load(4, 4)),
            BUSY,
            "half is no noticeable change yet"
        );
        assert_eq!(wait(&pace, at, load(3, 5)), SHORTEST);
        assert_eq!(
            wait(&pace, at, load(0, 8)),
            SHORTEST,
            "no slot is free any more"
        );
        assert_eq!(
            wait(&pace, at, load(8, 100)),
            SHORTEST,
            "many leases to forget"
        );
        pace.answered(at, load(0, 8));
        assert_eq!(wait(&pace, at, load(1, 8)), SHORTEST, "the first free slot");
    }

    #[test]
    fn a_coordinator_that_is_down_is_not_hurried() {
        let mut pace = Pace::new(1, 100);
        let at = Instant::now();
        pace.failed(at);
        assert_eq!(wait(&pace, at, load(0, 1)), BUSY);
        assert_eq!(wait(&pace, at, load(1, 0)), BUSY);
    }
}
