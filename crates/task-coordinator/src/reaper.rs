//! The reaper: ends what ran out of time, whoever is no longer there to say so.

use std::{error::Error as StdError, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use sutazai_persistence::DatabaseError;
use tokio_util::sync::CancellationToken;

use crate::outbox::Bell;
use crate::store::Store;
use crate::watch::Watchers;

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Workers could not renew while nobody answered; who lives sends a heartbeat within this time.
const GRACE: TimeDelta = TimeDelta::seconds(5);
/// Looks further apart than this leave a time in which, perhaps, nobody answered: a round and a margin.
const CLOSE: TimeDelta = TimeDelta::seconds(3);

/// Ends attempts without a lease and tasks beyond their deadline.
#[derive(Clone)]
pub(crate) struct Reaper {
    store: Store,
    watchers: Watchers,
    bell: Bell,
}

/// Looks at the database that followed each other closely: the times of the first and of the newest.
///
/// They are the database's, which leases go by: also a machine that slept, and a clock that was set,
/// leave a gap.
#[derive(Debug, Default)]
pub(crate) struct Sight(Option<(DateTime<Utc>, DateTime<Utc>)>);

impl Sight {
    /// Notes a look; tells whether since the last gap every worker that lives had time to renew.
    pub(crate) fn look(&mut self, now: DateTime<Utc>) -> bool {
        let close = TimeDelta::zero()..=CLOSE;
        let since = match self.0 {
            Some((since, newest)) if close.contains(&(now - newest)) => since,
            _ => {
                tracing::info!("leases are left alone until workers had time to renew");
                now
            }
        };
        self.0 = Some((since, now));
        now - since >= GRACE
    }

    /// Notes that the database could not be looked at.
    fn lose(&mut self) {
        self.0 = None;
    }
}

impl Reaper {
    pub(crate) fn new(store: Store, watchers: Watchers, bell: Bell) -> Self {
        Self {
            store,
            watchers,
            bell,
        }
    }

    /// Reaps until told to stop.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let mut sight = Sight::default();
        let mut wait = Duration::ZERO;
        while stop
            .run_until_cancelled(tokio::time::sleep(wait))
            .await
            .is_some()
        {
            wait = match self.round(&mut sight).await {
                Ok(0) => ROUND,
                Ok(tasks) => {
                    tracing::info!(tasks, "ended what ran out of time");
                    // There may be more.
                    Duration::ZERO
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn StdError, "reaper could not work");
                    ROUND
                }
            };
        }
    }

    /// Looks, and takes one batch unless workers may have been unable to renew; answers how many
    /// tasks changed.
    pub(crate) async fn round(&self, sight: &mut Sight) -> Result<usize, DatabaseError> {
        let taken = match self.store.clock().await {
            Ok(now) if sight.look(now) => self.step().await,
            Ok(_) => Ok(0),
            Err(error) => Err(error),
        };
        if taken.is_err() {
            sight.lose();
        }
        taken
    }

    /// Takes one batch; answers how many tasks changed.
    pub(crate) async fn step(&self) -> Result<usize, DatabaseError> {
        let mut changes = self.store.reap().await?;
        changes.extend(self.store.expire().await?);
        if !changes.is_empty() {
            self.watchers.changed(&changes);
            self.bell.ring();
        }
        Ok(changes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    /// Looks once a second; returns the first at which leases may be taken.
    fn first(sight: &mut Sight, from: i64) -> Option<i64> {
        (from..from + 60).find(|second| sight.look(at(*second)))
    }

    #[test]
    fn tsk_06_workers_have_time_to_renew_after_the_first_answer() {
        let mut sight = Sight::default();
        assert_eq!(first(&mut sight, 0), Some(5), "at start");
        assert!(sight.look(at(6)), "and from then on");
        sight.lose();
        assert_eq!(first(&mut sight, 7), Some(12), "after an outage");
        sight.lose();
        assert!(!sight.look(at(13)));
        assert!(!sight.look(at(14)));
        sight.lose();
        assert_eq!(
            first(&mut sight, 15),
            Some(20),
            "after each look that failed"
        );
    }

    #[test]
    fn tsk_06_workers_have_time_to_renew_after_a_gap_that_nobody_noticed() {
        let mut sight = Sight::default();
        assert_eq!(first(&mut sight, 0), Some(5));
        assert!(sight.look(at(8)), "a slow round is no gap");
        assert_eq!(
            first(&mut sight, 12),
            Some(17),
            "a process that was stopped"
        );
        assert_eq!(first(&mut sight, 3_617), Some(3_622), "a clock set forward");
        assert_eq!(first(&mut sight, 22), Some(27), "a clock set back");
    }

    #[test]
    fn tsk_06_a_gap_while_workers_renew_gives_them_the_whole_time_again() {
        let mut sight = Sight::default();
        for second in 0..5 {
            assert!(!sight.look(at(second)));
        }
        assert_eq!(first(&mut sight, 8), Some(13));
    }
}
