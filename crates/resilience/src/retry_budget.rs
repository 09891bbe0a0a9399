//! How many tries may be made beyond the first: a share of the calls, so that retries never become
//! the load that keeps the other side down.

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a call counts, in seconds; each second is a slot that is forgotten as a whole.
const WINDOW: usize = 10;

/// The retries that one client may make to one target: one for every ten calls, and one a second.
#[derive(Debug)]
pub struct RetryBudget {
    started: Instant,
    slots: Mutex<[Slot; WINDOW]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Which second since the start it is about, so that an old one is known as old.
    second: usize,
    calls: usize,
    retries: usize,
}

impl RetryBudget {
    /// Begins with what a quiet window allows.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            slots: Mutex::default(),
        }
    }

    /// Counts a call, not its retries.
    pub fn call(&self) {
        let second = self.second();
        slot(&mut self.slots.lock(), second).calls += 1;
    }

    /// Takes leave for one retry; false when the budget is spent.
    pub fn try_retry(&self) -> bool {
        let second = self.second();
        let mut slots = self.slots.lock();
        let current = slots.iter().filter(|slot| slot.second + WINDOW > second);
        let (calls, retries) = current.fold((0, 0), |(calls, retries), slot| {
            (calls + slot.calls, retries + slot.retries)
        });
        if retries >= calls / 10 + WINDOW {
            return false;
        }
        slot(&mut slots, second).retries += 1;
        true
    }

    fn second(&self) -> usize {
        usize::try_from(self.started.elapsed().as_secs()).unwrap_or(usize::MAX)
    }
}

fn slot(slots: &mut [Slot; WINDOW], second: usize) -> &mut Slot {
    let slot = &mut slots[second % WINDOW];
    if slot.second != second {
        *slot = Slot {
            second,
            ..Slot::default()
        };
    }
    slot
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    fn retries(budget: &RetryBudget, wanted: u32) -> u32 {
        (0..wanted).map(|_| u32::from(budget.try_retry())).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenth_of_the_calls_and_one_a_second() {
        let budget = RetryBudget::new();
        assert_eq!(retries(&budget, 100), 10, "a quiet window");
        for _ in 0..1_000 {
            budget.call();
        }
        assert_eq!(retries(&budget, 1_000), 100);
        advance(Duration::from_secs(10)).await;
        assert_eq!(retries(&budget, 1_000), 10, "the calls are forgotten too");
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_is_down_for_a_minute_sees_few_more_tries() {
        let budget = RetryBudget::new();
        let (mut calls, mut tries) = (0, 0);
        for _ in 0..6_000 {
            budget.call();
            calls += 1;
            tries += 1 + retries(&budget, 2);
            advance(Duration::from_millis(10)).await;
        }
        let ratio = f64::from(tries) / f64::from(calls);
        assert!(ratio <= 1.2, "{ratio}");
        assert!(ratio >= 1.1, "the budget is there to be used: {ratio}");
    }

    proptest! {
        #[test]
        fn no_pattern_of_calls_gets_more_than_the_budget(steps in proptest::collection::vec((0_usize..40, 0_usize..40, 0_u64..3_000), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let budget = RetryBudget::new();
                let (mut calls, mut made) = (0, 0);
                for (new, wanted, pause) in steps {
                    for _ in 0..new {
                        budget.call();
                    }
                    calls += new;
                    made += (0..wanted).filter(|_| budget.try_retry()).count();
                    advance(Duration::from_millis(pause)).await;
                    // Each second of life adds one, each call a tenth, beside what a window begins with.
                    let quiet = budget.second() + 2 * WINDOW;
                    prop_assert!(made <= calls / 10 + quiet, "{made} of {calls}");
                }
                Ok(())
            })?;
        }
    }
}
